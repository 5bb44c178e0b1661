//! Which credentials may be sent without TLS: those of this machine, and those that the command line allows.

use std::collections::BTreeSet;

use reqwest::Url;

use crate::registry::address::is_loopback;
use crate::registry::transport::authority;

/// The registries without TLS, and those of them that may receive credentials; each `host[:port]`.
#[derive(Debug, Clone, Default)]
pub struct PlainHttp {
    /// The registries that are reached without TLS.
    pub hosts: BTreeSet<String>,
    /// The hosts that the command line allows to receive credentials without TLS.
    pub allowed: BTreeSet<String>,
}

impl PlainHttp {
    /// Returns true if no credential may be sent to the registry at `host`.
    pub(super) fn refuses(&self, host: &str) -> bool {
        let is_admitted =
            || Url::parse(&format!("http://{host}/")).is_ok_and(|url| self.admits(&url));
        self.hosts.contains(host) && !is_admitted()
    }

    /// Returns true if credentials may be sent to `url`.
    #[must_use]
    pub fn admits(&self, url: &Url) -> bool {
        url.scheme() == "https" || is_loopback(url) || self.allowed.contains(&authority(url))
    }
}

/// Returns the hint for a credential that is not sent to `host` without TLS.
#[must_use]
pub fn plain_http_hint(host: &str) -> String {
    format!("use TLS, or allow it with `--allow credentials.plain-http={host}`")
}
