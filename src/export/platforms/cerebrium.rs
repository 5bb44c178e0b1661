//! Cerebrium's `cerebrium.toml`.
//!
//! Reference: <https://docs.cerebrium.ai/cerebrium/container-images/defining-container-images>

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use super::{
    Configuration, PublishedImage, RegistryKind, Server, is_python_in, port_warning, quoted,
};

/// The minor versions of Python 3 that Cerebrium supports.
const PYTHON: RangeInclusive<u32> = 10..=13;

const DOCKER_HUB: &str = "docker.io";

/// Returns a `cerebrium.toml` for an app on the image, or for the server in it.
#[must_use]
pub fn cerebrium(image: &PublishedImage<'_>, server: Option<&Server>) -> Configuration {
    let mut warnings = Vec::new();
    let mut text = format!("# {}\n[cerebrium.deployment]\n", image.reference);
    let name = image.variant.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
    let _ = writeln!(text, "name = {}", quoted(&name.to_ascii_lowercase()));
    text.push_str(&login(image));
    let reference = image.reference.pinned(image.digest);
    let _ = writeln!(text, "docker_base_image_url = {}", quoted(&reference));
    match image.python {
        Some(python) if is_python_in(python, &PYTHON) => {
            let _ = writeln!(text, "python_version = {}", quoted(python));
        }
        Some(python) => warnings.push(format!(
            "Cerebrium supports Python 3.{} to 3.{}, and the image has {python}: deploy it with a \
             Dockerfile of your own",
            PYTHON.start(),
            PYTHON.end()
        )),
        None => {}
    }
    if image.has_gpu {
        text.push_str(
            "\n[cerebrium.hardware]\n# A GPU that Cerebrium offers.\ncompute = \"AMPERE_A10\"\n\
             gpu_count = 1\ncpu = 4\nmemory = 16.0\n",
        );
    }
    if let Some(server) = server {
        warnings.extend(port_warning(server));
        text.push_str("\n[cerebrium.runtime.custom]\n");
        if let Some(command) = &server.start_command {
            let _ = writeln!(text, "entrypoint = {}", quoted(command));
        }
        let _ = writeln!(text, "port = {}", server.port);
        for key in ["healthcheck_endpoint", "readycheck_endpoint"] {
            let _ = writeln!(text, "{key} = {}", quoted(&server.health_endpoint));
        }
    }
    Configuration { text, warnings }
}

/// Returns a comment with the login that Cerebrium reads from Docker's configuration, if the image needs one. An image
/// with a namespace on Docker Hub needs one even if it is public.
fn login(image: &PublishedImage<'_>) -> String {
    let repository = &image.reference.repository;
    let host = repository.registry();
    let is_hub = host == DOCKER_HUB;
    let has_namespace = is_hub && !repository.path().starts_with("library/");
    if image.auth.is_none() && !has_namespace {
        return String::new();
    }
    let command = match image.registry {
        RegistryKind::Aws { region, .. } => format!(
            "aws ecr get-login-password --region {region} | docker login -u AWS --password-stdin {host}"
        ),
        _ if is_hub => "docker login -u USERNAME".to_owned(),
        _ => format!("docker login -u USERNAME {host}"),
    };
    format!("# Log in before you deploy: {command}\n")
}
