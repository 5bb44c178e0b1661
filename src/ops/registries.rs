//! Options of registry clients, from the matrix and the environment.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::error::{ExitCode, Explain, Report};
use crate::files::{self, Access, MAX_TEXT, ReadError};
use crate::image::{Digest, Reference};
use crate::matrix::{Matrix, RegistrySettings};
use crate::registry::{
    CREDENTIAL_VARIABLES, CredentialSources, Credentials, DockerConfig, HostOptions, Network,
    PlainHttp, Registries, RegistryError, RegistryOptions, RetryPolicy, Timeouts, Variables,
    shell_safe,
};

use super::{Settings, owners};

/// The file of additional root certificates cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the certificates that registries are trusted by")]
struct CertificatesError(#[source] ReadError);

impl Explain for CertificatesError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}

/// Returns the options of a registry client. Checks the hosts that receive well-known tokens.
pub(crate) fn options(matrix: &Matrix, settings: &Settings) -> Result<RegistryOptions, Report> {
    owners::check_registries(matrix, &settings.named_hosts)?;
    let sources = sources(matrix, settings)?;
    let hosts = matrix.registries.iter();
    Ok(RegistryOptions {
        hosts: hosts.map(|(host, settings)| (host.clone(), host_options(settings))).collect(),
        network: sources.network.clone(),
        ..RegistryOptions::new(Arc::new(Credentials::load(sources)?))
    })
}

/// Returns options for lookups that an operation can do without: one attempt with short timeouts.
pub(crate) fn brief(options: &RegistryOptions) -> RegistryOptions {
    RegistryOptions {
        retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
        timeouts: Timeouts::brief(),
        ..options.clone()
    }
}

/// Looks up the digest of each reference at once; the clients limit the requests to each host.
pub(crate) async fn digests<'a>(
    registries: &Registries,
    wanted: impl IntoIterator<Item = &'a Reference>,
) -> Vec<Result<Option<Digest>, RegistryError>> {
    let answers = wanted.into_iter().map(async |reference| {
        let found = registries.head(&reference.repository, &reference.tag).await?;
        Ok(found.map(|descriptor| descriptor.digest))
    });
    join_all(answers).await
}

fn host_options(settings: &RegistrySettings) -> HostOptions {
    let usual = HostOptions::default();
    HostOptions {
        plain_http: settings.plain_http,
        concurrency: settings.concurrency.unwrap_or(usual.concurrency),
        requests_per_second: settings.requests_per_second,
    }
}

/// Returns the proxies of the environment and the certificates of the matrix. An intercepting proxy that build steps
/// trust signs the connections of basegen too.
pub(crate) fn network(matrix: &Matrix, settings: &Settings) -> Result<Network, Report> {
    // `auto` is the file of `SSL_CERT_FILE`, which is read with the certificates of the system.
    let named = matrix.build.ca_certificates.as_ref().filter(|named| named.get_ref() != "auto");
    let file = named.map(|named| matrix.resolve_path(named, Access::Read)).transpose()?;
    Ok(Network {
        proxies: settings.proxies.clone(),
        certificates: file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
    })
}

fn certificates(path: &Path) -> Result<Vec<u8>, CertificatesError> {
    files::read(path, MAX_TEXT).map_err(CertificatesError)
}

/// Returns the sources of credentials.
fn sources(matrix: &Matrix, settings: &Settings) -> Result<CredentialSources, Report> {
    let methods = matrix.registries.iter();
    let methods = methods
        .filter_map(|(host, settings)| Some((host.clone(), settings.auth.clone()?.into_inner())));
    Ok(CredentialSources {
        variables: variables(matrix, &settings.variables),
        methods: methods.collect(),
        docker: DockerConfig {
            folder: settings.engine.docker_folder(),
            search_path: settings.variables.path("PATH").map(Into::into),
        },
        network: network(matrix, settings)?,
        plain_http: PlainHttp {
            hosts: matrix
                .registries
                .iter()
                .filter(|(_, settings)| settings.plain_http == Some(true))
                .map(|(host, _)| host.clone())
                .collect(),
            allowed: settings.plain_http_hosts.clone(),
        },
    })
}

/// Returns the variables that may contain credentials, and no others.
fn variables(matrix: &Matrix, set: &super::Variables) -> Variables {
    let usual = CREDENTIAL_VARIABLES.iter().flat_map(|prefix| set.names(prefix));
    let configured = matrix.registries.values().flat_map(|settings| &settings.variables);
    let configured = configured.flat_map(|(name, _)| [name.clone(), shell_safe(name)]);
    let names = usual.map(str::to_owned).chain(configured);
    names.filter_map(|name| set.secret(&name).map(|value| (name, value))).collect()
}
