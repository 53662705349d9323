//! Routes about sessions and their recordings.

use axum::Json;
use axum::body::Body as ResponseBody;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use ringside_core::directory::{Create, Draw};
use ringside_core::ids::SessionId;
use ringside_core::limits::GUEST_VALUE_BYTES;
use ringside_core::placement::Policy;
use serde::Deserialize;

use super::error::ApiError;
use super::{Body, Services, Shared};
use crate::api::{
    CreateSession, CreatedSession, EndSession, Explanation, MoveSession, Moved, SessionInfo, SessionList,
};
use crate::control::SessionName;
use crate::hex;
use crate::operator::{everywhere, here, idling, moving};

/// How long the names of what is kept of a session are waited for.
const KEPT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// What `GET /v1/sessions` takes.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    /// Those that ended instead.
    #[serde(default)]
    ended: bool,
    /// Those in the store.
    #[serde(default)]
    evicted: bool,
}

/// `GET /v1/sessions`.
pub async fn list(
    State(services): Shared,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<SessionList>, ApiError> {
    let Query(query) =
        query.map_err(|error| ApiError::bad_request(error.to_string(), "?ended=true, ?evicted=true or nothing"))?;
    match query.evicted {
        true => Ok(Json(idling::all(&services.store).await?)),
        false => Ok(Json(everywhere::sessions(&services.desk, query.ended).await?)),
    }
}

/// `POST /v1/sessions`.
pub async fn create(
    State(services): Shared,
    Body(asked): Body<CreateSession>,
) -> Result<Json<CreatedSession>, ApiError> {
    let config =
        hex::decode(&asked.config_hex).filter(|config| config.len() <= GUEST_VALUE_BYTES).ok_or_else(|| {
            let what = format!("`config_hex` is no hexadecimal text of at most {GUEST_VALUE_BYTES} bytes");
            ApiError::bad_request(what, "")
        })?;
    let create = Create {
        game: asked.game.parse()?,
        key: asked.key.map(|key| key.parse()).transpose()?,
        config: config.into(),
        record: asked.record,
        listed: (!asked.private).then_some(asked.criteria),
        policy: match &asked.node {
            Some(node) => Policy::Pinned(here::named(&services.desk, node)?.node.id),
            None => Policy::Ring,
        },
        draw: Draw { key: crate::random::u64(), incarnation: crate::random::u64() },
    };
    let (placed, address) = services.desk.control.create(create).await?;
    Ok(Json(CreatedSession {
        session: placed.session.to_string(),
        game: placed.session.game.to_string(),
        key: placed.session.key.to_string(),
        node: placed.leader.id.to_string(),
        worker: placed.worker.0,
        address,
        created: placed.created,
    }))
}

/// `GET /v1/sessions/{game}/{key}`.
pub async fn show(State(services): Shared, Path(name): Path<(String, String)>) -> Result<Json<SessionInfo>, ApiError> {
    let name = parse(&name)?;
    let mut info = match everywhere::session(&services.desk, name.clone()).await {
        Ok(info) if info.state == "live" || info.state == "creating" => info,
        // One that ended lately may have been followed by one that sleeps.
        other => match idling::asleep(&services.store, &name).await {
            Ok(Some(asleep)) => return Ok(Json(asleep)),
            _ => other?,
        },
    };
    if let (Some(detail), Ok(session)) = (&mut info.detail, info.session.parse()) {
        // A store that is away does not keep a session from being shown.
        let kept = tokio::time::timeout(KEPT_PATIENCE, services.store.kept(&session)).await;
        detail.kept = kept.ok().and_then(Result::ok).unwrap_or_default();
    }
    Ok(Json(info))
}

/// `GET /v1/sessions/{game}/{key}/placement`.
pub async fn explain(
    State(services): Shared,
    Path(name): Path<(String, String)>,
) -> Result<Json<Explanation>, ApiError> {
    Ok(Json(everywhere::explain(&services.desk, parse(&name)?).await?))
}

/// `POST /v1/sessions/{game}/{key}/move`.
pub async fn move_to(
    State(services): Shared,
    Path(name): Path<(String, String)>,
    Body(asked): Body<MoveSession>,
) -> Result<Json<Moved>, ApiError> {
    Ok(Json(moving::anywhere(&services.desk, parse(&name)?, &asked.to).await?))
}

/// `POST /v1/sessions/{game}/{key}/evict`.
pub async fn evict(State(services): Shared, Path(name): Path<(String, String)>) -> Result<Json<SessionInfo>, ApiError> {
    Ok(Json(idling::anywhere(&services.desk, &services.store, parse(&name)?).await?))
}

/// `DELETE /v1/sessions/{game}/{key}`.
pub async fn end(
    State(services): Shared,
    Path(name): Path<(String, String)>,
    Body(asked): Body<EndSession>,
) -> Result<Json<SessionInfo>, ApiError> {
    let name = parse(&name)?;
    let reason = if asked.reason.is_empty() { "ended by an operator".to_owned() } else { asked.reason };
    let reason = ringside_protocol::frame::cut_reason(&reason);
    match everywhere::end(&services.desk, name.clone(), reason.clone()).await {
        // One in the store goes on for its end.
        Err(error) if error.is("no_such_session") && idling::asleep(&services.store, &name).await?.is_some() => {
            services.desk.control.open(name.game.clone(), name.key.clone()).await?;
            Ok(Json(everywhere::end(&services.desk, name, reason).await?))
        }
        ended => Ok(Json(ended?)),
    }
}

/// `GET /v1/sessions/{game}/{key}/recording`: the segments one after another.
pub async fn recording(State(services): Shared, Path(name): Path<(String, String)>) -> Result<Response, ApiError> {
    let session = recorded(&services, parse(&name)?).await?;
    let segments = services.store.segments(&session).await?;
    if segments.is_empty() {
        return Err(ApiError::not_found(format!("{session} was not recorded"), RECORD_HINT));
    }
    let store = services.store.clone();
    let parts = futures_util::stream::unfold(segments.into_iter(), move |mut left| {
        let (store, session) = (store.clone(), session.clone());
        async move {
            let segment = left.next()?;
            Some((store.segment(&session, segment).await, left))
        }
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], ResponseBody::from_stream(parts)).into_response())
}

const RECORD_HINT: &str = "record a session with `session create --record`, or all with `record = true`";

/// The session that was named, or the newest of its key that was recorded.
async fn recorded(services: &Services, name: SessionName) -> Result<SessionId, ApiError> {
    let known = everywhere::flush(&services.desk, name.clone()).await?;
    if let Some(session) = known
        && (name.incarnation.is_some() || !services.store.segments(&session).await?.is_empty())
    {
        return Ok(session);
    }
    if let Some(incarnation) = name.incarnation {
        return Ok(SessionId { game: name.game, key: name.key, incarnation });
    }
    let found = services.store.newest_recording(&name.game, name.key.as_str()).await?;
    found.ok_or_else(|| ApiError::not_found(format!("there is no recording of {name}"), RECORD_HINT))
}

/// A session as a path names it: `game/key` or `game/key@incarnation`.
fn parse((game, key): &(String, String)) -> Result<SessionName, ApiError> {
    Ok(format!("{game}/{key}").parse()?)
}
