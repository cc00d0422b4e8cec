//! The one place where an error becomes an HTTP status, a stable code, a safe message and what to do.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    backend::{BackendError, IdPrefixError},
    views::{names, problem::Problem, send::SendError},
};

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The node refuses, or does not have it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A message or statement is not well formed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The path's id is none.
    #[error(transparent)]
    Id(#[from] IdPrefixError),
    /// The path's member code is none.
    #[error("{text:?} is not a member code: two capital letters, or X- and a name")]
    NotAMember {
        /// The text.
        text: String,
    },
    /// The path does not decode.
    #[error("the path cannot be read: {reason}")]
    Path {
        /// How.
        reason: String,
    },
    /// The query does not decode.
    #[error("the query cannot be read: {reason}")]
    Query {
        /// How.
        reason: String,
    },
    /// `Last-Event-ID` or `after` is no number.
    #[error("an event's number is a whole number, as in the stream's id lines")]
    EventNumber,
    /// The body is not the JSON that the route takes.
    #[error("the body is not the JSON that this route takes: {reason}")]
    Json {
        /// How.
        reason: String,
    },
    /// The body is too large.
    #[error("the body has more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The body did not come whole.
    #[error("the body did not come whole")]
    BodyCutShort,
    /// An import has none or too many envelopes.
    #[error("{got} envelopes; an import takes 1 to {max}")]
    EnvelopeCount {
        /// How many there are.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// The reference point is not well formed.
    #[error("the reference point is not well formed: {reason}")]
    ReferencePoint {
        /// How.
        reason: String,
    },
    /// A figure cannot be written: a fault of this program.
    #[error("the figures cannot be written")]
    Figures(#[from] std::fmt::Error),
    /// There is no such route.
    #[error("there is no such route")]
    UnknownRoute,
    /// The route has no such method.
    #[error("this route does not take this method")]
    UnknownMethod,
    /// Too many at once.
    #[error("too many requests or event streams at once")]
    Busy,
    /// It took too long.
    #[error("the node did not answer in time; what was asked may still be done")]
    TimedOut,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let (status, code, hint) = classify(&error);
        let mut problem = Self::new(status.as_u16(), code, error.to_string(), hint);
        if let ApiError::Backend(BackendError::AmbiguousId { candidates, .. }) = error {
            problem.candidates = candidates.iter().take(CANDIDATES_MAX).map(ToString::to_string).collect();
        }
        problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem::from(self);
        if problem.status >= 500 {
            // Messages of these hold no content; those of 4xx may repeat what was sent and are not logged.
            tracing::warn!(code = %problem.code, detail = %problem.detail, "a request failed");
        }
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

fn classify(error: &ApiError) -> (StatusCode, &'static str, String) {
    let of = |status, code, hint: &str| (status, code, hint.to_owned());
    match error {
        ApiError::Backend(error) => classify_backend(error),
        ApiError::Send(error) => of(StatusCode::UNPROCESSABLE_ENTITY, "not-well-formed", error.hint()),
        ApiError::Id(_) => {
            of(StatusCode::BAD_REQUEST, "not-an-id", "list the ids: refpoint message inbox --all")
        }
        ApiError::NotAMember { text } => (StatusCode::BAD_REQUEST, "not-a-member-code", member_hint(text)),
        ApiError::Path { .. } => of(StatusCode::BAD_REQUEST, "bad-path", "correct the path"),
        ApiError::Query { .. } => of(StatusCode::BAD_REQUEST, "bad-query", "correct the query"),
        ApiError::EventNumber => {
            of(StatusCode::BAD_REQUEST, "bad-event-number", "leave it out to start from now")
        }
        ApiError::Json { .. } => of(StatusCode::BAD_REQUEST, "bad-json", "correct the body"),
        ApiError::TooLarge { .. } => of(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "send less: large evidence goes by another channel",
        ),
        ApiError::BodyCutShort => of(StatusCode::BAD_REQUEST, "body-cut-short", "send it again"),
        ApiError::EnvelopeCount { .. } => {
            of(StatusCode::UNPROCESSABLE_ENTITY, "envelope-count", "split the import")
        }
        ApiError::ReferencePoint { .. } => {
            of(StatusCode::UNPROCESSABLE_ENTITY, "not-well-formed", "correct reference-point.toml")
        }
        ApiError::Figures(_) => {
            of(StatusCode::INTERNAL_SERVER_ERROR, "figures", "report it with the node's log")
        }
        ApiError::UnknownRoute => of(StatusCode::NOT_FOUND, "unknown-route", "routes begin with /v1"),
        ApiError::UnknownMethod => of(StatusCode::METHOD_NOT_ALLOWED, "unknown-method", "use GET to read"),
        ApiError::Busy => of(StatusCode::SERVICE_UNAVAILABLE, "busy", "try again in a moment"),
        ApiError::TimedOut => of(StatusCode::GATEWAY_TIMEOUT, "timed-out", LOOK_FIRST),
    }
}

fn classify_backend(error: &BackendError) -> (StatusCode, &'static str, String) {
    let of = |status, code, hint: &str| (status, code, hint.to_owned());
    match error {
        BackendError::UnknownMember { member } => {
            (StatusCode::NOT_FOUND, "unknown-member", member_hint(member.as_str()))
        }
        BackendError::UnknownMessage { .. } => {
            of(StatusCode::NOT_FOUND, "unknown-message", "list the ids: refpoint message inbox --all")
        }
        BackendError::UnknownDrill { .. } => {
            of(StatusCode::NOT_FOUND, "unknown-drill", "list the drills: refpoint drill list")
        }
        BackendError::AmbiguousId { .. } => {
            of(StatusCode::CONFLICT, "ambiguous-id", "give more of its digits")
        }
        BackendError::UnknownAttachment { .. } => {
            of(StatusCode::NOT_FOUND, "unknown-attachment", "see its attachments: refpoint message show ID")
        }
        BackendError::PublishedChanged { .. } => {
            of(StatusCode::CONFLICT, "published-changed", "look at the difference again, then publish")
        }
        BackendError::Refused { code, hint, .. } => (StatusCode::UNPROCESSABLE_ENTITY, code, hint.clone()),
        BackendError::NoRoom { .. } => of(
            StatusCode::INSUFFICIENT_STORAGE,
            "no-room",
            "free space on the data folder's disk, then try again",
        ),
        BackendError::Storage { .. } => {
            of(StatusCode::INTERNAL_SERVER_ERROR, "storage", "see the node's log and refpoint status")
        }
        BackendError::Undecided => of(StatusCode::SERVICE_UNAVAILABLE, "undecided", LOOK_FIRST),
        BackendError::Unavailable { .. } => {
            of(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again in a moment; see refpoint status")
        }
    }
}

/// What to do about a code that no member has.
#[must_use]
pub fn member_hint(text: &str) -> String {
    match names::meant_by(text) {
        Some(country) if country.code.as_str() != text => {
            format!(
                "did you mean {} ({})? All members: refpoint directory list",
                country.code, country.name_en
            )
        }
        _ => "see all members: refpoint directory list".to_owned(),
    }
}

/// What to do where nobody knows whether something was done.
const LOOK_FIRST: &str = "look before you repeat it, once the node runs: refpoint message outbox --all";

/// Candidates that an ambiguous prefix's problem lists.
const CANDIDATES_MAX: usize = 10;
