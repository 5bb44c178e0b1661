//! How registries are reached and who we are to them, from the matrix and the environment.

use std::path::Path;
use std::sync::Arc;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::Matrix;
use crate::registry::{Credentials, Proxies, RegistryOptions};

use super::{Environment, build};

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
    let variable = |lower: &str, upper: &str| {
        let value = environment.variable(lower).or_else(|| environment.variable(upper));
        value.map(str::to_owned)
    };
    let file = match matrix.build.ca_certificates.as_deref() {
        // The system's own are read from where a variable says.
        Some("auto") | None => None,
        Some(path) => Some(matrix.folder().join(path)),
    };
    let credentials = Credentials::load(&build::docker_config(environment))?;
    Ok(RegistryOptions {
        proxies: Proxies {
            http: variable("http_proxy", "HTTP_PROXY"),
            https: variable("https_proxy", "HTTPS_PROXY"),
            all: variable("all_proxy", "ALL_PROXY"),
            no_proxy: variable("no_proxy", "NO_PROXY"),
        },
        certificates: file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        ..RegistryOptions::new(Arc::new(credentials))
    })
}

fn certificates(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    fs_err::read(path).map_err(CertificatesError)
}
