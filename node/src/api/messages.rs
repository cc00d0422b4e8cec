//! Routes of messages, receipts, statements and attachments.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, Uri},
};
use serde::Deserialize;

use super::{
    Shared,
    backend::Backend,
    error::ApiError,
    request::{self, Body},
    views::{
        message::{AttachmentData, MessageBox, MessageRow, MessageView},
        receipt::ReceiptsView,
        send::{SendReply, SendRequest, StatementReply, StatementRequest},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    r#box: MessageBox,
    #[serde(default)]
    all: bool,
    #[serde(default = "rows_max")]
    limit: usize,
}

pub(super) async fn list<B: Backend>(
    State(shared): State<Shared<B>>,
    uri: Uri,
) -> Result<Json<Vec<MessageRow>>, ApiError> {
    let ListQuery { r#box, all, limit } = request::query(&uri)?;
    Ok(Json(shared.backend.messages(r#box, all, limit.min(ROWS_MAX)).await?))
}

pub(super) async fn send<B: Backend>(
    State(shared): State<Shared<B>>,
    Body(request): Body<SendRequest>,
) -> Result<(StatusCode, Json<SendReply>), ApiError> {
    request.check()?;
    Ok((StatusCode::CREATED, Json(shared.backend.send(request).await?)))
}

pub(super) async fn show<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<MessageView>, ApiError> {
    Ok(Json(shared.backend.message(&request::id(path)?).await?))
}

pub(super) async fn receipts<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ReceiptsView>, ApiError> {
    Ok(Json(shared.backend.receipts(&request::id(path)?).await?))
}

pub(super) async fn state<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
    Body(request): Body<StatementRequest>,
) -> Result<(StatusCode, Json<StatementReply>), ApiError> {
    let id = request::id(path)?;
    request.check()?;
    Ok((StatusCode::CREATED, Json(shared.backend.state(&id, request).await?)))
}

pub(super) async fn attachment<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<(String, u64)>, PathRejection>,
) -> Result<Json<AttachmentData>, ApiError> {
    let Path((id, number)) = path.map_err(|rejection| ApiError::Path { reason: rejection.body_text() })?;
    Ok(Json(shared.backend.attachment(&id.parse()?, number).await?))
}

fn rows_max() -> usize {
    ROWS_MAX
}

/// Rows of one list: years of a small unit's messages; who needs more reads the events.
const ROWS_MAX: usize = 10_000;
