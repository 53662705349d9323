//! Routes about games and their versions.

use axum::Json;
use axum::extract::{Path, Request, State};
use ringside_core::ids::GameName;
use ringside_core::limits::MODULE_BYTES;

use super::error::ApiError;
use super::{Shared, read_body};
use crate::api::{GameInfo, GameList, Pushed, VersionInfo};
use crate::operator::everywhere;

/// `POST /v1/modules`: the body is the module. Answers when all nodes serve it, or do not answer.
pub async fn push(State(services): Shared, request: Request) -> Result<Json<Pushed>, ApiError> {
    // Taken before the body is read: it bounds the memory that uploads take together.
    let turn = services.desk.catalogue.turn()?;
    let bytes = read_body(&services, request, MODULE_BYTES, "a module").await?;
    // A task of its own: whoever goes away leaves nothing half done, and the turn is given back when the work is over.
    let pushing = tokio::spawn(async move {
        let desk = &services.desk;
        let pushed = desk.catalogue.push(turn, bytes).await?;
        desk.control.game(pushed.module.clone()).await?;
        let covers = everywhere::pushed(desk).await;
        Ok(Json(Pushed { covers, ..pushed.info }))
    });
    pushing.await.unwrap_or_else(|error| Err(ApiError::internal(format!("the upload failed: {error}"))))
}

/// `GET /v1/games`.
pub async fn list(State(services): Shared) -> Result<Json<GameList>, ApiError> {
    Ok(Json(everywhere::games(&services.desk).await?))
}

/// `GET /v1/games/{game}`.
pub async fn show(State(services): Shared, Path(game): Path<String>) -> Result<Json<GameInfo>, ApiError> {
    let name: GameName = game.parse()?;
    let found = everywhere::games(&services.desk).await?.games.into_iter().find(|info| info.game == game);
    let mut info = found
        .ok_or_else(|| ApiError::not_found(format!("no game is called {name}"), "ringside game list shows them"))?;
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
