//! Inputs of build steps from outside the repository: secrets, certificates, proxies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::engine::Secret;
use crate::error::{ExitCode, Explain};
use crate::files::{self, Access, ReadError};
use crate::matrix::{Matrix, SecretTable, SourceError, Spanned};
use crate::registry::{Concealer, Credentials};
use crate::report::Mask;

use super::{Settings, owners};

/// The id under which build steps mount the certificates.
pub(crate) const CA_CERTIFICATES: &str = "ca_certificates";

/// The largest secret that the engine accepts, in bytes.
const MAX_SECRET: u64 = 500 * 1024;

/// Reads a file of at most so many bytes.
type Reader = fn(&Path, u64) -> Result<Vec<u8>, ReadError>;

/// A missing or invalid secret or certificate. Never contains the value of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("a `--secret` cannot be read: {0}")]
    Argument(&'static str),
    #[error("the secret `{id}` is to come from the variable `{variable}`, which is {state}")]
    Variable { id: String, variable: String, state: &'static str },
    /// The file cannot be read, or is larger than engines accept.
    #[error("failed to read the secret `{id}`")]
    File {
        id: String,
        #[source]
        source: ReadError,
    },
    /// The matrix names a file outside of the repository, or asks for a well-known token.
    #[error(transparent)]
    Refused(#[from] SourceError),
    #[error("`{}` holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
}

impl Explain for InputError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Argument(_) | Self::Variable { .. } => ExitCode::Usage,
            Self::File { .. } | Self::NoCertificate(_) => ExitCode::Failure,
            Self::Refused(error) => error.exit_code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Argument(_) => {
                Some("for example `--secret id=pip_token,env=PIP_TOKEN`".to_owned())
            }
            Self::Variable { .. } => {
                Some("set it, or say `optional = true` in `[build.secrets]`".to_owned())
            }
            _ => None,
        }
    }
}

/// Secrets and certificates of build steps that the command line gives.
#[derive(Debug, Clone, Default)]
pub struct StepInputs {
    /// Secrets as Docker writes them: `id=NAME,env=VARIABLE` or `id=NAME,src=FILE`.
    pub secrets: Vec<String>,
    /// A PEM file of certificates.
    pub ca_certificates: Option<PathBuf>,
}

/// Returns all secrets of a run: those of the matrix and of `--secret`, and the certificates.
pub(crate) fn secrets(
    matrix: &Matrix,
    inputs: &StepInputs,
    settings: &Settings,
) -> Result<Vec<Secret>, InputError> {
    let mut given = BTreeMap::new();
    for text in &inputs.secrets {
        let (id, table) = secret_argument(text)?;
        given.insert(id, table);
    }
    owners::check_build_secrets(matrix, |id| given.contains_key(id), &settings.variables)?;
    let mut secrets = Vec::new();
    for (id, table) in &matrix.build.secrets {
        if !given.contains_key(id) {
            let path = table.file.as_ref().map(|file| matrix.resolve_path(file, Access::Read));
            let file = path.transpose()?.map(|path| (path, files::read as Reader));
            secrets.extend(secret(id, table, file, settings)?);
        }
    }
    for (id, table) in &given {
        let path = table.file.as_ref().map(|file| PathBuf::from(file.get_ref()));
        let file = path.map(|path| (path, files::read_stream as Reader));
        secrets.extend(secret(id, table, file, settings)?);
    }
    secrets.sort_by(|one, other| one.id.cmp(&other.id));
    if let Some(path) = ca_certificates(matrix, inputs.ca_certificates.as_deref(), settings)? {
        secrets.push(certificates(&path)?);
    }
    Ok(secrets)
}

/// Parses `id=NAME,env=VARIABLE` or `id=NAME,src=FILE`, Docker's format. `id=NAME` alone means the variable `NAME`.
fn secret_argument(text: &str) -> Result<(String, SecretTable), InputError> {
    let mut id = None;
    let mut table = SecretTable { env: None, file: None, optional: false };
    for part in text.split(',') {
        let (key, value) =
            part.split_once('=').ok_or(InputError::Argument("its parts are `key=value`"))?;
        match key {
            "id" => id = Some(value.to_owned()),
            "env" => table.env = Some(unplaced(value)),
            "src" | "source" => table.file = Some(unplaced(value)),
            "type" => {}
            _ => return Err(InputError::Argument("its keys are `id`, `env` and `src`")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or(InputError::Argument("it has no `id`"))?;
    if id == CA_CERTIFICATES {
        return Err(InputError::Argument("`ca_certificates` is given with `--ca-certificates`"));
    }
    if table.env.is_some() && table.file.is_some() {
        return Err(InputError::Argument("it has both `env` and `src`"));
    }
    if table.env.is_none() && table.file.is_none() {
        table.env = Some(unplaced(&id));
    }
    Ok((id, table))
}

/// Converts a name from the command line, which has no position in a file.
fn unplaced(name: &str) -> Spanned<String> {
    Spanned::new(0..0, name.to_owned())
}

fn secret(
    id: &str,
    table: &SecretTable,
    file: Option<(PathBuf, Reader)>,
    settings: &Settings,
) -> Result<Option<Secret>, InputError> {
    if let Some(variable) = &table.env {
        let variable = variable.get_ref().as_str();
        let state = match settings.variables.bytes(variable) {
            Some(value) if !value.is_empty() => return Ok(Some(named(id, value.to_vec()))),
            _ if table.optional => return Ok(None),
            Some(_) => "empty",
            None => "not set",
        };
        let (id, variable) = (id.to_owned(), variable.to_owned());
        return Err(InputError::Variable { id, variable, state });
    }
    let Some((path, reader)) = file else { return Ok(None) };
    if table.optional && !path.exists() {
        return Ok(None);
    }
    read(id, &path, reader).map(|value| Some(named(id, value)))
}

/// Returns the mask of a run. It hides the secrets of build steps, the credentials that the run
/// hands out, and the passwords of proxies.
pub(crate) fn mask(
    secrets: &[Secret],
    credentials: &Arc<Credentials>,
    settings: &Settings,
) -> Mask {
    // Certificates are not secret, and their lines occur in many outputs.
    let secrets = secrets.iter().filter(|secret| secret.id != CA_CERTIFICATES);
    // Of a secret that is not UTF-8, masks the parts that are.
    let texts = secrets.flat_map(|secret| {
        let text = String::from_utf8_lossy(secret.value.expose_secret());
        let parts = text.split('\u{fffd}').map(SecretString::from);
        parts.collect::<Vec<_>>()
    });
    let mut concealer = Concealer::default();
    concealer.add(texts);
    concealer.add(proxy_secrets(&settings.build_proxies));
    let credentials = Arc::clone(credentials);
    Mask::new(move |text| {
        let masked = concealer.conceal(text);
        let shown = masked.as_deref().unwrap_or(text);
        credentials.conceal(shown).or(masked)
    })
}

/// Returns the mask of any command, which hides the passwords of proxies.
pub(crate) fn proxy_mask(proxies: &BTreeMap<String, String>) -> Mask {
    let mut concealer = Concealer::default();
    concealer.add(proxy_secrets(proxies));
    Mask::new(move |text| concealer.conceal(text))
}

/// Returns the passwords in the URLs of proxies: as written, decoded, and as in a `Proxy-Authorization` header.
fn proxy_secrets(proxies: &BTreeMap<String, String>) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    for url in proxies.values() {
        let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
        let Some((userinfo, _)) = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
        else {
            continue;
        };
        let (user, password) = userinfo.split_once(':').unwrap_or(("", userinfo));
        let [user, plain] = [user, password].map(percent_decode);
        let pair = STANDARD.encode(format!("{user}:{plain}"));
        secrets.extend([password.to_owned(), plain, pair].map(SecretString::from));
    }
    secrets
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn named(id: &str, value: Vec<u8>) -> Secret {
    Secret { id: id.to_owned(), value: value.into() }
}

fn read(id: &str, path: &Path, reader: Reader) -> Result<Vec<u8>, InputError> {
    let value = reader(path, MAX_SECRET);
    value.map_err(|source| InputError::File { id: id.to_owned(), source })
}

/// Returns the file of the certificates: the `given` one, or that of the matrix, where `auto` is the file that
/// `SSL_CERT_FILE` names.
pub(crate) fn ca_certificates(
    matrix: &Matrix,
    given: Option<&Path>,
    settings: &Settings,
) -> Result<Option<PathBuf>, SourceError> {
    if let Some(path) = given {
        return Ok(Some(path.to_owned()));
    }
    let Some(named) = &matrix.build.ca_certificates else { return Ok(None) };
    match named.get_ref().as_str() {
        "auto" => Ok(settings.variables.path("SSL_CERT_FILE")),
        _ => matrix.resolve_path(named, Access::Read).map(Some),
    }
}

fn certificates(path: &Path) -> Result<Secret, InputError> {
    let value = read(CA_CERTIFICATES, path, files::read)?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if !value.windows(begin.len()).any(|window| window == begin) {
        return Err(InputError::NoCertificate(path.to_owned()));
    }
    Ok(named(CA_CERTIFICATES, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn proxies(name: &str, url: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), url.to_owned())])
    }

    #[test]
    fn passwords_of_proxies_are_masked() {
        for url in ["http://me:p%40ss-word@proxy.example:3128", "me:p%40ss-word@proxy.example"] {
            let secrets = proxy_secrets(&proxies("https_proxy", url));
            let secrets: Vec<&str> =
                secrets.iter().map(secrecy::ExposeSecret::expose_secret).collect();
            assert_eq!(secrets, ["p%40ss-word", "p@ss-word", "bWU6cEBzcy13b3Jk"]);
        }
        let none = proxies("HTTP_PROXY", "http://proxy.example:3128");
        assert!(proxy_secrets(&none).is_empty());
    }

    fn argument(text: &str) -> String {
        match secret_argument(text) {
            Ok((id, table)) => {
                let [env, file] = [table.env, table.file].map(|name| name.map(Spanned::into_inner));
                format!("{id} env {env:?} file {file:?}")
            }
            Err(error) => Report::from(error).to_string(),
        }
    }

    #[test]
    fn secret_arguments_have_the_format_of_docker() {
        assert_eq!(argument("id=a,env=B"), "a env Some(\"B\") file None");
        assert_eq!(argument("type=file,id=a,src=/b"), "a env None file Some(\"/b\")");
        assert_eq!(argument("id=A"), "A env Some(\"A\") file None");
    }

    #[test]
    fn a_secret_given_as_a_value_is_refused_without_repeating_it() {
        for text in
            ["id=a,value=hunter2", "hunter2", "hunter2=x", "env=hunter2", "id=a,env=hunter2,src=x"]
        {
            let error = argument(text);
            assert!(error.starts_with("error: a `--secret` cannot be read"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
