use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;
use tonic::transport::Channel;

use super::transport;
use crate::engine::address::EngineAddress;

/// How many builds share a connection. A build holds three of the 250 streams that Go's
/// HTTP/2 server gives a connection; one too many would wait for another to end.
const BUILDS: usize = 48;

/// The connections to one engine: as many as the builds need.
pub(super) struct Connections {
    address: EngineAddress,
    open: Mutex<Vec<Connection>>,
}

struct Connection {
    channel: Channel,
    builds: Arc<AtomicUsize>,
}

/// A build's place on a connection, given back when it is dropped.
pub(super) struct Lease {
    pub(super) channel: Channel,
    builds: Arc<AtomicUsize>,
}

impl Connections {
    /// Connections to `address`, of which `first` is open.
    pub(super) fn new(address: EngineAddress, first: Channel) -> Self {
        let first = Connection { channel: first, builds: Arc::default() };
        Self { address, open: Mutex::new(vec![first]) }
    }

    /// A place on a connection that has one, or on a new one.
    pub(super) async fn lease(&self) -> Result<Lease, tonic::transport::Error> {
        let mut open = self.open.lock().await;
        let free = |connection: &&Connection| connection.builds.load(Ordering::Relaxed) < BUILDS;
        if let Some(connection) = open.iter().find(free) {
            return Ok(connection.lease());
        }
        let connection = Connection {
            channel: transport::connect(&self.address).await?,
            builds: Arc::default(),
        };
        let lease = connection.lease();
        open.push(connection);
        Ok(lease)
    }
}

impl Connection {
    fn lease(&self) -> Lease {
        self.builds.fetch_add(1, Ordering::Relaxed);
        Lease { channel: self.channel.clone(), builds: Arc::clone(&self.builds) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.builds.fetch_sub(1, Ordering::Relaxed);
    }
}
