//! Routes about games and their versions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use ringside_core::ids::GameName;
use ringside_core::limits::MODULE_BYTES;

use super::error::ApiError;
use super::{Services, Shared, read_body};
use crate::api::{GameInfo, Pushed, VersionInfo};

/// `POST /v1/modules`: the body is the module.
pub async fn push(State(services): Shared, request: Request) -> Result<Json<Pushed>, ApiError> {
    // Taken before the body is read: it bounds the memory that uploads take together.
    let turn = services.catalogue.turn()?;
    let bytes = read_body(&services, request, MODULE_BYTES, "a module").await?;
    // A task of its own: whoever goes away leaves nothing half done, and the turn is given back when the work is over.
    let pushing = tokio::spawn(async move {
        let pushed = services.catalogue.push(turn, bytes).await?;
        services.control.game(pushed.module.clone()).await?;
        Ok(Json(pushed.info))
    });
    pushing.await.unwrap_or_else(|error| Err(ApiError::internal(format!("the upload failed: {error}"))))
}

/// `GET /v1/games`.
pub async fn list(State(services): Shared) -> Result<Json<Vec<GameInfo>>, ApiError> {
    let mut games = services.catalogue.games();
    count_sessions(&services, &mut games).await?;
    Ok(Json(games))
}

/// `GET /v1/games/{game}`.
pub async fn show(State(services): Shared, Path(game): Path<String>) -> Result<Json<GameInfo>, ApiError> {
    let name: GameName = game.parse()?;
    let found = services.catalogue.games().into_iter().find(|info| info.game == game);
    let mut games =
        vec![found.ok_or_else(|| {
            ApiError::not_found(format!("no game is called {name}"), "ringside game list shows them")
        })?];
    count_sessions(&services, &mut games).await?;
    let mut info = games.remove(0);
    let versions = services.store.versions(&name).await?;
    info.versions = versions
        .into_iter()
        .map(|(number, version)| VersionInfo {
            version: number,
            module: version.module.to_string(),
            size_bytes: version.size_bytes,
            pushed_ms: version.pushed_ms,
        })
        .collect();
    Ok(Json(info))
}

async fn count_sessions(services: &Arc<Services>, games: &mut [GameInfo]) -> Result<(), ApiError> {
    let sessions = services.control.sessions().await?;
    for game in games {
        game.sessions = sessions.iter().filter(|session| session.game == game.game).count();
    }
    Ok(())
}
