//! A client of container registries ([distribution specification][spec]), and their credentials.
//!
//! [`Registries`] is the client; start with `client.rs`. It turns each operation into requests
//! (`manifests`, `blobs`, `upload`, `transfer`, `tags`, `access`), which pass through authentication
//! (`authorization`, `tokens`), retries (`attempts`, `retry`), the per-host `limiter` and redirects
//! (`request`) to the connections (`transport`). [`RetryPolicy`] is shared with the clients of clouds and of
//! GitHub. `credentials` finds the [`Credential`] of a host.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

mod access;
mod address;
mod attempts;
mod authorization;
mod blobs;
mod challenge;
mod client;
mod credentials;
mod error;
mod host;
mod limiter;
mod manifest;
mod manifests;
mod options;
mod problem;
mod request;
mod retry;
mod scopes;
mod tags;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod transfer;
mod transport;
mod upload;

pub use access::Access;
pub use blobs::Blob;
pub use client::Registries;
pub use credentials::{
    CREDENTIAL_VARIABLES, CloudProblem, Concealer, Credential, CredentialSource, CredentialSources,
    Credentials, CredentialsError, DockerConfig, HelperProblem, NamedHosts, Owner, PlainHttp,
    ResolvedCredential, VARIABLE_PREFIX, VariableProblem, Variables, conceal, plain_http_hint,
    shell_safe,
};
pub(crate) use credentials::{EcrHost, is_google_host, sign_jwt};
pub use error::{Authentication, RegistryError, RegistryErrorKind};
pub use manifest::{Manifest, Name, Needs};
pub use options::{HostOptions, Network, Proxies, RegistryOptions, Timeouts};
pub use problem::Problem;
pub use retry::{Retry, RetryPolicy, Retryable, retry_after, server_date};
