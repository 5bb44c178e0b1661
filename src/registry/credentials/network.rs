use std::fmt;
use std::sync::{Arc, OnceLock};

use reqwest::{Client, Url};

use super::Credentials;
use crate::registry::address::Reach;
use crate::registry::transport::Transport;
use crate::registry::{Proxies, RegistryError, RegistryErrorKind, RegistryOptions};

/// How clouds are reached that give out credentials.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The proxies on the way.
    pub proxies: Proxies,
    /// Certificates (PEM) that are trusted beside the system's.
    pub certificates: Vec<u8>,
}

impl Network {
    /// A client for requests to `url`, of another service than a registry.
    pub fn client(&self, url: &Url) -> Result<Client, RegistryError> {
        let client = Connections::over(self.clone()).client(url);
        let host = url.host_str().unwrap_or_default().to_owned();
        client.map_err(|kind| RegistryError::new("prepare a connection to", host, kind))
    }
}

/// Connections over a [`Network`], made when the first is needed.
#[derive(Default)]
pub(super) struct Connections {
    network: Network,
    transport: OnceLock<Transport>,
}

impl Connections {
    pub(super) fn over(network: Network) -> Self {
        Self { network, transport: OnceLock::new() }
    }

    /// A client for requests to `url`, which the user or the matrix named.
    pub(super) fn client(&self, url: &Url) -> Result<Client, RegistryErrorKind> {
        if let Some(transport) = self.transport.get() {
            return transport.client(Reach::Named, url);
        }
        let options = RegistryOptions {
            proxies: self.network.proxies.clone(),
            certificates: self.network.certificates.clone(),
            ..RegistryOptions::new(Arc::new(Credentials::anonymous()))
        };
        let transport = Transport::new(&options)?;
        self.transport.get_or_init(|| transport).client(Reach::Named, url)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connections")
    }
}
