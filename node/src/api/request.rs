//! Reading requests: bodies within a bound, typed paths and queries, each failure a problem of its own.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, rejection::BytesRejection},
    http::StatusCode,
};
use refpoint_protocol::ids::MemberCode;
use serde::de::DeserializeOwned;

use super::{
    backend::IdPrefix,
    error::ApiError,
    views::instant::{Instant, InstantError},
};

/// A JSON body of at most [`BODY_BYTES_MAX`].
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        // Refused by what is announced, before it is sent.
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(ApiError::TooLarge { max: BODY_BYTES_MAX });
        }
        DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(inner) if inner.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::TooLarge { max: BODY_BYTES_MAX }
            }
            _ => ApiError::BodyCutShort,
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(ApiError::Json { reason: error.to_string() }),
        }
    }
}

/// A query, or the problem with it.
pub(super) fn query<T: DeserializeOwned>(request: &axum::http::Uri) -> Result<T, ApiError> {
    match Query::try_from_uri(request) {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(ApiError::Query { reason: rejection.body_text() }),
    }
}

/// A message's id, or the beginning of one.
pub(super) fn id(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<IdPrefix, ApiError> {
    Ok(text(path)?.parse()?)
}

/// A drill's id, or the beginning of its digits.
pub(super) fn drill(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<IdPrefix, ApiError> {
    let text = text(path)?;
    Ok(text.strip_prefix("drill-").unwrap_or(&text).parse()?)
}

/// A member's code.
pub(super) fn member(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<MemberCode, ApiError> {
    let text = text(path)?;
    text.parse().map_err(|_| ApiError::NotAMember { text: text.chars().take(ECHO_CHARS_MAX).collect() })
}

/// An instant.
pub(super) fn instant(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Instant, ApiError> {
    text(path)?.parse().map_err(|error: InstantError| ApiError::Path { reason: error.to_string() })
}

fn text(path: Result<Path<String>, axum::extract::rejection::PathRejection>) -> Result<String, ApiError> {
    match path {
        Ok(Path(text)) => Ok(text),
        Err(rejection) => Err(ApiError::Path { reason: rejection.body_text() }),
    }
}

/// Bytes of a request's body: the largest message in base64, and room for JSON's escapes.
pub(super) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Characters of a wrong code that are repeated in the error.
const ECHO_CHARS_MAX: usize = 64;
