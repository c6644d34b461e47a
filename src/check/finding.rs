//! What one look at the cluster comes to: an answer, what it rests on, and what to do.

use serde::Serialize;

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::EnumIter)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// What was read does not tell.
    Unknown,
}

impl Answer {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// One row without its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub answer: Answer,
    /// Names and numbers the answer rests on.
    pub evidence: String,
    /// Shell lines to paste; comments say what they do. None for a yes.
    pub remedy: String,
}

impl Finding {
    /// It is as it should be.
    #[must_use]
    pub fn yes(subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            answer: Answer::Yes,
            evidence: evidence.into(),
            remedy: String::new(),
        }
    }

    /// It is not.
    #[must_use]
    pub fn no(subject: impl Into<String>, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            answer: Answer::No,
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }

    /// It cannot be told; the remedy is how to find out.
    #[must_use]
    pub fn unknown(
        subject: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            answer: Answer::Unknown,
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }
}

/// A remedy that applies YAML: `object` as a here-document.
#[must_use]
pub(super) fn apply(comment: &str, object: &str) -> String {
    format!(
        "# {comment}\nkubectl apply -f - <<'EOF'\n{}\nEOF",
        object.trim_end()
    )
}
