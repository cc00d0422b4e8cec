//! `/metrics`: the figures for Prometheus, on the commands' socket and, if configured, on a loopback port.
//!
//! The port answers this one path and nothing else: whoever can reach it learns figures, and can do nothing.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Shared, backend::Backend, bounded, error::ApiError};
use crate::metrics;

/// Serves `/metrics` alone until `stop` is cancelled.
///
/// # Errors
/// The operating system's, if connections can no longer be accepted.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: Arc<B>,
    stop: CancellationToken,
) -> io::Result<()> {
    let shared = Shared {
        request_timeout: SCRAPE_TIMEOUT,
        backend,
        stop: stop.clone(),
        requests: Arc::new(Semaphore::new(SCRAPES_MAX)),
        streams: Arc::new(Semaphore::new(0)),
    };
    let app = routes(&shared)
        .fallback(|| async { ApiError::UnknownRoute })
        .method_not_allowed_fallback(|| async { ApiError::UnknownMethod });
    tokio::select! {
        served = axum::serve(listener, app) => served,
        // Whoever reads figures loses nothing by a connection that ends.
        () = stop.cancelled() => Ok(()),
    }
}

/// The one path.
pub(super) fn routes<B: Backend>(shared: &Shared<B>) -> Router {
    Router::new()
        .route("/metrics", get(figures::<B>))
        .layer(middleware::from_fn_with_state(shared.clone(), bounded::<B>))
        .with_state(shared.clone())
}

async fn figures<B: Backend>(State(shared): State<Shared<B>>) -> Result<Response, ApiError> {
    let measured = shared.backend.metrics().await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], measured.text()?).into_response())
}

/// Answers at once on the port: two servers that watch, and somebody who looks.
const SCRAPES_MAX: usize = 4;

/// How long an answer may take: what Prometheus itself waits unless told otherwise.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
