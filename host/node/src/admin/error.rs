//! Errors of the admin API: a status, and a body that says what is wrong and what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringside_core::directory::Refusal;
use ringside_core::ids::IdError;

use crate::api::{FULL_HINT, Failure};
use crate::catalogue::PushError;
use crate::control::ControlError;
use crate::store::StoreError;

/// An answer that is no success.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Failure,
}

impl ApiError {
    fn new(status: StatusCode, error: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        ApiError { status, body: Failure { error: error.to_owned(), what: what.into(), hint: hint.into() } }
    }

    /// The request is wrong.
    pub fn bad_request(what: impl Into<String>, hint: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_request", what, hint)
    }

    /// There is no such thing.
    pub fn not_found(what: impl Into<String>, hint: impl Into<String>) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", what, hint)
    }

    /// The node failed.
    pub fn internal(what: impl Into<String>) -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what, "the node's log may say more")
    }

    /// The bearer token is missing or wrong.
    pub fn unauthorized() -> Self {
        let hint = "send `Authorization: Bearer TOKEN` with the content of admin.token in the state directory";
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "the bearer token is missing or wrong", hint)
    }

    /// A request was not sent in time.
    pub fn timeout(what: &str) -> Self {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", what, "send it without pauses")
    }

    /// A body is too long.
    pub fn too_large(what: &str, limit: usize) -> Self {
        let what = format!("{what} may have {} KiB", limit / 1024);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", what, "")
    }
}

impl ApiError {
    /// Another node does not answer.
    pub fn unreachable(what: impl Into<String>) -> Self {
        let hint = "ringside node list shows who answers; try again in a moment";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "node_silent", what, hint)
    }
}

impl ApiError {
    /// A session cannot be moved.
    pub fn not_moved(what: impl Into<String>) -> Self {
        ApiError::new(StatusCode::CONFLICT, "not_moved", what, "ringside session show tells who leads and follows it")
    }

    /// A session is not evicted.
    pub fn not_evicted(what: impl Into<String>) -> Self {
        ApiError::new(StatusCode::CONFLICT, "not_evicted", what, "ringside session show tells who sits in it")
    }

    /// What the store has cannot be used.
    pub fn damaged(what: impl Into<String>) -> Self {
        let hint = "restore the object, or create the session anew: then this one counts as lost";
        ApiError::new(StatusCode::BAD_GATEWAY, "damaged", what, hint)
    }

    /// Whether it is this error.
    pub fn is(&self, error: &str) -> bool {
        self.body.error == error
    }

    /// The node does something else just now.
    pub fn conflict(what: impl Into<String>) -> Self {
        ApiError::new(StatusCode::CONFLICT, "conflict", what, "ringside node list --json shows how far it is")
    }

    /// A session was not moved in time.
    pub fn move_late(what: impl Into<String>) -> Self {
        let hint = "it is led where it was; ringside session show tells who follows it and how far behind";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "not_moved", what, hint)
    }
}

/// What another node answered.
impl From<Failure> for ApiError {
    fn from(body: Failure) -> Self {
        ApiError { status: StatusCode::BAD_GATEWAY, body }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        error.body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        ApiError::bad_request(error.to_string(), "")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(what) => ApiError::not_found(format!("there is no {what}"), ""),
            error => ApiError::new(StatusCode::BAD_GATEWAY, "store", error.to_string(), "is the store full or gone?"),
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let what = error.to_string();
        match error {
            ControlError::Refused(refusal) => refused(&refusal, what),
            ControlError::Overloaded => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", what, "try again in a moment")
            }
            ControlError::Joining | ControlError::Gone(_) => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", what, "try again in a moment")
            }
            ControlError::Stopping => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", what, ""),
            ControlError::NoSuchSession(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "no_such_session", what, "ringside session list shows them")
            }
        }
    }
}

fn refused(refusal: &Refusal, what: String) -> ApiError {
    let (status, error, hint) = match refusal {
        Refusal::UnknownGame(_) => {
            (StatusCode::NOT_FOUND, "unknown_game", "ringside game list shows them, ringside push FILE.wasm adds one")
        }
        Refusal::Lost(_) => (StatusCode::NOT_FOUND, "session_lost", "create another under the same key"),
        Refusal::NotThere(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_there", "pin it to a node that is active, or to none")
        }
        Refusal::NoSuchSession(..) => (StatusCode::NOT_FOUND, "no_such_session", "ringside session list shows them"),
        Refusal::KeyTaken(_) => (StatusCode::CONFLICT, "key_taken", "choose another key, or end that session first"),
        Refusal::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "full", FULL_HINT),
        Refusal::Busy | Refusal::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "busy", "try again in a moment"),
        Refusal::NoWorker => (StatusCode::SERVICE_UNAVAILABLE, "draining", "the node is stopping: use another one"),
        Refusal::CriteriaTooLong => (StatusCode::BAD_REQUEST, "bad_request", ""),
        Refusal::MayNotCreate => (StatusCode::FORBIDDEN, "forbidden", ""),
        Refusal::Failed(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "start_failed",
            "the game refused its configuration, or failed: see its log",
        ),
    };
    ApiError::new(status, error, what, hint)
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Refused { what, hint } => {
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "module_refused", what, hint)
            }
            PushError::Busy => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "other modules are being compiled",
                "try again in a moment",
            ),
            PushError::Store(error) => error.into(),
            PushError::Internal(what) => ApiError::internal(what),
        }
    }
}
