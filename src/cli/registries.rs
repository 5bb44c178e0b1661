//! How registries are reached and who we are to them, from the matrix and the environment.

use std::path::Path;
use std::sync::Arc;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::Matrix;
use crate::registry::{
    Credentials, DockerConfig, Proxies, Registries, RegistryOptions, RetryPolicy, Timeouts,
};

use super::{Environment, engines};

/// The certificates cannot be read that connections are to trust.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the certificates that registries are trusted by")]
struct CertificatesError(#[source] std::io::Error);

impl Explain for CertificatesError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}

/// What a client of registries is told.
pub(super) fn options(
    matrix: &Matrix,
    environment: &Environment,
) -> Result<RegistryOptions, Report> {
    let file = match matrix.build.ca_certificates.as_deref() {
        // The system's own are read from where a variable says.
        Some("auto") | None => None,
        Some(path) => Some(matrix.folder().join(path)),
    };
    let docker = DockerConfig {
        folder: engines::docker_environment(environment).docker_folder(),
        search_path: environment.path("PATH").map(Into::into),
    };
    let credentials = Credentials::load(&docker)?;
    Ok(RegistryOptions {
        proxies: proxies(environment),
        certificates: file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        ..RegistryOptions::new(Arc::new(credentials))
    })
}

/// A client; `mirrors` are asked before Docker Hub.
pub(super) fn open(options: &RegistryOptions, mirrors: Vec<String>) -> Result<Registries, Report> {
    Ok(Registries::new(&RegistryOptions { mirrors, ..options.clone() })?)
}

/// What a client is told whose answers are good to have: it asks once, and not for long.
pub(super) fn brief(options: &RegistryOptions) -> RegistryOptions {
    RegistryOptions {
        retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
        timeouts: Timeouts::brief(),
        ..options.clone()
    }
}

fn proxies(environment: &Environment) -> Proxies {
    let variable = |lower: &str, upper: &str| {
        let value = environment.variable(lower).or_else(|| environment.variable(upper));
        value.map(str::to_owned)
    };
    Proxies {
        http: variable("http_proxy", "HTTP_PROXY"),
        https: variable("https_proxy", "HTTPS_PROXY"),
        all: variable("all_proxy", "ALL_PROXY"),
        no_proxy: variable("no_proxy", "NO_PROXY"),
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    fs_err::read(path).map_err(CertificatesError)
}
