//! Routes of the directory and of this node's own entry.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use refpoint_protocol::limits::BODY_BYTES_MAX;

use super::{
    Shared,
    backend::Backend,
    error::ApiError,
    request::{self, Body},
    views::{
        directory::{
            DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint,
            ReferencePointView, ResumeReply,
        },
        history::{DirectoryAtView, DirectoryHistoryView},
    },
};

pub(super) async fn list<B: Backend>(
    State(shared): State<Shared<B>>,
) -> Result<Json<Vec<DirectoryRow>>, ApiError> {
    Ok(Json(shared.backend.directory().await?))
}

pub(super) async fn entry<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DirectoryEntryView>, ApiError> {
    let member = request::member(path)?;
    Ok(Json(shared.backend.directory_entry(&member).await?))
}

pub(super) async fn history<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DirectoryHistoryView>, ApiError> {
    let member = request::member(path)?;
    Ok(Json(shared.backend.directory_history(&member).await?))
}

pub(super) async fn at<B: Backend>(
    State(shared): State<Shared<B>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DirectoryAtView>, ApiError> {
    let instant = request::instant(path)?;
    Ok(Json(shared.backend.directory_at(instant).await?))
}

pub(super) async fn published<B: Backend>(
    State(shared): State<Shared<B>>,
) -> Result<Json<PublishedReferencePoint>, ApiError> {
    Ok(Json(shared.backend.published().await?))
}

pub(super) async fn publish<B: Backend>(
    State(shared): State<Shared<B>>,
    Body(request): Body<PublishRequest>,
) -> Result<Json<PublishReply>, ApiError> {
    check(&request.reference_point)?;
    Ok(Json(shared.backend.publish(request).await?))
}

pub(super) async fn resume<B: Backend>(
    State(shared): State<Shared<B>>,
) -> Result<Json<ResumeReply>, ApiError> {
    Ok(Json(shared.backend.resume().await?))
}

/// What every entry needs so that others can use it, and what its size on the wire allows.
fn check(entry: &ReferencePointView) -> Result<(), ApiError> {
    let refuse = |reason: String| Err(ApiError::ReferencePoint { reason });
    if !entry.names.iter().any(|name| !name.text.trim().is_empty()) {
        return refuse("the unit has no name".to_owned());
    }
    if !entry.channels.iter().any(|channel| !channel.value.trim().is_empty()) {
        return refuse("there is no channel by which to reach the unit".to_owned());
    }
    if jiff::tz::TimeZone::get(&entry.time_zone).is_err() {
        return refuse(format!("{:?} is not an IANA time zone such as Africa/Nairobi", entry.time_zone));
    }
    // JSON is never smaller than the canonical form of the same fields, but for the salt and a few heads.
    let bytes = serde_json::to_vec(entry).map_or(usize::MAX, |json| json.len());
    if bytes > BODY_BYTES_MAX {
        return refuse(format!("it has {bytes} bytes; an entry takes at most {BODY_BYTES_MAX}"));
    }
    Ok(())
}
