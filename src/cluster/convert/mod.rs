//! Foreign objects made into the values decisions work on: parsed once, here, into types that cannot be wrong.
//!
//! A value that cannot be read becomes a [`Problem`] that names object, field, what was found and what is
//! expected; the rest of the object, and every other object, is unaffected.

pub mod device;
pub mod endpoint;
pub mod network;
pub mod node;
pub mod pod;
pub mod pool;
pub mod sriov;

use serde::Deserialize;
use serde_json::Value;

use crate::decide::problem::{Problem, Problems};
use crate::decide::selector::{Expression, Operator, Selector};

/// Reads `value` (an object's `spec` or `status`, `null` where absent) as `T`.
fn read<T: for<'de> Deserialize<'de> + Default>(
    object: &str,
    root: &str,
    value: Option<&Value>,
) -> Result<T, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(T::default());
    };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." {
            root.to_owned()
        } else {
            format!("{root}.{path}")
        };
        from_serde(&format!("{object}, {place}"), &error.into_inner())
    })
}

/// Reads JSON text inside an annotation or a field.
pub(super) fn read_text<T: for<'de> Deserialize<'de>>(place: &str, text: &str) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." {
            place.to_owned()
        } else {
            format!("{place}, {path}")
        };
        from_serde(&place, &error.into_inner())
    })
}

/// serde says `invalid type: FOUND, expected EXPECTED`; anything else is what was found.
fn from_serde(place: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let (found, expected) = match text.split_once(", expected ") {
        Some((found, expected)) => (
            found
                .strip_prefix("invalid type: ")
                .or_else(|| found.strip_prefix("invalid value: "))
                .unwrap_or(found),
            expected,
        ),
        None => (text.as_str(), "a value of the form its documentation gives"),
    };
    Problem::new(
        place,
        found,
        expected,
        "correct it; until then nothing can rely on this object",
    )
}

/// A label selector as it stands in an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SelectorObject {
    match_labels: Option<super::objects::Texts>,
    match_expressions: Option<Vec<ExpressionObject>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ExpressionObject {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

/// The label selector that `value` is.
///
/// # Errors
/// What cannot be read in it.
pub fn selector_of(place: &str, value: &Value) -> Result<Selector, Problems> {
    let mut problems = Problems::none();
    let object = read(place, "selector", Some(value));
    let selector = match object {
        Ok(object) => selector(place, Some(object), &mut problems),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    problems.or(selector.unwrap_or_default())
}

/// The selector at `place`; none where none is set.
fn selector(place: &str, object: Option<SelectorObject>, problems: &mut Problems) -> Option<Selector> {
    let object = object?;
    let mut selector = Selector {
        labels: object.match_labels.unwrap_or_default(),
        expressions: Vec::new(),
    };
    for (index, expression) in object
        .match_expressions
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let values = expression.values.unwrap_or_default();
        let operator = match expression.operator.as_str() {
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                problems.push(Problem::new(
                    format!("{place}.matchExpressions[{index}].operator"),
                    format!("{other:?}"),
                    "In, NotIn, Exists or DoesNotExist",
                    "correct the operator",
                ));
                continue;
            }
        };
        selector.expressions.push(Expression {
            key: expression.key,
            operator,
        });
    }
    Some(selector)
}
