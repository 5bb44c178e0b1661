//! Compresses linked layers while other steps of the image still run.
//!
//! The engine compresses layers when it exports an image, which begins after its last step. A layer of a
//! `COPY --link` depends on no layer below it, so [`EarlyLayers`] exports it alone as soon as its step has ended. The
//! engine keeps the compressed blob with the layer, and the export of every image that has this layer uses it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::pb::Definition;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::transport::Channel;

use super::MAX_EARLY_EXPORTS;
use super::attempt::Attempt;

/// The running exports of single layers.
pub(super) type Exports<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

/// The linked layers of a run that are exported early, each once.
pub(super) struct EarlyLayers {
    /// The digests of the operations that create them.
    begun: Mutex<HashSet<String>>,
    exports: Semaphore,
    control: ControlClient<Channel>,
}

impl EarlyLayers {
    pub(super) fn new(channel: Channel) -> Self {
        let exports = Semaphore::new(MAX_EARLY_EXPORTS);
        Self { control: ControlClient::new(channel), begun: Mutex::default(), exports }
    }

    /// Runs the steps of an image, and exports each of its linked `layers` when its operation has run: `ended` receives the
    /// digests of these. The caller continues `exports` during the export of the image, which uses their results.
    ///
    /// Failures are ignored, since the export of the image compresses the layers that are missing.
    pub(super) async fn export_during<'a, T>(
        &'a self,
        exports: &mut Exports<'a>,
        steps: impl Future<Output = T>,
        attempt: &Attempt<'_>,
        mut layers: HashMap<String, Definition>,
        mut ended: UnboundedReceiver<String>,
    ) -> T {
        tokio::pin!(steps);
        loop {
            tokio::select! {
                solved = &mut steps => return solved,
                Some(operation) = ended.recv() => {
                    let layer = layers.remove(&operation).filter(|_| self.begin(operation));
                    exports.extend(layer.map(|layer| self.export(attempt.layer(layer)).boxed()));
                }
                Some(()) = exports.next() => {}
            }
        }
    }

    /// Returns true for the first call with `operation`.
    fn begin(&self, operation: String) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(operation)
    }

    async fn export(&self, request: SolveRequest) {
        let _permit = self.exports.acquire().await;
        let _ = self.control.clone().solve(request).await;
    }
}
