//! One token that ends everything: on SIGTERM, SIGINT, or because a part failed.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `token` on the first SIGTERM or SIGINT, and returns then or when it is cancelled otherwise.
///
/// # Errors
/// The operating system's, if the signals cannot be listened for.
pub async fn on_signal(token: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        () = token.cancelled() => {}
    }
    token.cancel();
    Ok(())
}
