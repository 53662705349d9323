//! The admin API: HTTP on loopback, a bearer token from the state directory, JSON both ways. Routes only translate:
//! what a request means is decided by the control task, the catalogue and the store.

mod cluster;
mod error;
mod games;
mod openapi;
mod sessions;

use std::future::Future;
use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ringside_protocol::token::{Capability, SessionClaims};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::api::{IssueToken, IssuedToken, NodeInfo};
use crate::cluster::counted::Counted;
use crate::durable::NodeLog;
use crate::http::door::{self, Bounds, Plain};
use crate::http::{self, BodyError};
use crate::limits::{
    ADMIN_CONNECTIONS, ADMIN_HEAD_TIMEOUT, ADMIN_WRITE_STALL, BODY_BYTES, BODY_TIMEOUT, TOKEN_LIFETIME_S,
};
use crate::metrics::Metrics;
use crate::operator::{self, Desk};
use crate::store::Store;
use crate::tokens::{TokenKey, now_s};
pub use error::ApiError;

/// What the routes translate for.
pub struct Services {
    /// The bearer token.
    pub secret: String,
    /// What operators ask of the node and its cluster.
    pub desk: Desk,
    /// The store.
    pub store: Store,
    /// The signing key.
    pub tokens: TokenKey,
    /// What connections and requests are bounded by.
    pub bounds: Bounds,
    /// The metrics page.
    pub metrics: Metrics,
    /// What the cluster has counted; a node alone in its process has none.
    pub counted: Option<Counted>,
    /// The log of what the node leads.
    pub log: Option<NodeLog>,
}

type Shared = State<Arc<Services>>;

/// Serves until `stop` is ready; requests under way are finished.
pub async fn serve(listener: TcpListener, services: Arc<Services>, stop: impl Future<Output = ()>) {
    let bounds = services.bounds;
    door::serve(listener, Plain, router(services), bounds, stop).await;
}

/// What the admin API puts up with.
pub fn bounds() -> Bounds {
    Bounds {
        connections: ADMIN_CONNECTIONS,
        head: ADMIN_HEAD_TIMEOUT,
        body: BODY_TIMEOUT,
        write_stall: ADMIN_WRITE_STALL,
    }
}

fn router(services: Arc<Services>) -> Router {
    let guarded = Router::new()
        .route("/v1/node", get(node))
        .route("/v1/modules", post(games::push))
        .route("/v1/games", get(games::list))
        .route("/v1/games/{game}", get(games::show))
        .route("/v1/sessions", get(sessions::list).post(sessions::create))
        .route("/v1/sessions/{game}/{key}", get(sessions::show).delete(sessions::end))
        .route("/v1/sessions/{game}/{key}/recording", get(sessions::recording))
        .route("/v1/sessions/{game}/{key}/placement", get(sessions::explain))
        .route("/v1/sessions/{game}/{key}/move", post(sessions::move_to))
        .route("/v1/sessions/{game}/{key}/evict", post(sessions::evict))
        .route("/v1/cluster", get(cluster::show))
        .route("/v1/directory", get(cluster::directory))
        .route("/v1/cluster/{node}/drain", post(cluster::drain))
        .route("/v1/cluster/{node}/kill", post(cluster::kill))
        .route("/v1/cluster/{node}/upgrade", post(cluster::upgrade))
        .route("/v1/tokens", post(token))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(services.clone(), authenticate));
    Router::new()
        .route("/openapi.json", get(openapi::document))
        .merge(guarded)
        .fallback(async || ApiError::not_found("there is no such path", "GET /openapi.json lists them"))
        .method_not_allowed_fallback(async || {
            ApiError::bad_request("this path does not take this method", "GET /openapi.json lists them")
        })
        .with_state(services)
}

async fn authenticate(State(services): Shared, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if same(given.as_bytes(), services.secret.as_bytes()) {
        return next.run(request).await;
    }
    ApiError::unauthorized().into_response()
}

/// Compares digests, so that the time tells nothing about where two texts differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
    digest(left).as_ref() == digest(right).as_ref()
}

async fn node(State(services): Shared) -> Result<Json<NodeInfo>, ApiError> {
    Ok(Json(operator::here::info(&services.desk).await?))
}

async fn metrics(State(services): Shared) -> Result<Response, ApiError> {
    let desk = &services.desk;
    let status = desk.control.status().await?;
    let cluster = services.counted.as_ref().map(Counted::all);
    let log = services.log.as_ref().map(NodeLog::counted).unwrap_or_default();
    let counted: Vec<(&'static str, u64)> =
        cluster.into_iter().flatten().chain(log).chain(desk.moves.counted()).collect();
    let games = desk.catalogue.games().len();
    let page = services.metrics.render(&status, games, &desk.recorder.counters(), &counted);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response())
}

async fn token(State(services): Shared, Body(asked): Body<IssueToken>) -> Result<Json<IssuedToken>, ApiError> {
    if !(1..=TOKEN_LIFETIME_S).contains(&asked.ttl_s) {
        return Err(ApiError::bad_request(
            format!("`ttl_s` is {}: expected 1 to {TOKEN_LIFETIME_S}", asked.ttl_s),
            "ask for a shorter one and renew it",
        ));
    }
    let issued_s = now_s();
    let claims = SessionClaims {
        player: asked.player.parse()?,
        expires_s: issued_s + asked.ttl_s,
        issued_s,
        game: asked.game.map(|game| game.parse()).transpose()?,
        session: asked.session.map(|key| key.parse()).transpose()?,
        capabilities: if asked.may_create { vec![Capability::Create] } else { Vec::new() },
    };
    let token = services.tokens.issue(&claims).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Json(IssuedToken { token, player: asked.player, expires_s: claims.expires_s }))
}

/// A JSON body whose faults are answered like all others.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Arc<Services>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, services: &Arc<Services>) -> Result<Self, ApiError> {
        let bytes = read_body(services, request, BODY_BYTES, "a request").await?;
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        serde_json::from_slice(text).map(Body).map_err(|error| {
            ApiError::bad_request(format!("the body is not understood: {error}"), "GET /openapi.json describes it")
        })
    }
}

/// The whole body, or why not.
async fn read_body(services: &Services, request: Request, limit: usize, what: &str) -> Result<bytes::Bytes, ApiError> {
    http::read_body(request, limit, services.bounds.body).await.map_err(|error| match error {
        BodyError::TooLarge => ApiError::too_large(what, limit),
        BodyError::TimedOut => ApiError::timeout("the body did not arrive in time"),
    })
}

#[cfg(test)]
mod tests;
