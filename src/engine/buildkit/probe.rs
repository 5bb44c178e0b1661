//! Determines the product, version and abilities of an engine.

use bollard::Docker;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{InfoRequest, ListWorkersRequest};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::docker::{self, About, Product};
use super::export::Abilities;
use super::transport::{self, RESPONSE_TIMEOUT, Silent, UpgradeRefused};
use super::{Connected, tls};
use crate::engine::address::{EngineAddress, EngineKind};
use crate::engine::{EngineError, error::Cause};
use crate::image::Platform;

/// The oldest Docker Engine whose `BuildKit` knows every instruction that basegen renders.
const OLDEST_DOCKER: u64 = 23;
/// The oldest `buildkitd` with these instructions.
const OLDEST_BUILDKIT: (u64, u64) = (0, 11);

/// Awaits a call to the engine at `address`, for [`RESPONSE_TIMEOUT`] at most.
async fn await_response<T>(
    address: &EngineAddress,
    call: impl Future<Output = Result<T, impl Into<Cause>>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(RESPONSE_TIMEOUT, call).await {
        Ok(response) => response.map_err(|error| unreachable(address, error.into())),
        Err(_) => Err(silent(address)),
    }
}

/// Connects to the engine at `address` and determines its properties.
pub(super) async fn probe(address: &EngineAddress) -> Result<Connected, EngineError> {
    if let Some(files) = &address.tls {
        // Reports invalid TLS files before they make the engine seem unreachable.
        tls::client_config(files, b"h2")
            .map_err(|source| EngineError::Tls { address: address.clone(), source })?;
    }
    let docker = match address.kind {
        EngineKind::Docker => Some(probe_docker(address).await?),
        EngineKind::BuildKit => None,
    };
    let channel = await_response(address, transport::connect(address)).await?;
    let mut control = ControlClient::new(channel.clone());
    let (docker, product, about) = if let Some((docker, version, about)) = docker {
        (Some(docker), format!("Docker Engine {version}"), about)
    } else {
        let version = await_response(address, buildkit_version(&mut control)).await?;
        check_buildkit(address, &version)?;
        let product = format!("BuildKit {}", version.trim_start_matches('v'));
        (None, product, About::default())
    };
    let workers =
        await_response(address, control.list_workers(ListWorkersRequest::default())).await?;
    Ok(Connected {
        name: format!("{product} at {address}"),
        channel,
        abilities: Abilities {
            graph_driver: docker.is_some() && !about.containerd_store,
            is_docker: docker.is_some(),
        },
        docker,
        platforms: platforms(workers.into_inner().record),
        mirrors: about.mirrors,
    })
}

async fn probe_docker(address: &EngineAddress) -> Result<(Docker, String, About), EngineError> {
    let docker = docker::client(address).map_err(|source| unreachable(address, source))?;
    let version = match await_response(address, docker::product(&docker)).await? {
        Product::Docker(version) => version,
        Product::Podman(version) => {
            return Err(EngineError::Podman { address: address.clone(), version });
        }
    };
    check_docker(address, &version)?;
    let docker = await_response(address, docker.negotiate_version()).await?;
    let about = await_response(address, docker::about(&docker)).await?;
    Ok((docker, version, about))
}

/// Refuses old versions. A version that does not begin with a number is a development build.
fn check_docker(address: &EngineAddress, version: &str) -> Result<(), EngineError> {
    let is_old = numbers(version).next().is_some_and(|major| major < OLDEST_DOCKER);
    if is_old { Err(too_old(address, "Docker Engine", version, "23.0")) } else { Ok(()) }
}

/// Refuses old versions. Development builds have version 0.0.
fn check_buildkit(address: &EngineAddress, version: &str) -> Result<(), EngineError> {
    let mut numbers = numbers(version.trim_start_matches('v'));
    let is_old = numbers
        .next()
        .zip(numbers.next())
        .is_some_and(|version| version != (0, 0) && version < OLDEST_BUILDKIT);
    if is_old { Err(too_old(address, "BuildKit", version, "0.11")) } else { Ok(()) }
}

fn too_old(
    address: &EngineAddress,
    product: &'static str,
    found: &str,
    needed: &'static str,
) -> EngineError {
    EngineError::TooOld { address: address.clone(), product, found: found.to_owned(), needed }
}

fn numbers(version: &str) -> impl Iterator<Item = u64> {
    version.split('.').map_while(|part| part.parse().ok())
}

async fn buildkit_version(control: &mut ControlClient<Channel>) -> Result<String, Status> {
    match control.info(InfoRequest {}).await {
        Ok(info) => {
            let version = info.into_inner().buildkit_version.unwrap_or_default();
            Ok(version.version)
        }
        // This call exists since 0.11.
        Err(status) if status.code() == Code::Unimplemented => Ok("0.10".to_owned()),
        Err(status) => Err(status),
    }
}

fn platforms(
    workers: Vec<bollard_buildkit_proto::moby::buildkit::v1::types::WorkerRecord>,
) -> Vec<Platform> {
    let mut platforms = Vec::new();
    for platform in workers.into_iter().flat_map(|worker| worker.platforms) {
        let mut text = format!("{}/{}", platform.os, platform.architecture);
        if !platform.variant.is_empty() {
            text = format!("{text}/{}", platform.variant);
        }
        // Platforms outside of the OCI specification cannot be requested.
        if let Ok(platform) = text.parse()
            && !platforms.contains(&platform)
        {
            platforms.push(platform);
        }
    }
    platforms
}

fn unreachable(address: &EngineAddress, source: Cause) -> EngineError {
    let address = address.clone();
    if transport::is_forbidden(&*source) {
        return EngineError::PermissionDenied { address };
    }
    if transport::find::<UpgradeRefused>(&*source).is_some() {
        // All Docker versions that pass the check have BuildKit, so this is an imitation.
        return EngineError::Podman {
            address,
            version: "or another imitation of Docker".to_owned(),
        };
    }
    if transport::find::<Silent>(&*source).is_some() {
        return silent(&address);
    }
    EngineError::Unreachable { address, source }
}

fn silent(address: &EngineAddress) -> EngineError {
    EngineError::Silent { address: address.clone(), waited: RESPONSE_TIMEOUT }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::UnixListener;

    use super::*;
    use crate::error::{Explain, Report};

    fn address() -> EngineAddress {
        EngineAddress::docker("unix:///s", None).expect("an address")
    }

    /// Starts a server with these bodies by path. It responds to all other paths with 404.
    fn serve(folder: &Path, bodies: Vec<(&'static str, &'static str)>) -> EngineAddress {
        let path = folder.join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let bodies: &'static [_] = bodies.leak();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |request: http::Request<Incoming>| async move {
                    let path = request.uri().path();
                    let body = bodies.iter().find(|(known, _)| *known == path);
                    let (status, body) = body.map_or((404, "{}"), |(_, body)| (200, *body));
                    let response = http::Response::builder().status(status);
                    response.body(Full::<Bytes>::from(body))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        EngineAddress::docker(&format!("unix://{}", path.display()), None).expect("an address")
    }

    async fn probe_error(bodies: Vec<(&'static str, &'static str)>) -> EngineError {
        let folder = tempfile::tempdir().expect("a folder");
        let address = serve(folder.path(), bodies);
        probe(&address).await.err().expect("an error")
    }

    #[tokio::test]
    async fn podman_is_recognized() {
        let version = r#"{"Version": "5.4.2", "ApiVersion": "1.41",
            "Components": [{"Name": "Podman Engine", "Version": "5.4.2"}]}"#;
        let error = probe_error(vec![("/version", version)]).await;
        let EngineError::Podman { version, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(version, "5.4.2");
        assert!(error.hint().is_some_and(|hint| hint.contains("buildkit")));
    }

    #[tokio::test]
    async fn an_engine_without_buildkit_is_rejected() {
        let version = r#"{"Version": "26.0.0", "ApiVersion": "1.45"}"#;
        let error = probe_error(vec![("/version", version), ("/info", "{}")]).await;
        assert!(matches!(error, EngineError::Podman { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn the_version_of_docker_is_checked_first() {
        let version = r#"{"Version": "20.10.24+dfsg1", "ApiVersion": "1.41"}"#;
        let error = probe_error(vec![("/version", version)]).await;
        assert!(matches!(error, EngineError::TooOld { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn other_servers_are_unreachable() {
        let error = probe_error(vec![]).await;
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        let missing = EngineAddress::docker("unix:///missing.sock", None).expect("an address");
        let error = probe(&missing).await.err().expect("an error");
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    }

    /// Returns a socket that accepts connections and never responds.
    fn silent_socket(folder: &Path) -> String {
        let path = folder.join("silent.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        tokio::spawn(async move {
            let mut connections = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.push(stream);
            }
        });
        format!("unix://{}", path.display())
    }

    /// Awaits `request`, which must time out. The paused clock advances while all tasks wait.
    async fn within_minutes<T>(request: impl Future<Output = T>) -> T {
        let result = tokio::time::timeout(Duration::from_secs(600), request).await;
        result.expect("a result within ten minutes")
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_engine_times_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = silent_socket(folder.path());
        let addresses = [
            EngineAddress::buildkit(&url, None).expect("an address"),
            EngineAddress::docker(&url, None).expect("an address"),
        ];
        for address in addresses {
            let error = within_minutes(probe(&address)).await.err().expect("an error");
            assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
            let text = Report::from(error).to_string();
            let text = text.replace(&folder.path().display().to_string(), "FOLDER");
            insta::allow_duplicates!(insta::assert_snapshot!(text));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_upgrade_times_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let address =
            EngineAddress::docker(&silent_socket(folder.path()), None).expect("an address");
        let connected = within_minutes(transport::connect(&address)).await;
        let error = unreachable(&address, connected.expect_err("no upgrade").into());
        assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
    }

    #[test]
    fn old_engines_are_rejected_with_both_versions() {
        for (version, is_accepted) in
            [("20.10.24+dfsg1", false), ("23.0.1", true), ("26.1.5+dfsg1", true), ("dev", true)]
        {
            let result = check_docker(&address(), version);
            assert_eq!(result.is_ok(), is_accepted, "{version}");
        }
        let error = check_docker(&address(), "20.10.24").expect_err("too old").to_string();
        assert!(error.contains("20.10.24") && error.contains("23.0"), "{error}");
        for (version, is_accepted) in [
            ("v0.10.6", false),
            ("v0.11.0-rc1", true),
            ("v1.0.0", true),
            ("v0.0.0+unknown", true),
            ("0.26.2+unknown", true),
        ] {
            let result = check_buildkit(&address(), version);
            assert_eq!(result.is_ok(), is_accepted, "{version}");
        }
    }
}
