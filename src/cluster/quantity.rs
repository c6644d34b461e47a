//! Kubernetes' quantities (`"8"`, `"10k"`, `"1500m"`, `"4Gi"`, `"1e3"`), exactly, in thousandths.

/// The value of a quantity in thousandths, rounded up as Kubernetes does; none when `text` is no quantity.
#[must_use]
pub fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (multiplier, divisor) = scale(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator = mantissa.checked_mul(multiplier)?.checked_mul(1000)?;
    let denominator = places.checked_mul(divisor)?;
    let value = numerator.checked_add(denominator - 1)? / denominator;
    Some(if negative { -value } else { value })
}

/// The value of a count of devices: whole, not negative; larger ones saturate.
#[must_use]
pub fn count(text: &str) -> Option<u32> {
    let milli = milli(text)?;
    (milli >= 0).then(|| u32::try_from(milli / 1000).unwrap_or(u32::MAX))
}

/// What a suffix stands for, as multiplier and divisor.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("8", Some(8000))]
    #[case("10k", Some(10_000_000))]
    #[case("1500m", Some(1500))]
    #[case("0.5", Some(500))]
    #[case("1.5Gi", Some(1_610_612_736_000))]
    #[case("1e3", Some(1_000_000))]
    #[case("1E", Some(1_000_000_000_000_000_000_000))]
    #[case("1E2", Some(100_000))]
    #[case("100n", Some(1))]
    #[case("-1", Some(-1000))]
    #[case(".5", Some(500))]
    #[case("", None)]
    #[case("x", None)]
    #[case("1.2.3", None)]
    #[case("8 VFs", None)]
    #[case("99999999999999999999999999999999999999999", None)]
    fn reads_quantities(#[case] text: &str, #[case] expected: Option<i128>) {
        assert_eq!(milli(text), expected);
    }

    #[test]
    fn a_count_is_whole_and_not_negative() {
        assert_eq!(count("12"), Some(12));
        assert_eq!(count("10k"), Some(10_000));
        assert_eq!(count("-1"), None);
        assert_eq!(count("99E"), Some(u32::MAX));
    }
}
