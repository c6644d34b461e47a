//! `admission.k8s.io/v1` on the wire: of a review only what is used, with the object left unread; of an answer
//! only what is set.

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The one version of the API there is.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The most warnings of one answer, and the most bytes of one: kube-apiserver cuts off what is longer than 256
/// bytes, or 4 KiB in all, and people read the first ones only.
const MOST_WARNINGS: usize = 5;
const LONGEST_WARNING: usize = 255;

/// A request for admission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Ties the answer to the request.
    #[serde(default)]
    pub uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub operation: Option<String>,
    /// The namespace the object is created in.
    #[serde(default)]
    pub namespace: Option<String>,
    /// A part of the resource, such as `status`.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// What kind of object it is about.
    #[serde(default)]
    pub kind: Option<GroupVersionKind>,
    /// The object.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object as it was before, where it is changed.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
}

/// A kind of object in a version of its API.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct GroupVersionKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// Why a body is no review that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum NoReview {
    /// It is not JSON, or a field is of another type.
    #[error("the body is no AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is another kind of object.
    #[error("found kind {kind} of {api_version}, expected {KIND} of {API_VERSION}")]
    OtherKind {
        /// What it says it is.
        kind: String,
        /// Of which API.
        api_version: String,
    },
    /// It has no request.
    #[error("the {KIND} has no request")]
    NoRequest,
    /// Its request cannot be answered, because answers are told apart by it.
    #[error("the request of the {KIND} has no uid")]
    NoUid,
}

/// Reads a body as a review.
///
/// # Errors
/// What keeps it from being answered as one.
pub fn decode(body: &[u8]) -> Result<Request<'_>, NoReview> {
    let envelope: Envelope<'_> = serde_json::from_slice(body)?;
    let kind = envelope.kind.unwrap_or_default();
    let api_version = envelope.api_version.unwrap_or_default();
    if kind != KIND || api_version != API_VERSION {
        return Err(NoReview::OtherKind { kind, api_version });
    }
    let request = envelope.request.ok_or(NoReview::NoRequest)?;
    if request.uid.is_empty() {
        return Err(NoReview::NoUid);
    }
    Ok(request)
}

/// An answer to a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Answer {
    /// The object may be created as it is.
    #[must_use]
    pub fn allowed(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            allowed: true,
            status: None,
            patch_type: None,
            patch: None,
            warnings: Vec::new(),
        }
    }

    /// The object may not be created.
    #[must_use]
    pub fn denied(uid: &str, message: String) -> Self {
        Self::refused(uid, 403, "Forbidden", message)
    }

    /// The object cannot be read.
    #[must_use]
    pub fn unreadable(uid: &str, message: String) -> Self {
        Self::refused(uid, 400, "BadRequest", message)
    }

    fn refused(uid: &str, code: u16, reason: &'static str, message: String) -> Self {
        Self {
            allowed: false,
            status: Some(Status {
                code,
                reason,
                message,
            }),
            ..Self::allowed(uid)
        }
    }

    /// With a patch, unless it is empty.
    ///
    /// # Errors
    /// When the patch cannot be encoded, which is a bug.
    pub fn with_patch(mut self, patch: &json_patch::Patch) -> Result<Self, serde_json::Error> {
        if !patch.0.is_empty() {
            self.patch = Some(ByteString(serde_json::to_vec(patch)?));
            self.patch_type = Some("JSONPatch");
        }
        Ok(self)
    }

    /// With warnings, the first few and each cut to what kube-apiserver passes on.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings.into_iter().take(MOST_WARNINGS).map(cut).collect();
        self
    }

    /// The whole body of the answer.
    ///
    /// # Errors
    /// When it cannot be encoded, which is a bug.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            api_version: &'static str,
            kind: &'static str,
            response: &'a Answer,
        }

        serde_json::to_vec(&Body {
            api_version: API_VERSION,
            kind: KIND,
            response: self,
        })
    }
}

fn cut(mut warning: String) -> String {
    const ELLIPSIS: &str = "...";
    if warning.len() > LONGEST_WARNING {
        warning.truncate(warning.floor_char_boundary(LONGEST_WARNING - ELLIPSIS.len()));
        warning.push_str(ELLIPSIS);
    }
    warning
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::empty(
        "",
        "the body is no AdmissionReview: EOF while parsing a value at line 1 column 0"
    )]
    #[case::junk("hello", "the body is no AdmissionReview: expected value at line 1 column 1")]
    #[case::other_kind(
        r#"{"apiVersion":"v1","kind":"Pod"}"#,
        "found kind Pod of v1, expected AdmissionReview of admission.k8s.io/v1"
    )]
    #[case::old_version(
        r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#,
        "found kind AdmissionReview of admission.k8s.io/v1beta1, expected AdmissionReview of admission.k8s.io/v1"
    )]
    #[case::no_request(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
        "the AdmissionReview has no request"
    )]
    #[case::no_uid(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        "the request of the AdmissionReview has no uid"
    )]
    fn says_why_a_body_is_no_review(#[case] body: &str, #[case] expected: &str) {
        assert_eq!(decode(body.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_object_is_left_unread() {
        let body = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","new":1,
            "request":{"uid":"u","operation":"CREATE","namespace":"t","object":{ "x" : 1.50 },"oldObject":null}}"#;
        let request = decode(body).unwrap();
        assert_eq!(request.uid, "u");
        assert_eq!(request.object.unwrap().get(), r#"{ "x" : 1.50 }"#);
    }

    #[test]
    fn an_answer_says_no_more_than_it_means() {
        let text = |answer: Answer| String::from_utf8(answer.encode().unwrap()).unwrap();
        assert_eq!(
            text(
                Answer::allowed("u")
                    .with_patch(&json_patch::Patch::default())
                    .unwrap()
            ),
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}"#
        );
        assert_eq!(
            text(Answer::denied("u", "no".to_owned())),
            concat!(
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":false,"#,
                r#""status":{"code":403,"reason":"Forbidden","message":"no"}}}"#
            )
        );
    }

    #[test]
    fn warnings_are_few_and_short() {
        let long = "ü".repeat(200);
        let answer = Answer::allowed("u").with_warnings(vec![long; 9]);
        assert_eq!(answer.warnings.len(), 5);
        for warning in answer.warnings {
            assert!(warning.len() < 256 && warning.ends_with("..."), "{warning}");
        }
    }
}
