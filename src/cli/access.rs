//! What we may do at registries, as people and programs read it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{ExitCode, Explain};
use crate::image::Repository;
use crate::matrix::looks_like_secret;
use crate::registry::{Credential, CredentialSource, CredentialsError, Found};

/// What was learnt of a registry.
pub(super) struct RegistryRow {
    pub(super) host: String,
    pub(super) found: Result<Option<Found>, Arc<CredentialsError>>,
    pub(super) rows: Vec<RepositoryRow>,
}

/// What was learnt of a repository.
pub(super) struct RepositoryRow {
    pub(super) repository: Repository,
    pub(super) pull: Option<bool>,
    pub(super) push: Option<bool>,
    /// Whether the matrix pushes there.
    pub(super) is_pushed: bool,
    pub(super) refusal: Option<Refusal>,
}

/// Why a repository cannot be used as the matrix needs it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) cause: Option<String>,
    pub(super) hint: Option<String>,
}

impl RegistryRow {
    pub(super) fn refusals(&self) -> impl Iterator<Item = Refusal> {
        self.rows.iter().filter_map(|row| row.refusal.clone())
    }
}

impl RepositoryRow {
    /// One that nothing is known of yet.
    pub(super) fn unknown(repository: &Repository, is_pushed: bool) -> Self {
        Self { repository: repository.clone(), pull: None, push: None, is_pushed, refusal: None }
    }
}

/// The user's name, unless it looks like a secret: some put a token in its place.
pub(super) fn user(credential: &Credential) -> String {
    match credential.username() {
        None => "<token>".to_owned(),
        Some(name) if looks_like_secret(name) => "(not shown)".to_owned(),
        Some(name) => name.escape_debug().to_string(),
    }
}

/// Not everything that the matrix needs is allowed.
#[derive(Debug)]
pub(super) struct AccessError {
    pub(super) refused: Vec<Refusal>,
    pub(super) of: usize,
}

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (refused, of) = (self.refused.len(), self.of);
        write!(
            formatter,
            "{refused} of {of} repositories cannot be used as the matrix needs them"
        )?;
        let mut last_hint = None;
        for Refusal { what, cause, hint } in &self.refused {
            write!(formatter, "\n\n  {what}")?;
            if let Some(cause) = cause {
                write!(formatter, ":\n    {cause}")?;
            }
            // Repositories of one registry mostly have one way out.
            if let Some(hint) = hint
                && last_hint.replace(hint) != Some(hint)
            {
                write!(formatter, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for AccessError {}

impl Explain for AccessError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Registry
    }
}

/// Describes the source of a credential, beside the registry's host.
fn source(source: &CredentialSource, home: Option<&Path>) -> String {
    match source {
        CredentialSource::Matrix { method, .. } => format!("[registries.\"…\"] {method}"),
        _ => source.describe(home),
    }
}

/// A line for each repository.
pub(super) fn table(registries: &[RegistryRow], home: Option<&Path>) -> String {
    let word = |allowed: Option<bool>, unknown: &str| match allowed {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => unknown.to_owned(),
    };
    let mut rows =
        vec![["REGISTRY", "CREDENTIAL", "USER", "REPOSITORY", "PULL", "PUSH"].map(str::to_owned)];
    for registry in registries {
        let (origin, user) = match &registry.found {
            Ok(Some(found)) => (source(&found.source, home), user(&found.credential)),
            Ok(None) => ("none".to_owned(), "anonymous".to_owned()),
            Err(_) => ("unusable".to_owned(), "?".to_owned()),
        };
        for row in &registry.rows {
            rows.push([
                registry.host.clone(),
                origin.clone(),
                user.clone(),
                row.repository.path().to_owned(),
                word(row.pull, "?"),
                word(row.push, if row.is_pushed { "?" } else { "-" }),
            ]);
        }
    }
    let width = |column: usize| {
        rows.iter().map(|row| console::measure_text_width(&row[column])).max().unwrap_or(0)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            console::pad_str(cell, width, console::Alignment::Left, None).into_owned()
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u8,
    registries: Vec<RegistryRecord<'a>>,
}

#[derive(Serialize)]
struct RegistryRecord<'a> {
    host: &'a str,
    credential: Option<CredentialRecord>,
    repositories: Vec<RepositoryRecord>,
}

#[derive(Serialize)]
struct CredentialRecord {
    source: String,
    user: String,
}

#[derive(Serialize)]
struct RepositoryRecord {
    repository: String,
    /// `null` is unknown.
    pull: Option<bool>,
    /// `null` is unknown, or of no use to the matrix.
    push: Option<bool>,
    allowed: bool,
    problem: Option<String>,
    hint: Option<String>,
}

/// Everything, for programs; `schema` counts up when a field's meaning changes.
pub(super) fn json(registries: &[RegistryRow]) -> String {
    let registries = registries.iter().map(|registry| RegistryRecord {
        host: &registry.host,
        credential: registry.found.as_ref().ok().and_then(Option::as_ref).map(|found| {
            CredentialRecord { source: found.source.to_string(), user: user(&found.credential) }
        }),
        repositories: registry.rows.iter().map(repository_record).collect(),
    });
    let document = Document { schema: 1, registries: registries.collect() };
    serde_json::to_string_pretty(&document).expect("a table is JSON")
}

fn repository_record(row: &RepositoryRow) -> RepositoryRecord {
    let refusal = row.refusal.as_ref();
    let problem = refusal.map(|refusal| match &refusal.cause {
        Some(cause) => format!("{}: {cause}", refusal.what),
        None => refusal.what.clone(),
    });
    RepositoryRecord {
        repository: row.repository.canonical(),
        pull: row.pull,
        push: row.push,
        allowed: refusal.is_none(),
        problem,
        hint: refusal.and_then(|refusal| refusal.hint.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_people_write_them() {
        let home = Some(Path::new("/home/me"));
        let docker = |path: &str, helper: Option<&str>| {
            let (config, helper) = (path.into(), helper.map(str::to_owned));
            source(&CredentialSource::Docker { config, helper }, home)
        };
        let own = "/home/me/.docker/config.json";
        assert_eq!(docker(own, None), "docker config ~/.docker/config.json");
        assert_eq!(
            docker("/etc/config.json", Some("ecr-login")),
            "docker config /etc/config.json, helper `ecr-login`"
        );
        let matrix = CredentialSource::Matrix { host: "gcr.io".to_owned(), method: "BASIC" };
        assert_eq!(source(&matrix, home), "[registries.\"…\"] BASIC");
        let variable = CredentialSource::Variable("DOCKER_REGISTRY_ghcr.io".to_owned());
        assert_eq!(source(&variable, home), "environment variable `DOCKER_REGISTRY_ghcr.io`");
    }

    #[test]
    fn a_user_s_name_neither_moves_the_cursor_nor_is_a_secret() {
        let user_of = |name: &str| {
            user(&Credential::Password { username: name.to_owned(), password: "x".into() })
        };
        assert_eq!(user_of("$oauthtoken"), "$oauthtoken");
        assert_eq!(user_of("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(user_of("ghp_canary"), "(not shown)");
        assert_eq!(user(&Credential::IdentityToken("x".into())), "<token>");
    }
}
