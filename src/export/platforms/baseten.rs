//! Baseten's `config.yaml`.
//!
//! References: <https://docs.baseten.co/development/model/custom-server>,
//! <https://docs.baseten.co/development/model/private-registries>

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use super::{
    Configuration, DockerAuth, PublishedImage, RegistryKind, Server, is_python_in, port_warning,
    quoted,
};

/// The minor versions of Python 3 that Truss supports.
const PYTHON: RangeInclusive<u32> = 9..=14;

/// The port of Baseten's reverse proxy.
const PROXY_PORT: u16 = 8080;

/// The user that Baseten creates in an image.
const PLATFORM_USER: u32 = 60000;

/// The secret with the key of a Google service account.
const GOOGLE_SECRET: &str = "gcp-service-account";

/// Returns a `config.yaml` for a Truss on the image, or for the server in it.
#[must_use]
pub fn baseten(image: &PublishedImage<'_>, server: Option<&Server>) -> Configuration {
    let mut text = format!("# {}\n", image.reference);
    let mut warnings = Vec::new();
    let _ =
        writeln!(text, "base_image:\n  image: {}", quoted(&image.reference.pinned(image.digest)));
    if let Some(auth) = image.auth {
        text.push_str(&docker_auth(image, auth, &mut warnings));
    }
    let is_unmodified = server.is_some_and(|server| server.no_build);
    if let Some(server) = server {
        text.push_str(&docker_server(image, server, &mut warnings));
    } else if let Some(python) = image.python.filter(|python| is_python_in(python, &PYTHON)) {
        let _ = writeln!(text, "python_version: py{}", python.replace('.', ""));
    }
    if !is_unmodified
        && let Some(python) = image.python
        && !is_python_in(python, &PYTHON)
    {
        warnings.push(format!(
            "Truss supports Python 3.{} to 3.{}, and the image has {python}",
            PYTHON.start(),
            PYTHON.end()
        ));
    }
    // A deployment without a build takes no resources from this file.
    if image.has_gpu && !is_unmodified {
        text.push_str("resources:\n  # A GPU that Baseten offers.\n  accelerator: A10G\n");
    }
    if let Some(auth) = image.auth {
        text.push_str(&secrets(image, auth));
    }
    Configuration { text, warnings }
}

fn docker_auth(image: &PublishedImage<'_>, auth: DockerAuth, warnings: &mut Vec<String>) -> String {
    let repository = &image.reference.repository;
    let mut fill_in = |what: &str| warnings.push(format!("replace {what} in `docker_auth`"));
    let keys = match (auth, image.registry) {
        (DockerAuth::AwsOidc, RegistryKind::Aws { account, region }) => {
            fill_in("`ROLE`");
            let role = format!("arn:aws:iam::{account}:role/ROLE");
            vec![("aws_oidc_role_arn", role), ("aws_oidc_region", region.to_owned())]
        }
        (DockerAuth::GcpServiceAccountJson, _) => vec![("secret_name", GOOGLE_SECRET.to_owned())],
        (DockerAuth::GcpOidc, _) => {
            fill_in("`ACCOUNT`, `NUMBER`, `POOL` and `PROVIDER`");
            let project = repository.path().split('/').next().unwrap_or_default();
            let account = format!("ACCOUNT@{project}.iam.gserviceaccount.com");
            let pool = "projects/NUMBER/locations/global/workloadIdentityPools/POOL";
            let provider = format!("{pool}/providers/PROVIDER");
            vec![("gcp_oidc_service_account", account), ("gcp_oidc_workload_id_provider", provider)]
        }
        // Baseten finds the secret by its name.
        (DockerAuth::RegistrySecret, _) => return String::new(),
        (DockerAuth::AwsIam | DockerAuth::AwsOidc, _) => Vec::new(),
    };
    let (method, registry) = (auth.name(), quoted(repository.registry()));
    let mut text = format!("  docker_auth:\n    auth_method: {method}\n    registry: {registry}\n");
    for (key, value) in keys {
        let _ = writeln!(text, "    {key}: {}", quoted(&value));
    }
    text
}

/// Returns the secrets with which Baseten authenticates, by name.
fn secrets(image: &PublishedImage<'_>, auth: DockerAuth) -> String {
    let (comment, names) = match auth {
        DockerAuth::AwsIam => {
            ("", vec!["aws_access_key_id".to_owned(), "aws_secret_access_key".to_owned()])
        }
        DockerAuth::GcpServiceAccountJson => ("", vec![GOOGLE_SECRET.to_owned()]),
        DockerAuth::RegistrySecret => {
            let registry = match image.reference.repository.registry() {
                "docker.io" => "https://index.docker.io/v1/",
                other => other,
            };
            ("  # The Base64 of username:password.\n", vec![format!("DOCKER_REGISTRY_{registry}")])
        }
        DockerAuth::AwsOidc | DockerAuth::GcpOidc => return String::new(),
    };
    let names = names.iter().map(|name| format!("  {}: null\n", quoted(name)));
    format!("# Set their values in Baseten.\nsecrets:\n{comment}{}", names.collect::<String>())
}

fn docker_server(
    image: &PublishedImage<'_>,
    server: &Server,
    warnings: &mut Vec<String>,
) -> String {
    let mut text = String::from("docker_server:\n");
    if server.no_build {
        text.push_str("  no_build: true\n");
    } else if server.port == PROXY_PORT {
        warnings.push(format!("port {PROXY_PORT} is reserved for Baseten's reverse proxy"));
    }
    warnings.extend(port_warning(server));
    if let Some(command) = &server.start_command {
        let _ = writeln!(text, "  start_command: {}", quoted(command));
    }
    let _ = writeln!(text, "  server_port: {}", server.port);
    let health = &server.health_endpoint;
    for (key, path) in [
        ("predict_endpoint", &server.predict_endpoint),
        ("readiness_endpoint", health),
        ("liveness_endpoint", health),
    ] {
        let _ = writeln!(text, "  {key}: {}", quoted(path));
    }
    let user = image.user.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(0 | PLATFORM_USER) => {}
        Ok(user) => {
            let _ = writeln!(text, "  run_as_user_id: {user}");
        }
        Err(_) if matches!(user, "" | "root") => {}
        Err(_) => warnings.push(format!(
            "the image's user is `{}`: add `run_as_user_id` with its number",
            user.escape_debug()
        )),
    }
    text
}
