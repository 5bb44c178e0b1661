//! The client of registries, from the matrix and the surroundings.

use std::sync::Arc;

use crate::error::Report;
use crate::matrix::Matrix;
use crate::registry::{
    Credentials, DockerConfig, Proxies, Registries, RegistryOptions, RetryPolicy, Timeouts,
};

use super::{Environment, engines};

/// Who we are to each registry.
pub(super) fn credentials(
    _matrix: &Matrix,
    environment: &Environment,
) -> Result<Arc<Credentials>, Report> {
    let docker = DockerConfig {
        folder: engines::docker_environment(environment).docker_folder(),
        search_path: environment.path("PATH").map(Into::into),
    };
    Ok(Arc::new(Credentials::load(&docker)?))
}

/// A client; `mirrors` are asked before Docker Hub.
pub(super) fn open(
    matrix: &Matrix,
    credentials: &Arc<Credentials>,
    mirrors: Vec<String>,
    environment: &Environment,
) -> Result<Registries, Report> {
    Ok(Registries::new(&options(matrix, credentials, mirrors, environment))?)
}

/// A client for questions whose answers are good to have: it asks once, and not for long.
pub(super) fn open_briefly(
    matrix: &Matrix,
    credentials: &Arc<Credentials>,
    mirrors: Vec<String>,
    environment: &Environment,
) -> Result<Registries, Report> {
    let mut options = options(matrix, credentials, mirrors, environment);
    options.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    options.timeouts = Timeouts::brief();
    Ok(Registries::new(&options)?)
}

fn options(
    _matrix: &Matrix,
    credentials: &Arc<Credentials>,
    mirrors: Vec<String>,
    environment: &Environment,
) -> RegistryOptions {
    RegistryOptions {
        mirrors,
        proxies: proxies(environment),
        certificates: certificates(environment),
        ..RegistryOptions::new(Arc::clone(credentials))
    }
}

fn proxies(environment: &Environment) -> Proxies {
    let either = |lower: &str, upper: &str| {
        let value = environment.variable(lower).or_else(|| environment.variable(upper));
        value.map(str::to_owned)
    };
    Proxies {
        http: either("http_proxy", "HTTP_PROXY"),
        https: either("https_proxy", "HTTPS_PROXY"),
        all: either("all_proxy", "ALL_PROXY"),
        no_proxy: either("no_proxy", "NO_PROXY"),
    }
}

/// What OpenSSL is told to trust; the system's own certificates are trusted anyway.
fn certificates(environment: &Environment) -> Vec<u8> {
    let path = environment.path("SSL_CERT_FILE");
    path.and_then(|path| fs_err::read(path).ok()).unwrap_or_default()
}
