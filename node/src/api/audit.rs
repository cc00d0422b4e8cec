//! The routes by which an auditor's bundle and a message's proof leave the node, by which its journal is cosigned, and by which
//! what it holds of others' is read.

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;

use super::{Shared, backend::Backend, error::ApiError, request};
use crate::bundle::Entries;

/// What is asked of a bundle.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleQuery {
    /// Whether the journal's entries, message events among them, are to be in it.
    #[serde(default)]
    messages: bool,
}

pub(super) async fn bundle<B: Backend>(
    State(shared): State<Shared<B>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let BundleQuery { messages } = request::query(&uri)?;
    let entries = if messages { Entries::Included } else { Entries::LeftOut };
    let permit = std::sync::Arc::clone(&shared.streams).try_acquire_owned().map_err(|_| ApiError::Busy)?;
    let pieces = shared.backend.bundle(entries).await?;
    // The permit ends with the answer.
    let pieces = pieces.map(move |piece| {
        let _held = &permit;
        piece
    });
    let body = Body::from_stream(pieces.take_until(shared.stop.cancelled_owned()));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

pub(super) async fn witness<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    Ok(Json(shared.backend.witness().await?).into_response())
}

pub(super) async fn witnessed<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    Ok(Json(shared.backend.witnessed().await?).into_response())
}

pub(super) async fn proof<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let proof = shared.backend.proof(&request::id(path)?).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof).into_response())
}
