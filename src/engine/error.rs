use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use super::EngineAddress;
use crate::error::{ExitCode, Explain};
use crate::image::{Platform, Reference};
use crate::render::familiar;

/// The error of a library.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// An error of the connection to an engine, or a request that the engine does not support.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("`{url}` is not the address of an engine: {expected}")]
    Address { url: String, expected: &'static str },
    /// A Docker host behind ssh. `host` is everything after `ssh://`.
    #[error("the Docker host `ssh://{host}` requires ssh, which basegen does not support")]
    SshHost { host: String },
    /// None of the default sockets is reachable.
    #[error("no engine found; looked at {}", tried.join(", "))]
    NotFound { tried: Vec<String> },
    /// A docker context that does not exist or cannot be read.
    #[error("failed to read the docker context `{name}`")]
    Context { name: String, source: Cause },
    /// An unreadable file of the Docker configuration.
    #[error("failed to read `{}`", path.display())]
    Config { path: PathBuf, source: Cause },
    /// An invalid certificate or key.
    #[error("failed to use the TLS files of `{address}`")]
    Tls { address: EngineAddress, source: Cause },
    /// The user may not access the socket.
    #[error("no permission to use the engine at `{address}`")]
    PermissionDenied { address: EngineAddress },
    /// The connection failed, or the server is not an engine.
    #[error("failed to reach the engine at `{address}`")]
    Unreachable { address: EngineAddress, source: Cause },
    /// The server accepts connections but does not respond.
    #[error("the engine at `{address}` did not respond within {} seconds", waited.as_secs())]
    Silent { address: EngineAddress, waited: Duration },
    /// Podman, whose API lacks `BuildKit`.
    #[error("`{address}` is Podman {version}, whose API does not include BuildKit")]
    Podman { address: EngineAddress, version: String },
    /// An engine that is older than the oldest supported version.
    #[error("{product} {found} at `{address}` is too old: basegen needs {needed} or newer")]
    TooOld { address: EngineAddress, product: &'static str, found: String, needed: &'static str },
    /// A platform without a worker.
    #[error("{engine} cannot build for {wanted}, only for {}", Platform::list(available))]
    Platform { engine: String, wanted: Platform, available: Vec<Platform> },
    /// A destination or an image that the engine does not support.
    #[error("{engine} cannot {action}")]
    Destination { engine: String, action: &'static str, hint: &'static str },
    /// A failed operation on the engine's image store.
    #[error("{engine} failed to {action}")]
    Store { engine: String, action: &'static str, source: Cause },
    /// An upstream image whose digest the engine cannot look up.
    #[error("failed to resolve `{}`: {problem}", familiar(&image.canonical()))]
    Resolve { image: Reference, problem: String },
    /// An unusable folder of an OCI layout.
    #[error("failed to use `{}` as an OCI image layout", path.display())]
    Layout { path: PathBuf, source: Cause },
}

impl EngineError {
    pub(super) fn address(url: &str, expected: &'static str) -> Self {
        Self::Address { url: without_user(url), expected }
    }
}

impl Explain for EngineError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Address { .. } => ExitCode::Usage,
            Self::Layout { .. } => ExitCode::Failure,
            _ => ExitCode::Engine,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::SshHost { host } => {
                return Some(format!(
                    "forward its socket and set DOCKER_HOST:\n  \
                     ssh -nNT -L /tmp/basegen-docker.sock:/var/run/docker.sock {host} &\n  \
                     DOCKER_HOST=unix:///tmp/basegen-docker.sock basegen …"
                ));
            }
            Self::NotFound { .. } => {
                "start Docker, or select an engine: set DOCKER_HOST, or pass `--builder unix://…` \
                 or `--builder tcp://…` for a buildkitd"
            }
            Self::Unreachable { .. } => {
                "start it, or select another one with DOCKER_HOST, `docker context use` or `--builder`"
            }
            Self::Silent { .. } => {
                "check that an engine listens there and restart it if it hangs, or select another \
                 one with DOCKER_HOST, `docker context use` or `--builder`"
            }
            Self::PermissionDenied { .. } => {
                "add yourself to the socket's group (for Docker: `sudo usermod -aG docker $USER`, \
                 then log in again), or use rootless Docker"
            }
            Self::Podman { .. } => {
                "run a buildkitd beside it and pass its address, for example\n  \
                 podman run -d --privileged -p 127.0.0.1:1234:1234 docker.io/moby/buildkit \
                 --addr tcp://0.0.0.0:1234\n  \
                 basegen --builder tcp://127.0.0.1:1234 …"
            }
            Self::TooOld { .. } => "update the engine, or select another one with `--builder`",
            Self::Platform { .. } => {
                "exclude the platform with `--platform`, or select another engine with `--builder`"
            }
            Self::Context { .. } => {
                "choose another with `docker context use`, or select an engine with DOCKER_HOST or `--builder`"
            }
            Self::Config { .. } => {
                "correct the file, or select an engine with DOCKER_HOST or `--builder`"
            }
            Self::Destination { hint, .. } => hint,
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Removes the user and the password from a URL.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
