//! The routes by which signed documents come in from files, those for the next key set go out, and a copy of all
//! rows is made for a backup.

use axum::{Json, extract::State, http::Uri};
use refpoint_protocol::ids::MemberCode;
use serde::Deserialize;

use super::{
    Shared,
    backend::Backend,
    error::ApiError,
    request::{self, Body},
    views::{
        document::{DOCUMENTS_MAX, ImportReply, ImportRequest, OwnDocuments},
        snapshot::SnapshotReply,
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentsQuery {
    member: Option<MemberCode>,
}

pub(super) async fn own<B: Backend>(
    State(shared): State<Shared<B>>,
    uri: Uri,
) -> Result<Json<OwnDocuments>, ApiError> {
    let DocumentsQuery { member } = request::query(&uri)?;
    Ok(Json(shared.backend.own_documents(member.as_ref()).await?))
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

pub(super) async fn snapshot<B: Backend>(
    State(shared): State<Shared<B>>,
) -> Result<Json<SnapshotReply>, ApiError> {
    Ok(Json(shared.backend.snapshot().await?))
}
