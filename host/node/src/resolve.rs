//! `resolve`: tells clients over HTTPS, before they open anything, which worker leads their session, and gives them a
//! ticket for it. Who may ask what is what a worker's door lets in without a ticket, by the same token and the same way
//! through the control task; a ticket that nobody uses is nothing but bytes. Owns the route and its answers; how often an
//! address may ask is `addresses`'.

mod addresses;
mod entrance;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use ringside_core::ids::NodeId;
use ringside_protocol::limits::RESOLVE_TIMEOUT;
use ringside_protocol::reason::{Reaction, Reason};
use ringside_protocol::resolve::{Answer, PATH, Question, Refusal};
use ringside_protocol::token::Capability;
use ringside_worker::authority::Authority;
use tokio::net::TcpListener;

use crate::control::{Control, Resolve};
use crate::http::door::{self, Bounds};
use crate::http::{self, BodyError};
use crate::limits::{
    RESOLVE_BODY_BYTES, RESOLVE_BODY_TIMEOUT, RESOLVE_CONNECTIONS, RESOLVE_HEAD_TIMEOUT, RESOLVE_WRITE_STALL,
};
use crate::tokens::now_s;
use entrance::Pass;
pub use entrance::{Entrance, Tls, tls};

/// What a client is told to wait before it asks again, where asking again helps.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What answers are made of.
pub struct Resolver {
    control: Control,
    /// Verifies session tokens and makes tickets; it redeems none.
    authority: Mutex<Authority>,
    /// What connections are bounded by.
    bounds: Bounds,
}

/// Why a question is not answered.
type Refused = (Reason, String);

impl Resolver {
    /// A resolver that asks this control task and makes tickets with the cluster's keys.
    pub fn new(control: Control, authority: Authority, bounds: Bounds) -> Resolver {
        Resolver { control, authority: Mutex::new(authority), bounds }
    }

    /// Serves until `stop` is ready; questions under way are answered.
    pub async fn serve(self, listener: TcpListener, entrance: Entrance, stop: impl Future<Output = ()>) {
        let bounds = self.bounds;
        let router = Router::new()
            .route(PATH, post(route))
            .fallback(async || refuse(Reason::Protocol, &format!("POST {PATH} is all that is answered here")))
            .method_not_allowed_fallback(async || refuse(Reason::Protocol, "a question is sent by POST"))
            .with_state(Arc::new(self));
        door::serve(listener, entrance, router, bounds, stop).await;
    }

    async fn answer(&self, pass: &Pass, request: Request) -> Result<Answer, Refused> {
        let plain = |reason: Reason| (reason, reason.text().to_owned());
        if pass.is_over_rate() {
            return Err((Reason::AddressLimit, "too many questions of this address".to_owned()));
        }
        let body =
            http::read_body(request, RESOLVE_BODY_BYTES, self.bounds.body).await.map_err(|error| match error {
                BodyError::TooLarge => (Reason::TooLarge, format!("a question may have {RESOLVE_BODY_BYTES} bytes")),
                BodyError::TimedOut => (Reason::OpenTimeout, "the question did not arrive in time".to_owned()),
            })?;
        let question: Question = serde_json::from_slice(&body)
            .map_err(|error| (Reason::Protocol, format!("the question is not understood: {error}")))?;
        let (token, target) = question.check().map_err(|(reason, what)| (reason, what.to_owned()))?;
        let claims = self.authority().admit(&token, &target, now_s())?;
        let resolve = Resolve { player: claims.player.clone(), target, may_create: claims.can(Capability::Create) };
        let place = tokio::time::timeout(RESOLVE_TIMEOUT, self.control.resolve(resolve))
            .await
            .map_err(|_| plain(Reason::Unreachable))?
            .map_err(|refusal| (refusal.reason, refusal.message))?;
        let ticket = self.authority().ticket(&claims.player, &place, 0, claims.expires_s);
        Ok(Answer {
            session: place.session,
            node: NodeId(place.node).to_string(),
            worker: place.worker,
            address: place.address,
            certificate_sha256: place.certificate,
            ticket,
        })
    }

    /// The authority, also after a panic elsewhere: each call leaves it whole.
    fn authority(&self) -> std::sync::MutexGuard<'_, Authority> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the service puts up with.
pub fn bounds() -> Bounds {
    Bounds {
        connections: RESOLVE_CONNECTIONS,
        head: RESOLVE_HEAD_TIMEOUT,
        body: RESOLVE_BODY_TIMEOUT,
        write_stall: RESOLVE_WRITE_STALL,
    }
}

async fn route(State(resolver): State<Arc<Resolver>>, Extension(pass): Extension<Pass>, request: Request) -> Response {
    match resolver.answer(&pass, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err((reason, message)) => refuse(reason, &message),
    }
}

fn refuse(reason: Reason, message: &str) -> Response {
    let retry_after_ms = if reason.reaction() == Reaction::Retry { RETRY_AFTER.as_millis() as u32 } else { 0 };
    let refusal = Refusal::new(reason, message, retry_after_ms);
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(refusal)).into_response()
}

#[cfg(test)]
mod tests;
