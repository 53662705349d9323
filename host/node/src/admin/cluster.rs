//! Routes about the cluster and its nodes.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};

use super::error::ApiError;
use super::{Body, Shared};
use crate::api::{ClusterInfo, DirectoryInfo, DrainNode, Draining, Killed, UpgradeNode, Upgrading};
use crate::operator::everywhere;

/// `GET /v1/cluster`.
pub async fn show(State(services): Shared) -> Result<Json<ClusterInfo>, ApiError> {
    Ok(Json(everywhere::cluster(&services.desk).await?))
}

/// `GET /v1/directory`.
pub async fn directory(State(services): Shared) -> Result<Json<DirectoryInfo>, ApiError> {
    Ok(Json(services.desk.control.entries().await?))
}

/// `POST /v1/cluster/{node}/drain`.
pub async fn drain(
    State(services): Shared,
    Path(node): Path<String>,
    Body(asked): Body<DrainNode>,
) -> Result<Json<Draining>, ApiError> {
    Ok(Json(everywhere::drain(&services.desk, &node, Duration::from_millis(asked.grace_ms)).await?))
}

/// `POST /v1/cluster/{node}/kill`.
pub async fn kill(State(services): Shared, Path(node): Path<String>) -> Result<Json<Killed>, ApiError> {
    Ok(Json(everywhere::kill(&services.desk, &node).await?))
}

/// `POST /v1/cluster/{node}/upgrade`.
pub async fn upgrade(
    State(services): Shared,
    Path(node): Path<String>,
    Body(asked): Body<UpgradeNode>,
) -> Result<Json<Upgrading>, ApiError> {
    Ok(Json(everywhere::upgrade(&services.desk, &node, asked.binary).await?))
}
