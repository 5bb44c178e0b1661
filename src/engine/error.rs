use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use super::EngineAddress;
use crate::error::{ExitCode, Explain};
use crate::image::{Platform, Reference};
use crate::render::familiar;

/// Any cause, as the libraries below give it.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why no engine can be used, or why it cannot do what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An address that cannot be read.
    #[error("`{url}` is not the address of an engine: {expected}")]
    Address {
        /// The address as given.
        url: String,
        /// What was expected instead.
        expected: &'static str,
    },
    /// A Docker host that is only reached through ssh.
    #[error("the Docker host `ssh://{host}` is reached through ssh, which basegen does not speak")]
    SshHost {
        /// Everything after `ssh://`.
        host: String,
    },
    /// Nothing answers at any of the usual places.
    #[error("no engine found; looked at {}", tried.join(", "))]
    NotFound {
        /// The places, with what was wrong at those where something was.
        tried: Vec<String>,
    },
    /// A docker context that is not there or cannot be read.
    #[error("failed to read the docker context `{name}`")]
    Context {
        /// The context's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A file of the Docker configuration that cannot be read.
    #[error("failed to read `{}`", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A certificate or key that cannot be used.
    #[error("failed to use the TLS files of `{address}`")]
    Tls {
        /// The engine's address.
        address: EngineAddress,
        /// What is wrong with them.
        #[source]
        source: Cause,
    },
    /// The socket belongs to someone else.
    #[error("no permission to use the engine at `{address}`")]
    PermissionDenied {
        /// The engine's address.
        address: EngineAddress,
    },
    /// Nobody answers, or not as an engine does.
    #[error("failed to reach the engine at `{address}`")]
    Unreachable {
        /// The engine's address.
        address: EngineAddress,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// Something takes the connection, or what is sent to it, and nothing comes back.
    #[error("the engine at `{address}` does not answer: nothing came from it in {} seconds", waited.as_secs())]
    Silent {
        /// The engine's address.
        address: EngineAddress,
        /// How long was waited for it.
        waited: Duration,
    },
    /// Podman's API has no BuildKit.
    #[error("`{address}` is Podman {version}, whose API does not include BuildKit")]
    Podman {
        /// The engine's address.
        address: EngineAddress,
        /// Podman's version.
        version: String,
    },
    /// An engine from before what basegen needs.
    #[error("{product} {found} at `{address}` is too old: basegen needs {needed} or newer")]
    TooOld {
        /// The engine's address.
        address: EngineAddress,
        /// `Docker Engine` or `BuildKit`.
        product: &'static str,
        /// Its version.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// A platform that the engine has no worker for.
    #[error("{engine} cannot build for {wanted}; it can for {}", Platform::list(available))]
    Platform {
        /// The engine, as events name it.
        engine: String,
        /// The platform asked for.
        wanted: Platform,
        /// Those that it can build for.
        available: Vec<Platform>,
    },
    /// A destination that the engine cannot write to.
    #[error("{engine} cannot {action}")]
    Destination {
        /// The engine, as events name it.
        engine: String,
        /// What it cannot do.
        action: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// The engine's image store cannot be used.
    #[error("{engine} failed to {action}")]
    Store {
        /// The engine, as events name it.
        engine: String,
        /// What it was asked for.
        action: &'static str,
        /// What it answered.
        #[source]
        source: Cause,
    },
    /// An upstream image whose digest the engine cannot look up.
    #[error("failed to resolve `{}`: {problem}", familiar(&image.canonical()))]
    Resolve {
        /// The image.
        image: Reference,
        /// The engine's answer.
        problem: String,
    },
    /// The folder of an OCI layout that cannot be used.
    #[error("failed to use `{}` as an OCI image layout", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
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
                    "forward its socket, and point DOCKER_HOST at it:\n  \
                     ssh -nNT -L /tmp/basegen-docker.sock:/var/run/docker.sock {host} &\n  \
                     DOCKER_HOST=unix:///tmp/basegen-docker.sock basegen …"
                ));
            }
            Self::NotFound { .. } => {
                "start Docker, or name an engine: set DOCKER_HOST, or pass `--builder unix://…` \
                 or `--builder tcp://…` for a buildkitd"
            }
            Self::Unreachable { .. } => {
                "start it, or name another: DOCKER_HOST, `docker context use`, `--builder`"
            }
            Self::Silent { .. } => {
                "see whether it is an engine that listens there, and start it anew if it hangs; \
                 or name another: DOCKER_HOST, `docker context use`, `--builder`"
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
            Self::TooOld { .. } => "update the engine, or pass another with `--builder`",
            Self::Platform { .. } => {
                "leave the platform out with `--platform`, or name another engine with `--builder`"
            }
            Self::Context { .. } => {
                "choose another with `docker context use`, or name an engine with DOCKER_HOST or `--builder`"
            }
            Self::Config { .. } => {
                "correct the file, or name an engine with DOCKER_HOST or `--builder`"
            }
            Self::Destination { hint, .. } => hint,
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A URL without the user and password that someone may have put into it.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
