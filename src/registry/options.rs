use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Credentials, RetryPolicy};

/// The configuration of the client, which reads neither files nor the environment.
#[derive(Clone)]
pub struct RegistryOptions {
    pub credentials: Arc<Credentials>,
    /// The options of single registries, by `host[:port]`.
    pub hosts: BTreeMap<String, HostOptions>,
    pub network: Network,
    /// URLs of mirrors that are used before Docker Hub, for reads only.
    pub mirrors: Vec<String>,
    pub retry: RetryPolicy,
    pub timeouts: Timeouts,
}

impl RegistryOptions {
    /// The default options: no proxy, no mirror, the system's certificates.
    #[must_use]
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self {
            credentials,
            hosts: BTreeMap::new(),
            network: Network::default(),
            mirrors: Vec::new(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// The options of one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// Whether to use HTTP without TLS. The default is true for loopback hosts only.
    pub plain_http: Option<bool>,
    /// The maximum number of active requests.
    pub concurrency: usize,
    /// The maximum number of requests that start in a second. `None` is unlimited.
    pub requests_per_second: Option<f64>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { plain_http: None, concurrency: 8, requests_per_second: None }
    }
}

/// How requests leave this machine: the proxies, and the certificates of servers to trust.
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub proxies: Proxies,
    /// Certificates (PEM) that are trusted in addition to the system's.
    pub certificates: Vec<u8>,
}

/// Proxies, in the format of the environment variables of the same names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// The proxy for schemes without one of their own.
    pub all: Option<String>,
    /// Hosts, domains and networks that need no proxy, separated by commas.
    pub no_proxy: Option<String>,
}

impl fmt::Debug for Proxies {
    // The URL of a proxy may contain a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |url: &Option<String>| url.as_ref().map(|_| "…");
        formatter
            .debug_struct("Proxies")
            .field("http", &hidden(&self.http))
            .field("https", &hidden(&self.https))
            .field("all", &hidden(&self.all))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// Time-outs; `None` is unlimited. An active download never times out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The time to connect, including the TLS handshake.
    pub connect: Option<Duration>,
    /// The time to wait for an answer, and for each further piece of it.
    pub idle: Option<Duration>,
}

impl Timeouts {
    /// Short time-outs for optional requests.
    #[must_use]
    pub fn brief() -> Self {
        Self { connect: Some(Duration::from_secs(5)), idle: Some(Duration::from_secs(15)) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Some(Duration::from_secs(20)), idle: Some(Duration::from_secs(120)) }
    }
}
