//! Finds the engine: `--builder`, the environment, Docker's configuration, or the default sockets.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::address::{EngineAddress, TlsFiles};
use super::docker_context;
use super::{Endpoint, EngineError};

/// The inputs of the search for an engine.
#[derive(Debug, Clone, Default)]
pub struct EngineRequest {
    /// The address of a `buildkitd` from `--builder`.
    pub builder: Option<String>,
    /// The TLS files for the builder.
    pub builder_tls: Option<TlsFiles>,
    pub environment: EngineEnvironment,
}

/// The environment variables that select an engine. An empty variable counts as unset. `runtime_dir` is
/// `XDG_RUNTIME_DIR`, and the other fields have the names of their variables.
#[derive(Debug, Clone, Default)]
pub struct EngineEnvironment {
    pub buildkit_host: Option<String>,
    pub docker_host: Option<String>,
    pub docker_context: Option<String>,
    pub docker_tls_verify: bool,
    pub docker_cert_path: Option<PathBuf>,
    /// `DOCKER_CONFIG`, the folder of Docker's own configuration.
    pub docker_config: Option<PathBuf>,
    /// The home directory of the user.
    pub home: Option<PathBuf>,
    pub runtime_dir: Option<PathBuf>,
}

impl EngineEnvironment {
    /// Returns the folder of Docker's configuration: `DOCKER_CONFIG` or `~/.docker`.
    #[must_use]
    pub fn docker_folder(&self) -> Option<PathBuf> {
        let in_home = || self.home.as_deref().map(|home| home.join(".docker"));
        self.docker_config.clone().or_else(in_home)
    }

    fn docker_tls(&self) -> Option<TlsFiles> {
        if !self.docker_tls_verify {
            return None;
        }
        let folder = self.docker_cert_path.clone().or_else(|| self.docker_folder());
        folder.as_deref().map(TlsFiles::in_folder)
    }
}

/// The result of the search before any connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Named(EngineAddress),
    /// The default sockets, in order. The first one that accepts connections is used.
    Default(Vec<PathBuf>),
}

/// Returns the engine that `request` selects, or the default sockets.
///
/// The order is `--builder`, `BUILDKIT_HOST`, `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context of
/// Docker's configuration, and the sockets of Docker, Docker Desktop, Colima, `OrbStack` and rootless
/// Docker.
pub(super) fn candidates(request: &EngineRequest) -> Result<Candidates, EngineError> {
    let environment = &request.environment;
    if let Some(url) = request.builder.as_ref().or(environment.buildkit_host.as_ref()) {
        let tls = request.builder_tls.clone();
        return EngineAddress::buildkit(url, tls).map(Candidates::Named);
    }
    if let Some(url) = &environment.docker_host {
        return EngineAddress::docker(url, environment.docker_tls()).map(Candidates::Named);
    }
    if let Some(folder) = environment.docker_folder()
        && let Some(address) =
            docker_context::current(&folder, environment.docker_context.as_deref())?
    {
        return Ok(Candidates::Named(address));
    }
    Ok(Candidates::Default(default_sockets(environment)))
}

/// Returns the address of the engine for `request`.
pub(super) async fn discover(request: &EngineRequest) -> Result<EngineAddress, EngineError> {
    match candidates(request)? {
        Candidates::Named(address) => Ok(address),
        Candidates::Default(sockets) => first_reachable(&sockets).await,
    }
}

async fn first_reachable(sockets: &[PathBuf]) -> Result<EngineAddress, EngineError> {
    let mut tried = Vec::new();
    let mut forbidden = None;
    for socket in sockets {
        match UnixStream::connect(socket).await {
            Ok(_) => return Ok(docker_at(socket)),
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    forbidden.get_or_insert_with(|| docker_at(socket));
                }
                tried.push(describe(socket, &error));
            }
        }
    }
    // Missing permissions are more informative than missing sockets.
    Err(match forbidden {
        Some(address) => EngineError::PermissionDenied { address },
        None => EngineError::NotFound { tried },
    })
}

fn describe(socket: &Path, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => return socket.display().to_string(),
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::PermissionDenied => "no permission",
        _ => "connection failed",
    };
    format!("{} ({reason})", socket.display())
}

fn docker_at(socket: &Path) -> EngineAddress {
    EngineAddress {
        kind: super::EngineKind::Docker,
        endpoint: Endpoint::Unix(socket.to_owned()),
        tls: None,
    }
}

fn default_sockets(environment: &EngineEnvironment) -> Vec<PathBuf> {
    const IN_HOME: [&str; 4] = [
        ".docker/run/docker.sock",
        ".docker/desktop/docker.sock",
        ".colima/default/docker.sock",
        ".orbstack/run/docker.sock",
    ];
    let mut sockets = vec![PathBuf::from("/var/run/docker.sock")];
    if let Some(home) = &environment.home {
        sockets.extend(IN_HOME.iter().map(|path| home.join(path)));
    }
    if let Some(folder) = &environment.runtime_dir {
        sockets.push(folder.join("docker.sock"));
    }
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineKind;

    fn named(request: &EngineRequest) -> EngineAddress {
        match candidates(request).expect("candidates") {
            Candidates::Named(address) => address,
            Candidates::Default(sockets) => panic!("expected a named engine, found {sockets:?}"),
        }
    }

    #[test]
    fn the_builder_option_precedes_the_environment() {
        let mut request = EngineRequest {
            builder: Some("tcp://builder:1234".to_owned()),
            ..EngineRequest::default()
        };
        request.environment.buildkit_host = Some("tcp://variable:1234".to_owned());
        request.environment.docker_host = Some("tcp://docker:2375".to_owned());
        assert_eq!(named(&request).to_string(), "tcp://builder:1234");
        request.builder = None;
        assert_eq!(named(&request).to_string(), "tcp://variable:1234");
        request.environment.buildkit_host = None;
        assert_eq!(named(&request).kind, EngineKind::Docker);
        assert_eq!(named(&request).to_string(), "tcp://docker:2375");
    }

    #[test]
    fn tls_files_come_from_the_cert_path_or_the_configuration() {
        let mut request = EngineRequest::default();
        request.environment.docker_host = Some("tcp://docker".to_owned());
        request.environment.home = Some("/home/me".into());
        request.environment.docker_tls_verify = true;
        let in_home = TlsFiles::in_folder("/home/me/.docker".as_ref());
        assert_eq!(named(&request).tls, Some(Box::new(in_home)));
        request.environment.docker_cert_path = Some("/certs".into());
        let at_path = TlsFiles::in_folder("/certs".as_ref());
        assert_eq!(named(&request).tls, Some(Box::new(at_path)));
    }

    #[test]
    fn default_sockets_cover_all_variants_of_docker() {
        let mut request = EngineRequest::default();
        request.environment.home = Some("/home/me".into());
        request.environment.runtime_dir = Some("/run/user/1000".into());
        let expected = [
            "/var/run/docker.sock",
            "/home/me/.docker/run/docker.sock",
            "/home/me/.docker/desktop/docker.sock",
            "/home/me/.colima/default/docker.sock",
            "/home/me/.orbstack/run/docker.sock",
            "/run/user/1000/docker.sock",
        ];
        let expected = expected.iter().map(PathBuf::from).collect();
        assert_eq!(candidates(&request).expect("candidates"), Candidates::Default(expected));
    }

    #[tokio::test]
    async fn the_first_reachable_socket_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
        let live = folder.path().join("live.sock");
        let _listener = tokio::net::UnixListener::bind(&live).expect("a socket");
        let sockets = [folder.path().join("none.sock"), stale, live.clone()];
        let address = first_reachable(&sockets).await.expect("an engine");
        assert_eq!(address, docker_at(&live));
    }

    #[tokio::test]
    async fn all_sockets_are_listed_if_none_is_reachable() {
        let folder = tempfile::tempdir().expect("a folder");
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
        let error = first_reachable(&[folder.path().join("none.sock"), stale])
            .await
            .expect_err("no engine");
        let text = error.to_string();
        assert!(text.contains("none.sock,"), "{text}");
        assert!(text.contains("stale.sock (connection refused)"), "{text}");
    }
}
