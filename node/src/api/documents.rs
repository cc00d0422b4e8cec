//! The routes by which signed documents come in from files, and those for the next key set go out.

use axum::{Json, extract::State};

use super::{
    Shared,
    backend::Backend,
    error::ApiError,
    request::Body,
    views::document::{DOCUMENTS_MAX, ImportReply, ImportRequest, OwnDocuments},
};

pub(super) async fn own<B: Backend>(State(shared): State<Shared<B>>) -> Result<Json<OwnDocuments>, ApiError> {
    Ok(Json(shared.backend.own_documents().await?))
}

pub(super) async fn import<B: Backend>(
    State(shared): State<Shared<B>>,
    Body(request): Body<ImportRequest>,
) -> Result<Json<ImportReply>, ApiError> {
    let got = request.envelopes.len();
    if got == 0 || got > DOCUMENTS_MAX {
        return Err(ApiError::EnvelopeCount { got, max: DOCUMENTS_MAX });
    }
    Ok(Json(shared.backend.import(request).await?))
}
