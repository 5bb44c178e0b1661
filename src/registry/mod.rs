//! Registries: who we are to them, and a client of the [distribution specification][spec].
//!
//! [`Registries`] speaks to all of them. A request passes these doors: `client` names what is
//! asked, `manifests`, `blobs`, `upload`, `tags` and `access` know how the specification asks it,
//! `authorization` proves who we are and `retry` repeats it, `limiter` delays it, `request` sends it
//! and follows where it is sent to, `transport` has the connections.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

mod access;
mod address;
mod authorization;
mod blobs;
mod challenge;
mod client;
mod clock;
mod credentials;
mod error;
mod host;
mod limiter;
mod manifest;
mod manifests;
mod options;
mod payload;
mod problem;
mod request;
mod retry;
mod scopes;
mod tags;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod transport;
mod upload;

pub use access::Access;
pub use client::Registries;
pub use credentials::{
    AWS_VARIABLES, Concealer, Credential, CredentialSource, CredentialSources, Credentials,
    CredentialsError, DockerConfig, EcrProblem, Found, NamedHosts, Network, Owner, PairProblem,
    PlainHttp, VARIABLE_PREFIX, VariableProblem, Variables, conceal, plain_http_hint, shell_safe,
};
pub use error::{RegistryError, RegistryErrorKind};
pub use manifest::{Manifest, Name, Needs};
pub use options::{HostOptions, Proxies, RegistryOptions, Timeouts};
pub use payload::Blob;
pub use problem::Problem;
pub use retry::{Retry, RetryPolicy, Retryable, retry_after, server_date};
pub use upload::BlobPush;
