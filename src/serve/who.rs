//! `--admin-auth apiserver`: who may look is the API server's to say.
//!
//! A caller shows a bearer token; a TokenReview says whose it is, a SubjectAccessReview whether that user may `get`
//! the path (a nonResourceURL in RBAC). Nothing is kept: neither tokens nor answers, so that what is taken away is gone
//! at once. Probes and metrics never come through here.

use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use tracing::{info, warn};

use super::answer;
use crate::decide::problem::chain;
use crate::telemetry::logging::key;

/// Most time for both questions together; less than the admin endpoint's own deadline.
const DEADLINE: Duration = Duration::from_secs(3);

/// Longer tokens are none: service account tokens have about 1 kB.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Says who may look.
pub trait Authority: Send + Sync + 'static {
    /// Whether the holder of `token` may `get` the path.
    fn may_get(&self, token: String, path: String) -> BoxFuture<'_, Result<Access, Error>>;
}

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look.
    Allowed,
    /// Nothing here: known, but not entitled.
    Forbidden,
    /// Nobody knows the token.
    Unknown,
}

/// `routes`, for those that the authority lets.
pub fn guarded_by(authority: Arc<dyn Authority>, routes: Router) -> Router {
    routes.layer(from_fn_with_state(authority, check))
}

async fn check(State(authority): State<Arc<dyn Authority>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let Some(token) = bearer(request.headers()) else {
        return unauthorized();
    };
    let asked = tokio::time::timeout(DEADLINE, authority.may_get(token, path.clone())).await;
    match asked {
        Ok(Ok(Access::Allowed)) => next.run(request).await,
        Ok(Ok(Access::Unknown)) => unauthorized(),
        Ok(Ok(Access::Forbidden)) => {
            info!(path, "a known user was not let to look");
            let text = format!("this user may not get {path}: grant it as a nonResourceURL in a ClusterRole");
            answer::error(StatusCode::FORBIDDEN, &text)
        }
        failed => {
            let why = match failed {
                Ok(Err(error)) => chain(&error),
                _ => "no answer in time".to_owned(),
            };
            warn!({ key::ERROR } = why, "the API server did not say who may look");
            answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server did not say who may look; try again",
            )
        }
    }
}

fn unauthorized() -> Response {
    let mut response = answer::error(
        StatusCode::UNAUTHORIZED,
        "a bearer token that the API server knows is asked for",
    );
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let good = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN;
    good.then(|| token.to_owned())
}

/// Asks the cluster; needs what the ClusterRole `system:auth-delegator` grants.
#[derive(Clone)]
pub struct ClusterAuthority(pub Client);

impl Authority for ClusterAuthority {
    fn may_get(&self, token: String, path: String) -> BoxFuture<'_, Result<Access, Error>> {
        Box::pin(async move {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    token,
                    ..TokenReviewSpec::default()
                },
                ..TokenReview::default()
            };
            let reviews: Api<TokenReview> = Api::all(self.0.clone());
            let status = reviews.create(&PostParams::default(), &review).await?.status;
            let user = status
                .filter(|status| status.authenticated == Some(true))
                .and_then(|status| status.user);
            let Some(user) = user else {
                return Ok(Access::Unknown);
            };
            let question = access_review(user, path);
            let answers: Api<SubjectAccessReview> = Api::all(self.0.clone());
            let answer = answers.create(&PostParams::default(), &question).await?;
            Ok(match answer.status {
                Some(status) if status.allowed => Access::Allowed,
                _ => Access::Forbidden,
            })
        })
    }
}

fn access_review(user: UserInfo, path: String) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
