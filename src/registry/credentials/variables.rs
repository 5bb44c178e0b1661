//! Environment variables that contain credentials, among them `DOCKER_REGISTRY_<host>`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::VariableProblem;
use super::keychain::{CredentialSource, Host, Keychain, Lifetime, ResolvedCredential, Resolving};
use super::keychain::{key_of, spellings};
use super::{Credential, CredentialsError, DOCKER_HUB_KEY, pair};

/// The prefix of variables that contain base64 of `user:password` for a registry.
pub const VARIABLE_PREFIX: &str = "DOCKER_REGISTRY_";

/// How every access token of Google's begins.
const TOKEN_PREFIX: &str = "ya29.";

/// The environment variables that credentials may come from.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, Option<SecretString>>);

/// The `DOCKER_REGISTRY_<host>` variables of one registry.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    /// The host as it is written.
    exact: Vec<&'a str>,
    /// The host in the characters that shells accept, which another registry may share.
    shell_safe: Vec<&'a str>,
}

/// `DOCKER_REGISTRY_<host>`, with base64 of `user:password`.
pub(super) struct VariableKeychain {
    pub(super) variables: Arc<Variables>,
    /// The registry that each variable was used for whose name another registry may share.
    pub(super) claims: Mutex<BTreeMap<String, String>>,
}

impl Keychain for VariableKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        async move { self.find(host) }.boxed()
    }
}

impl VariableKeychain {
    fn find(&self, host: Host<'_>) -> Result<Option<ResolvedCredential>, CredentialsError> {
        let named = self.variables.named_after(host.key);
        let names: Vec<&str> = named.exact.iter().chain(&named.shell_safe).copied().collect();
        let Some(first) = names.first().copied() else { return Ok(None) };
        let pair = |name: &str| {
            let pair = self.variables.text(name).and_then(|secret| read_pair(host, secret));
            pair.map_err(|problem| CredentialsError::variable(name.to_owned(), host.name, problem))
        };
        let credential = pair(first)?;
        for other in &names[1..] {
            if !pair(other)?.is(&credential) {
                let variables = names.iter().map(|name| (*name).to_owned()).collect();
                let host = host.name.to_owned();
                return Err(CredentialsError::Ambiguous { variables, host });
            }
        }
        if named.exact.is_empty() {
            self.claim(first, host.name)?;
        }
        let source = CredentialSource::Variable(first.to_owned());
        Ok(Some(ResolvedCredential { credential, source, lifetime: Lifetime::Run }))
    }

    /// Binds a variable to a registry: `DOCKER_REGISTRY_A_B_IO` is for `a.b.io` or for `a-b.io`, and
    /// no secret is sent to both.
    fn claim(&self, variable: &str, host: &str) -> Result<(), CredentialsError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let first = claims.entry(variable.to_owned()).or_insert_with(|| host.to_owned());
        if first == host {
            return Ok(());
        }
        let hosts = [first.clone(), host.to_owned()];
        Err(CredentialsError::Shared { variable: variable.to_owned(), hosts })
    }
}

/// Reads base64 of `user:password` or, for Google's registries, of an access token alone.
fn read_pair(host: Host<'_>, secret: &SecretString) -> Result<Credential, VariableProblem> {
    let text = pair::decode(secret).map_err(VariableProblem::Pair)?;
    let token = text.trim();
    if host.is_google() && token.starts_with(TOKEN_PREFIX) && !token.contains(':') {
        return Ok(Credential::access_token(&token.into()));
    }
    pair::split(&text).map_err(VariableProblem::Pair)
}

impl Variables {
    /// Returns the text of a variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.text(name).ok().map(SecretString::expose_secret)
    }

    /// Returns all variables that are set to something.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.keys().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    /// Returns the content of `name`.
    pub(super) fn text(&self, name: &str) -> Result<&SecretString, VariableProblem> {
        match self.0.get(name) {
            None => Err(VariableProblem::NotSet),
            Some(None) => Err(VariableProblem::NotText),
            Some(Some(text)) if text.expose_secret().trim().is_empty() => {
                Err(VariableProblem::Empty)
            }
            Some(Some(text)) => Ok(text),
        }
    }

    /// Returns the content of `name` or of its shell-safe spelling, and the name that is set.
    pub(super) fn either(&self, name: &str) -> Result<(String, &SecretString), VariableProblem> {
        let problem = match self.text(name) {
            Ok(text) => return Ok((name.to_owned(), text)),
            Err(problem) => problem,
        };
        let safe = shell_safe(name);
        match self.text(&safe) {
            Ok(text) => Ok((safe, text)),
            // A problem with the given name counts more.
            Err(other) => Err(if problem == VariableProblem::NotSet { other } else { problem }),
        }
    }

    /// Returns the variables that are named after the registry with `key` and set to something.
    fn named_after(&self, key: &str) -> Named<'_> {
        let safe: Vec<String> = spellings(key).map(shell_safe).collect();
        let mut named = Named { exact: Vec::new(), shell_safe: Vec::new() };
        for name in self.0.keys() {
            let Some(host) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            // A CI without such a secret sets the variable to nothing.
            if matches!(self.text(name), Err(VariableProblem::Empty)) {
                continue;
            }
            if registry_of(host) == key {
                named.exact.push(name);
            } else if safe.iter().any(|safe| safe == host) {
                named.shell_safe.push(name);
            }
        }
        named
    }
}

impl FromIterator<(String, Option<SecretString>)> for Variables {
    /// Takes names and values; a value that is not UTF-8 is `None`.
    fn from_iter<I: IntoIterator<Item = (String, Option<SecretString>)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Variables")
    }
}

/// Returns the spelling of a name that every shell accepts: `DOCKER_REGISTRY_GHCR_IO`.
#[must_use]
pub fn shell_safe(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(safe).collect()
}

/// Returns true if `variable`, a `DOCKER_REGISTRY_<host>`, names the registry at `host`.
pub(super) fn names_registry(variable: &str, host: &str) -> bool {
    let key = key_of(host);
    variable.strip_prefix(VARIABLE_PREFIX).is_some_and(|name| {
        registry_of(name) == key || spellings(key).any(|spelling| shell_safe(spelling) == name)
    })
}

/// Returns the key of the registry that a variable names by its host or URL.
fn registry_of(name: &str) -> &str {
    if name == DOCKER_HUB_KEY {
        return name;
    }
    key_of(super::docker::host_of(name))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn variables(names: &[&str]) -> Variables {
        names.iter().map(|name| ((*name).to_owned(), Some("x".into()))).collect()
    }

    #[test]
    fn variables_name_a_registry_exactly_as_a_url_or_in_shell_spelling() {
        for (name, host) in [
            ("DOCKER_REGISTRY_ghcr.io", "ghcr.io"),
            ("DOCKER_REGISTRY_https://ghcr.io", "ghcr.io"),
            ("DOCKER_REGISTRY_https://quay.io/v2/", "quay.io"),
            ("DOCKER_REGISTRY_https://index.docker.io/v1/", "docker.io"),
            ("DOCKER_REGISTRY_docker.io", "registry-1.docker.io"),
            ("DOCKER_REGISTRY_127.0.0.1:5000", "127.0.0.1:5000"),
            ("DOCKER_REGISTRY_europe-docker.pkg.dev", "europe-docker.pkg.dev"),
        ] {
            let variables = variables(&[name, "DOCKER_REGISTRY_other.io"]);
            let named = variables.named_after(key_of(host));
            assert_eq!(named, Named { exact: vec![name], shell_safe: vec![] }, "{name}");
        }
        for (name, host) in [
            ("DOCKER_REGISTRY_GHCR_IO", "ghcr.io"),
            ("DOCKER_REGISTRY_HTTPS___INDEX_DOCKER_IO_V1_", "docker.io"),
            ("DOCKER_REGISTRY_DOCKER_IO", "docker.io"),
            ("DOCKER_REGISTRY_127_0_0_1_5000", "127.0.0.1:5000"),
            ("DOCKER_REGISTRY_EUROPE_DOCKER_PKG_DEV", "europe-docker.pkg.dev"),
        ] {
            let variables = variables(&[name, "DOCKER_REGISTRY_USER", "DOCKER_REGISTRY_GCR_IO"]);
            let named = variables.named_after(key_of(host));
            assert_eq!(named, Named { exact: vec![], shell_safe: vec![name] }, "{name}");
        }
    }

    #[test]
    fn an_empty_variable_names_no_registry() {
        let empty = [("DOCKER_REGISTRY_ghcr.io".to_owned(), Some(" \n".into()))];
        let variables = Variables::from_iter(empty);
        assert!(variables.named_after("ghcr.io").exact.is_empty());
        let problem = variables.text("DOCKER_REGISTRY_ghcr.io").expect_err("no value");
        assert_eq!(problem, VariableProblem::Empty);
    }

    #[test]
    fn a_variable_can_be_set_in_its_shell_spelling() {
        let variables = variables(&["AWS_ACCESS_KEY_ID", "GCP_SERVICE_ACCOUNT"]);
        for (name, expected) in [
            ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
            ("gcp-service-account", "GCP_SERVICE_ACCOUNT"),
        ] {
            assert_eq!(variables.either(name).expect(name).0, expected);
        }
        assert_eq!(variables.either("other").expect_err("no value"), VariableProblem::NotSet);
    }

    #[test]
    fn a_token_without_a_username_is_only_valid_for_google() {
        let read = |name: &str, text: &str| {
            let secret = base64::engine::general_purpose::STANDARD.encode(text).into();
            read_pair(Host { key: name, name, is_plain: false }, &secret)
        };
        assert!(read("us-docker.pkg.dev", "ya29.token\n").is_ok());
        assert!(read("eu.gcr.io", "ya29.token").is_ok());
        assert!(read("ghcr.io", "ya29.token").is_err());
        assert!(read("notgcr.io", "ya29.token").is_err());
        assert!(read("gcr.io", "other").is_err());
    }

    #[test]
    fn debug_output_hides_values() {
        let variables = Variables::from_iter([("a".to_owned(), Some("canary-1d".into()))]);
        assert_eq!(format!("{variables:?}"), "Variables");
    }
}
