//! `--allow`: permissions that the command line grants and a matrix cannot.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::files::{self, Allowed, EntitlementError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entitlement {
    /// `fs.read=PATH`, `fs.write=PATH`, `fs=PATH`: the matrix may name files outside its repository.
    Files(files::Entitlement),
    /// `credentials.plain-http=HOST[:PORT]`: credentials may be sent to this host without TLS.
    PlainHttp(String),
    /// `credentials.github=HOST`: GitHub's API, and the token for it, may be on this host.
    GitHub(String),
}

impl FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let is_host = !value.is_empty() && !value.contains(['/', '@', ' ']);
        match name {
            "credentials.plain-http" if is_host => Ok(Self::PlainHttp(value.to_owned())),
            "credentials.github" if is_host => Ok(Self::GitHub(value.to_ascii_lowercase())),
            name if name.starts_with("credentials.") => {
                Err("expected `credentials.plain-http=HOST` or `credentials.github=HOST`"
                    .to_owned())
            }
            _ => text.parse().map(Self::Files).map_err(|error: EntitlementError| error.to_string()),
        }
    }
}

/// Returns the files that `entitlements` allow.
pub(super) fn files(entitlements: &[Entitlement]) -> Allowed {
    let files = entitlements.iter().filter_map(|one| match one {
        Entitlement::Files(entitlement) => Some(entitlement.clone()),
        _ => None,
    });
    Allowed::new(&files.collect::<Vec<_>>())
}

/// Returns the hosts that `entitlements` allow: those that may receive credentials without TLS, and those that may
/// receive a token for GitHub.
pub(super) fn hosts(entitlements: &[Entitlement]) -> (BTreeSet<String>, Vec<String>) {
    let (mut plain_http, mut github) = (BTreeSet::new(), Vec::new());
    for entitlement in entitlements {
        match entitlement {
            Entitlement::PlainHttp(host) => drop(plain_http.insert(host.clone())),
            Entitlement::GitHub(host) => github.push(host.clone()),
            Entitlement::Files(_) => {}
        }
    }
    (plain_http, github)
}
