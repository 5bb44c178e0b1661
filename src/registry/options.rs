use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Credentials, RetryPolicy};

/// Everything that the client is told; it reads neither files nor the environment for it.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Who we are to each registry.
    pub credentials: Arc<Credentials>,
    /// What is special about single registries, by `host[:port]`.
    pub hosts: BTreeMap<String, HostOptions>,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// Certificates (PEM) that are trusted beside the system's.
    pub certificates: Vec<u8>,
    /// URLs of mirrors that are asked before Docker Hub, for reads only.
    pub mirrors: Vec<String>,
    /// How often and for how long a request is repeated.
    pub retry: RetryPolicy,
    /// How long silence is borne.
    pub timeouts: Timeouts,
}

impl RegistryOptions {
    /// The usual options with these credentials: no proxy, no mirror, the system's certificates.
    #[must_use]
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self {
            credentials,
            hosts: BTreeMap::new(),
            proxies: Proxies::default(),
            certificates: Vec::new(),
            mirrors: Vec::new(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// What is special about one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOptions {
    /// Whether it is spoken to without TLS; where nothing is said, loopback hosts alone are.
    pub plain_http: Option<bool>,
    /// How many requests may be on their way to it at once.
    pub concurrency: usize,
    /// How many requests may be begun in a second; `None` is as many as there are.
    pub requests_per_second: Option<f64>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { plain_http: None, concurrency: 8, requests_per_second: None }
    }
}

/// Proxies, as the variables of these names have them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The URL of the proxy for `http://`.
    pub http: Option<String>,
    /// The URL of the proxy for `https://`.
    pub https: Option<String>,
    /// The URL of the proxy for what has none of its own.
    pub all: Option<String>,
    /// Hosts, domains and networks that are reached without one, separated by commas.
    pub no_proxy: Option<String>,
}

impl fmt::Debug for Proxies {
    // The URL of a proxy may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |url: &Option<String>| url.as_ref().map(|_| "…");
        formatter
            .debug_struct("Proxies")
            .field("http", &said(&self.http))
            .field("https", &said(&self.https))
            .field("all", &said(&self.all))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// How long silence is borne; `None` is for ever. A transfer that goes on is never cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Option<Duration>,
    /// Between two signs of life of a request. Registries hash a large blob before they answer.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Some(Duration::from_secs(20)), idle: Some(Duration::from_secs(120)) }
    }
}
