//! Variables of the environment that hold credentials.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::{DOCKER_HUB_KEY, key_of, spellings};

/// What the names of variables begin with that hold base64 of `user:password` for a registry.
pub const VARIABLE_PREFIX: &str = "DOCKER_REGISTRY_";

/// The variables that credentials may come from; `cli` reads them.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, Option<SecretString>>);

/// Why a variable gives no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableProblem {
    /// There is no such variable.
    NotSet,
    /// It holds nothing.
    Empty,
    /// It is not UTF-8.
    NotText,
}

impl fmt::Display for VariableProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotSet => "is not set",
            Self::Empty => "is empty",
            Self::NotText => "is not a text",
        })
    }
}

/// The variables of one registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// Those that name the registry as it is written.
    pub(super) exact: Vec<&'a str>,
    /// Those that name it in letters that a shell takes, which could name another one too.
    pub(super) shell_safe: Vec<&'a str>,
}

impl Variables {
    /// What `name` holds.
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

    /// What `name` holds, or where it is not set what its shell-safe spelling holds; and which
    /// of the two it was.
    pub(super) fn either(&self, name: &str) -> Result<(String, &SecretString), VariableProblem> {
        let problem = match self.text(name) {
            Ok(text) => return Ok((name.to_owned(), text)),
            Err(problem) => problem,
        };
        let safe = shell_safe(name);
        match self.text(&safe) {
            Ok(text) => Ok((safe, text)),
            // What is said is about the name that was asked for, if that is there.
            Err(other) => Err(if problem == VariableProblem::NotSet { other } else { problem }),
        }
    }

    /// The variables, set to something, that are named after the registry with `key`.
    pub(super) fn of_registry(&self, key: &str) -> Named<'_> {
        let safe: Vec<String> = spellings(key).map(shell_safe).collect();
        let mut named = Named { exact: Vec::new(), shell_safe: Vec::new() };
        for name in self.0.keys() {
            let Some(host) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            // An empty one is how a CI says that it has no such secret.
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

/// The spelling of a name that every shell takes: `DOCKER_REGISTRY_GHCR_IO`.
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

/// The key of the registry that a variable names, be it as a host or as a URL.
fn registry_of(name: &str) -> &str {
    if name == DOCKER_HUB_KEY {
        return name;
    }
    key_of(super::config::host_of(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(names: &[&str]) -> Variables {
        names.iter().map(|name| ((*name).to_owned(), Some("x".into()))).collect()
    }

    #[test]
    fn a_registry_is_named_exactly_as_a_url_or_in_letters_for_shells() {
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
            let named = variables.of_registry(key_of(host));
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
            let named = variables.of_registry(key_of(host));
            assert_eq!(named, Named { exact: vec![], shell_safe: vec![name] }, "{name}");
        }
    }

    #[test]
    fn an_empty_variable_names_nothing() {
        let empty = [("DOCKER_REGISTRY_ghcr.io".to_owned(), Some(" \n".into()))];
        let variables = Variables::from_iter(empty);
        assert!(variables.of_registry("ghcr.io").exact.is_empty());
        let problem = variables.text("DOCKER_REGISTRY_ghcr.io").expect_err("nothing");
        assert_eq!(problem, VariableProblem::Empty);
    }

    #[test]
    fn a_named_variable_may_be_spelled_for_shells() {
        let variables = variables(&["AWS_ACCESS_KEY_ID", "GCP_SERVICE_ACCOUNT"]);
        for (name, found) in [
            ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
            ("gcp-service-account", "GCP_SERVICE_ACCOUNT"),
        ] {
            assert_eq!(variables.either(name).expect(name).0, found);
        }
        assert_eq!(variables.either("other").expect_err("nothing"), VariableProblem::NotSet);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let variables = Variables::from_iter([("a".to_owned(), Some("canary-1d".into()))]);
        assert_eq!(format!("{variables:?}"), "Variables");
    }
}
