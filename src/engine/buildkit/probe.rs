//! What the engine is and what it can do, asked once.

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{InfoRequest, ListWorkersRequest};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::export::Abilities;
use super::transport::{self, UpgradeRefused};
use crate::engine::address::{EngineAddress, EngineKind};
use crate::engine::docker::{About, DockerApi};
use crate::engine::{EngineError, error::Cause};
use crate::image::Platform;

/// The oldest Docker Engine whose `BuildKit` knows every instruction that basegen renders.
const OLDEST_DOCKER: u64 = 23;
/// The same for a `buildkitd`.
const OLDEST_BUILDKIT: (u64, u64) = (0, 11);

/// What is known of an engine.
pub(super) struct Probed {
    /// `Docker Engine 26.1.5` or `BuildKit 0.26.2`.
    pub(super) product: String,
    pub(super) channel: Channel,
    pub(super) docker: Option<DockerApi>,
    pub(super) abilities: Abilities,
    pub(super) platforms: Vec<Platform>,
    pub(super) mirrors: Vec<String>,
}

/// Connects to the engine at `address` and asks it what it is.
pub(super) async fn probe(address: &EngineAddress) -> Result<Probed, EngineError> {
    let (docker, about) = match address.kind {
        EngineKind::Docker => {
            let (docker, about) = ask_docker(address).await?;
            (Some(docker), about)
        }
        EngineKind::BuildKit => (None, About::default()),
    };
    let channel = transport::connect(address).await;
    let channel = channel.map_err(|error| unreachable(address, error.into()))?;
    let mut control = ControlClient::new(channel.clone());
    let product = if docker.is_some() {
        format!("Docker Engine {}", about.version)
    } else {
        let version = buildkit_version(&mut control).await;
        let version = version.map_err(|status| unreachable(address, status.into()))?;
        check_buildkit(address, &version)?;
        format!("BuildKit {}", version.trim_start_matches('v'))
    };
    let workers = control.list_workers(ListWorkersRequest::default()).await;
    let workers = workers.map_err(|status| unreachable(address, status.into()))?;
    Ok(Probed {
        product,
        channel,
        abilities: Abilities {
            graph_driver: docker.is_some() && !about.containerd_store,
            knows_insecure_registries: docker.is_some(),
        },
        docker,
        platforms: platforms(workers.into_inner().record),
        mirrors: about.mirrors,
    })
}

async fn ask_docker(address: &EngineAddress) -> Result<(DockerApi, About), EngineError> {
    let mut docker = DockerApi::new(address).map_err(|source| EngineError::Tls {
        address: address.clone(),
        source,
    })?;
    let about = docker.about().await;
    let about = about.map_err(|error| unreachable(address, error.into()))?;
    if let Some(version) = about.podman {
        return Err(EngineError::Podman {
            address: address.clone(),
            version,
        });
    }
    check_docker(address, &about.version)?;
    Ok((docker, about))
}

/// A version that does not begin with a number is a development build, and new enough.
fn check_docker(address: &EngineAddress, version: &str) -> Result<(), EngineError> {
    let major = numbers(version).next();
    if major.is_some_and(|major| major < OLDEST_DOCKER) {
        return Err(too_old(address, "Docker Engine", version, "23.0"));
    }
    Ok(())
}

fn check_buildkit(address: &EngineAddress, version: &str) -> Result<(), EngineError> {
    let mut numbers = numbers(version.trim_start_matches('v'));
    if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
        && (major, minor) < OLDEST_BUILDKIT
    {
        return Err(too_old(address, "BuildKit", version, "0.11"));
    }
    Ok(())
}

fn too_old(
    address: &EngineAddress,
    product: &'static str,
    found: &str,
    needed: &'static str,
) -> EngineError {
    EngineError::TooOld {
        address: address.clone(),
        product,
        found: found.to_owned(),
        needed,
    }
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
        // The call came with 0.11 itself.
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
        // A platform that has no name in OCI's words cannot be asked for either.
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
        // Docker without BuildKit would be older than what was checked: someone imitates it.
        return EngineError::Podman {
            address,
            version: "or another imitation of Docker".to_owned(),
        };
    }
    EngineError::Unreachable { address, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> EngineAddress {
        EngineAddress::docker("unix:///s", None).expect("an address")
    }

    #[test]
    fn old_engines_are_refused_with_both_versions() {
        for (version, passes) in [
            ("20.10.24+dfsg1", false),
            ("23.0.1", true),
            ("26.1.5+dfsg1", true),
            ("dev", true),
        ] {
            let checked = check_docker(&address(), version);
            assert_eq!(checked.is_ok(), passes, "{version}");
        }
        let error = check_docker(&address(), "20.10.24")
            .expect_err("too old")
            .to_string();
        assert!(
            error.contains("20.10.24") && error.contains("23.0"),
            "{error}"
        );
        for (version, passes) in [
            ("v0.10.6", false),
            ("v0.11.0-rc1", true),
            ("v1.0.0", true),
            ("0.26.2+unknown", true),
        ] {
            let checked = check_buildkit(&address(), version);
            assert_eq!(checked.is_ok(), passes, "{version}");
        }
    }
}
