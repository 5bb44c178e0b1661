//! Interrupts: the first stops the builds, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `cancel` at the first interrupt or termination signal; is over at the second.
pub(super) async fn watch(cancel: CancellationToken) {
    received().await;
    cancel.cancel();
    received().await;
}

/// Is over at the first interrupt or termination signal.
pub async fn received() {
    let interrupt = signal(SignalKind::interrupt());
    let terminate = signal(SignalKind::terminate());
    // Where signals cannot be watched, they have their default effect.
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
