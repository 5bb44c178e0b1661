//! Reads docker contexts: named engines in Docker's configuration.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::address::{EngineAddress, TlsFiles};
use super::{EngineError, error::Cause};
use crate::error::JsonError;

/// The name that selects no context.
const DEFAULT: &str = "default";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: DockerEndpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEndpoint {
    host: String,
}

/// Returns the engine of the context `selected` (`DOCKER_CONTEXT`) or of the current context in the
/// configuration `folder`, or `None` if there is no context or it is the default one.
pub(super) fn current(
    folder: &Path,
    selected: Option<&str>,
) -> Result<Option<EngineAddress>, EngineError> {
    let name = match selected {
        Some(name) => Some(name.to_owned()),
        None => configured(&folder.join("config.json"))?,
    };
    match name {
        Some(name) if !name.is_empty() && name != DEFAULT => read(folder, &name).map(Some),
        _ => Ok(None),
    }
}

fn configured(path: &Path) -> Result<Option<String>, EngineError> {
    let refuse = |source: Cause| EngineError::Config { path: path.to_owned(), source };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error.into())),
    };
    let config: Config = parse(&text).map_err(refuse)?;
    Ok(config.current_context)
}

fn read(folder: &Path, name: &str) -> Result<EngineAddress, EngineError> {
    let refuse = |source: Cause| EngineError::Context { name: name.to_owned(), source };
    // The folder of a context is named by the digest of the context's name.
    let id = hex::encode(Sha256::digest(name.as_bytes()));
    let contexts = folder.join("contexts");
    let meta = contexts.join("meta").join(&id).join("meta.json");
    let text = fs_err::read(&meta).map_err(|error| refuse(error.into()))?;
    let meta: Meta = parse(&text).map_err(refuse)?;
    EngineAddress::docker(
        &meta.endpoints.docker.host,
        tls_files(&contexts.join("tls").join(&id).join("docker")),
    )
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Cause> {
    Ok(serde_json::from_slice(text).map_err(JsonError::from)?)
}

fn tls_files(folder: &Path) -> Option<TlsFiles> {
    let files = TlsFiles::in_folder(folder);
    files.ca.exists().then_some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    fn configuration(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("config.json"), config).expect("a file");
        let id = hex::encode(Sha256::digest(b"colima"));
        let meta = folder.path().join("contexts/meta").join(id);
        fs_err::create_dir_all(&meta).expect("a folder");
        let text = r#"{"Name":"colima","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///colima.sock","SkipTLSVerify":false}}}"#;
        fs_err::write(meta.join("meta.json"), text).expect("a file");
        folder
    }

    #[test]
    fn the_current_context_of_the_configuration_is_used() {
        let folder = configuration(r#"{"currentContext":"colima"}"#);
        let address = current(folder.path(), None).expect("a context").expect("an engine");
        assert_eq!(address.to_string(), "unix:///colima.sock");
    }

    #[test]
    fn the_variable_overrides_the_configuration() {
        let folder = configuration(r#"{"currentContext":"colima"}"#);
        assert_eq!(current(folder.path(), Some(DEFAULT)).expect("no context"), None);
    }

    #[test]
    fn a_missing_context_is_an_error() {
        let folder = configuration("{}");
        let error = current(folder.path(), Some("gone")).expect_err("no such context");
        assert_eq!(error.to_string(), "failed to read the docker context `gone`");
    }

    #[test]
    fn errors_in_the_configuration_show_no_values() {
        let all = ["{", "[]", r#"{"currentContext": 3}"#, r#"{"currentContext": ["secret"]}"#];
        let messages = all.map(|config| {
            let folder = configuration(config);
            let error = current(folder.path(), None).expect_err("an invalid file");
            let folder = folder.path().display().to_string();
            Report::from(error).to_string().replace(&folder, "FOLDER")
        });
        insta::assert_snapshot!(messages.join("\n\n"));
    }
}
