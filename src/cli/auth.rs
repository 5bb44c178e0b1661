//! `basegen auth check`: who we are to each registry of the matrix, and what that allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::error::{ExitCode, Explain, Report, one_line};
use crate::image::{Digest, Reference, Repository, Tag};
use crate::matrix::{Selection, nearest};
use crate::registry::{
    Credentials, CredentialsError, Found, Name, Registries, RegistryErrorKind, RegistryOptions,
    RetryPolicy, VARIABLE_PREFIX, shell_safe,
};
use crate::render::{Renderer, Upstream};
use crate::report::escape_json;
use crate::version::Version;

use super::Session;
use super::access::{AccessError, Refusal, RegistryRow, RepositoryRow, json, table, user};
use super::args::{AuthCheckArgs, TextFormat};
use crate::ops::{self, ArgumentError, Context, Naming};

pub(super) fn check(args: &AuthCheckArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let needs = chosen(needs(context, args)?, &args.hosts)?;
    // Somebody waits for the answer, and can ask again.
    let retry =
        RetryPolicy { attempts: 2, longest_retry_after: Duration::ZERO, ..RetryPolicy::default() };
    let options = RegistryOptions { retry, ..context.registry_options()?.clone() };
    let credentials = Arc::clone(&options.credentials);
    // Bases are pulled by the engine, which asks its mirrors first.
    let rows = context.block_on(async {
        let mirrors = context.mirrors().await.unwrap_or_default();
        let client = Registries::new(&RegistryOptions { mirrors, ..options })?;
        let checks = needs.iter().map(|(host, needs)| registry(&client, &credentials, host, needs));
        Ok(join_all(checks).await)
    })?;
    let home = context.settings.variables.path("HOME");
    printer.result(&match args.format {
        TextFormat::Table => table(&rows, home.as_deref()),
        TextFormat::Json => escape_json(&json(&rows)),
    });
    let refused: Vec<Refusal> = rows.iter().flat_map(RegistryRow::refusals).collect();
    match refused.is_empty() {
        true => Ok(ExitCode::Success),
        false => {
            Err(AccessError { refused, of: rows.iter().map(|row| row.rows.len()).sum() }.into())
        }
    }
}

/// What a run does with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// It pushes there, and pulls what it pushed.
    Push,
    /// It pulls this image.
    Pull(Image),
}

/// An image that others made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    repository: Repository,
    name: TagOrDigest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}

impl Image {
    /// The image, unless only the engine can make out which one it is.
    fn of(upstream: &Upstream) -> Option<Self> {
        if let Some(Reference { repository, tag }) = upstream.reference.clone() {
            return Some(Self { repository, name: TagOrDigest::Tag(tag) });
        }
        let digest = upstream.digest.clone()?;
        let repository = upstream.name.split('@').next()?.parse().ok()?;
        Some(Self { repository, name: TagOrDigest::Digest(digest) })
    }

    fn name(&self) -> Name<'_> {
        match &self.name {
            TagOrDigest::Tag(tag) => tag.into(),
            TagOrDigest::Digest(digest) => digest.into(),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            TagOrDigest::Tag(tag) => write!(formatter, "{}:{tag}", self.repository),
            TagOrDigest::Digest(digest) => write!(formatter, "{}@{digest}", self.repository),
        }
    }
}

impl Need {
    fn unmet(&self, repository: &Repository) -> String {
        match self {
            Self::Push => format!("`{repository}` cannot be used"),
            Self::Pull(image) => format!("`{image}` cannot be pulled"),
        }
    }
}

type Needs = BTreeMap<String, BTreeMap<Repository, Need>>;

/// All that the matrix needs, by registry: what its images build on, and where they go.
fn needs(context: &Context, args: &AuthCheckArgs) -> Result<Needs, Report> {
    // Access is to repositories: which version the tags would have is of no concern.
    let naming = Naming {
        version: Version::custom("auth-check").ok(),
        registry: args.registry.clone(),
        repository: args.repository.clone(),
        ..Naming::default()
    };
    let plan = ops::selection::plan(context, &Selection::default(), &naming)?;
    let variants: Vec<_> = plan.targets.iter().map(|target| target.variant).collect();
    let contexts = Renderer::new(plan.matrix)?.render_all(&variants)?;
    let mut needs = Needs::new();
    for upstream in contexts.iter().flat_map(|context| &context.upstreams) {
        let Some(image) = Image::of(upstream) else { continue };
        let registry = needs.entry(image.repository.registry().to_owned()).or_default();
        registry.entry(image.repository.clone()).or_insert(Need::Pull(image));
    }
    for target in &plan.targets {
        let repository = target.reference.repository.clone();
        let registry = needs.entry(repository.registry().to_owned()).or_default();
        registry.insert(repository, Need::Push);
    }
    Ok(needs)
}

/// The part of `needs` that is about `hosts`; all of it where none is named.
fn chosen(mut needs: Needs, hosts: &[String]) -> Result<Needs, ArgumentError> {
    let known: Vec<&str> = needs.keys().map(String::as_str).collect();
    if let Some(unknown) = hosts.iter().find(|host| !known.contains(&host.as_str())) {
        let near =
            nearest(unknown, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
        let reason = format!(
            "the matrix does not use that registry; it uses {}{}",
            known.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(" and "),
            near.unwrap_or_default()
        );
        return Err(ArgumentError::new("auth check", unknown, &reason));
    }
    let hosts: BTreeSet<&str> = hosts.iter().map(String::as_str).collect();
    needs.retain(|host, _| hosts.is_empty() || hosts.contains(host.as_str()));
    Ok(needs)
}

/// Finds the credential for a registry, and tries what it allows.
async fn registry(
    client: &Registries,
    credentials: &Credentials,
    host: &str,
    needs: &BTreeMap<Repository, Need>,
) -> RegistryRow {
    let found = credentials.find(host).await;
    let rows = match &found {
        Ok(found) => {
            let checks =
                needs.iter().map(|(name, need)| repository(client, name, need, found.as_ref()));
            join_all(checks).await
        }
        // One that cannot be read is one cause, whatever the repository.
        Err(error) => needs.iter().map(|(name, need)| unusable(name, need, error)).collect(),
    };
    RegistryRow { host: host.to_owned(), found, rows }
}

async fn repository(
    client: &Registries,
    repository: &Repository,
    need: &Need,
    found: Option<&Found>,
) -> RepositoryRow {
    let mut row = RepositoryRow::unknown(repository, *need == Need::Push);
    let outcome = match need {
        Need::Push => client.check_access(repository).await.map(|access| {
            (row.pull, row.push) = (Some(access.pull), Some(access.push));
            let what = match (access.pull, access.push) {
                (true, true) => return None,
                (true, false) => "may be pulled from, but not pushed to",
                (false, true) => "may be pushed to, but not pulled from",
                (false, false) => "may neither be pulled from nor pushed to",
            };
            Some((format!("`{repository}` {what}"), access.push_refusal.or(access.pull_refusal)))
        }),
        Need::Pull(image) => client.head(repository, image.name()).await.map(|found| {
            row.pull = Some(found.is_some());
            found.is_none().then_some((format!("`{image}` is not there, or not shown to us"), None))
        }),
    };
    row.refusal = match outcome {
        Ok(None) => None,
        Ok(Some((what, cause))) => Some(Refusal {
            what,
            cause: cause.as_ref().map(|cause| one_line(cause)),
            hint: way_out(repository, found, cause.as_ref()),
        }),
        Err(error) => {
            let what = need.unmet(repository);
            let kind = error.kind();
            row.pull = kind.is_denied().then_some(false);
            let hint = way_out(repository, found, Some(kind));
            Some(Refusal { what, cause: Some(one_line(kind)), hint })
        }
    };
    row
}

fn unusable(repository: &Repository, need: &Need, error: &CredentialsError) -> RepositoryRow {
    let what = need.unmet(repository);
    let refusal = Refusal { what, cause: Some(one_line(error)), hint: error.hint() };
    let row = RepositoryRow::unknown(repository, *need == Need::Push);
    RepositoryRow { refusal: Some(refusal), ..row }
}

/// What to do about a failure: where it is about what a credential allows, by that credential.
fn way_out(
    repository: &Repository,
    found: Option<&Found>,
    failure: Option<&RegistryErrorKind>,
) -> Option<String> {
    let status = match failure {
        Some(RegistryErrorKind::Denied { clock: None, status, .. }) => *status,
        Some(other @ RegistryErrorKind::Unreachable { .. }) => {
            let hint = "is there a proxy or a firewall on the way? HTTPS_PROXY, HTTP_PROXY and \
                        NO_PROXY are heeded";
            return other.hint().or_else(|| Some(hint.to_owned()));
        }
        Some(other) => return other.hint(),
        None => 404,
    };
    let host = repository.registry();
    let Some(Found { credential, source }) = found else {
        let login = match host {
            "docker.io" => "docker login".to_owned(),
            _ => format!("docker login {host}"),
        };
        let variable = shell_safe(host);
        return Some(format!(
            "no credentials were found for `{host}`: `{login}`, or set \
             `{VARIABLE_PREFIX}{variable}`; docs/registries.md has the way of each registry"
        ));
    };
    Some(match status {
        401 => format!(
            "`{host}` does not know the credentials from {source}: the password is wrong, or \
             has ended"
        ),
        _ => format!(
            "the credentials from {source} are those of `{}`, who needs a right to `{}` there",
            user(credential),
            repository.path(),
        ),
    })
}
