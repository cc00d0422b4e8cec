//! Routes of drills.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};

use super::{
    Shared,
    backend::Backend,
    error::ApiError,
    request::{self, Body},
    views::drill::{DrillReport, DrillRequest, DrillRow, DrillStarted},
};

pub(super) async fn list<B: Backend>(
    State(shared): State<Shared<B>>,
) -> Result<Json<Vec<DrillRow>>, ApiError> {
    Ok(Json(shared.backend.drills().await?))
}

pub(super) async fn report<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DrillReport>, ApiError> {
    Ok(Json(shared.backend.drill(&request::drill(path)?).await?))
}

pub(super) async fn start<B: Backend>(
    State(shared): State<Shared<B>>,
    Body(request): Body<DrillRequest>,
) -> Result<(StatusCode, Json<DrillStarted>), ApiError> {
    request.check()?;
    Ok((StatusCode::CREATED, Json(shared.backend.start_drill(request).await?)))
}
