//! The machine-readable side of the node: HTTP on a Unix socket that owner and group alone can reach.
//!
//! It checks the form of requests, asks the [`Backend`], and draws the answer. It knows no rule of the
//! federation, keeps no state but counters, and logs no content.

mod audit;
pub mod backend;
mod directory;
mod documents;
mod drills;
pub mod error;
mod events;
mod messages;
pub mod metrics;
mod request;
pub mod socket;
pub mod views;

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use backend::Backend;
use error::ApiError;
use socket::Socket;
use views::status::StatusView;

/// Serves the API until `stop` is cancelled, then lets running requests finish for a bounded time.
///
/// The socket's file is gone when this returns.
///
/// # Errors
/// The operating system's, if connections can no longer be accepted.
pub async fn serve<B: Backend>(socket: Socket, backend: Arc<B>, stop: CancellationToken) -> io::Result<()> {
    serve_within(REQUEST_TIMEOUT, socket, backend, stop).await
}

/// Serves as [`serve`] does, with another bound on how long a request may take until its answer begins.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within<B: Backend>(
    request_timeout: Duration,
    socket: Socket,
    backend: Arc<B>,
    stop: CancellationToken,
) -> io::Result<()> {
    let (listener, file) = socket.into_parts();
    let app = router(request_timeout, backend, stop.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    let served = tokio::select! {
        served = server => served,
        // A reader that does not read its answer must not keep the node from stopping.
        () = overdue => Ok(()),
    };
    drop(file);
    served
}

fn router<B: Backend>(request_timeout: Duration, backend: Arc<B>, stop: CancellationToken) -> Router {
    let shared = Shared {
        request_timeout,
        backend,
        stop,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
    };
    let v1 = Router::new()
        .route("/status", get(status::<B>))
        .route("/peers", get(peers::<B>))
        .route("/directory", get(directory::list::<B>))
        .route("/directory/reference-point", get(directory::published::<B>).post(directory::publish::<B>))
        .route("/directory/resume", post(directory::resume::<B>))
        .route("/directory/{member}", get(directory::entry::<B>))
        .route("/directory/{member}/history", get(directory::history::<B>))
        .route("/directory-at/{instant}", get(directory::at::<B>))
        .route("/messages", get(messages::list::<B>).post(messages::send::<B>))
        .route("/messages/{id}", get(messages::show::<B>))
        .route("/messages/{id}/receipts", get(messages::receipts::<B>))
        .route("/messages/{id}/statements", post(messages::state::<B>))
        .route("/messages/{id}/attachments/{number}", get(messages::attachment::<B>))
        .route("/documents", get(documents::own::<B>).post(documents::import::<B>))
        .route("/drills", get(drills::list::<B>).post(drills::start::<B>))
        .route("/drills/{id}", get(drills::report::<B>))
        .route("/audit/heads", get(heads::<B>))
        .route("/audit/bundle", get(audit::bundle::<B>))
        .route("/audit/proof/{id}", get(audit::proof::<B>))
        .route("/audit/witness", post(audit::witness::<B>))
        .route("/audit/witnessed", get(audit::witnessed::<B>))
        .route("/dial-back", post(dial_back::<B>))
        .route("/snapshot", post(documents::snapshot::<B>))
        .route("/events", get(events::stream::<B>))
        .layer(middleware::from_fn_with_state(shared.clone(), bounded::<B>))
        .with_state(shared.clone());
    Router::new()
        .nest("/v1", v1)
        .merge(metrics::routes(&shared))
        .fallback(|| async { ApiError::UnknownRoute })
        .method_not_allowed_fallback(|| async { ApiError::UnknownMethod })
}

/// What all handlers share.
struct Shared<B> {
    request_timeout: Duration,
    backend: Arc<B>,
    stop: CancellationToken,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        let Self { request_timeout, backend, stop, requests, streams } = self;
        Self {
            request_timeout: *request_timeout,
            backend: Arc::clone(backend),
            stop: stop.clone(),
            requests: Arc::clone(requests),
            streams: Arc::clone(streams),
        }
    }
}

async fn status<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    let facts = shared.backend.status().await?;
    Ok(Json(StatusView::judge(facts)).into_response())
}

async fn peers<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    Ok(Json(shared.backend.peers().await?).into_response())
}

async fn heads<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    Ok(Json(shared.backend.heads().await?).into_response())
}

async fn dial_back<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    Ok(Json(shared.backend.dial_back().await?).into_response())
}

/// Bounds how many requests run at once and how long each may take to its answer's head; a stream of events
/// goes on after that.
async fn bounded<B: Backend>(State(shared): State<Shared<B>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = shared.requests.try_acquire() else { return ApiError::Busy.into_response() };
    match tokio::time::timeout(shared.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut.into_response(),
    }
}

/// Requests at once: every officer of a large unit, twice; more is a runaway script.
const REQUESTS_MAX: usize = 64;

/// Event streams at once: every screen of a large unit.
const STREAMS_MAX: usize = 64;

/// How long a request may take: a durable commit under the heaviest load, many times over.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long running requests may go on after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
