//! `basegen auth check`: the credential for each registry of the matrix, and the access that it gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{ArgumentError, Context, NameOptions, selection};
use crate::error::{ExitCode, Explain, Report, one_line};
use crate::image::{Digest, Reference, Repository, Tag};
use crate::matrix::{Selection, looks_like_secret, nearest};
use crate::plan::Target;
use crate::registry::{
    Authentication, Credential, Credentials, CredentialsError, Name, Registries, RegistryErrorKind,
    RegistryOptions, ResolvedCredential, RetryPolicy, VARIABLE_PREFIX, shell_safe,
};
use crate::render::{Renderer, Upstream};
use crate::version::Version;

#[derive(Debug, Clone, Default)]
pub struct AuthRequest {
    /// The hosts; empty for all registries of the matrix.
    pub hosts: Vec<String>,
    /// The registries of the images, if they are not the matrix' own.
    pub registries: Vec<String>,
    /// The repository of the images, if it is not the matrix' own.
    pub repository: Option<String>,
}

/// The access to a registry.
#[derive(Debug)]
pub struct RegistryAccess {
    pub host: String,
    /// The credential, or why it cannot be used.
    pub found: Result<Option<ResolvedCredential>, Arc<CredentialsError>>,
    /// The access to its repositories.
    pub repositories: Vec<RepositoryAccess>,
}

/// The access to a repository; `None` is unknown.
#[derive(Debug)]
pub struct RepositoryAccess {
    pub repository: Repository,
    /// Whether images can be pulled.
    pub pull: Option<bool>,
    /// Whether images can be pushed.
    pub push: Option<bool>,
    /// Whether the matrix pushes images there.
    pub is_pushed: bool,
    /// Why the access is not sufficient.
    pub refusal: Option<Refusal>,
}

impl RepositoryAccess {
    fn unknown(repository: &Repository, is_pushed: bool) -> Self {
        Self { repository: repository.clone(), pull: None, push: None, is_pushed, refusal: None }
    }
}

/// Why the access to a repository is not sufficient for the matrix.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub what: String,
    /// The answer of the registry.
    pub cause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Insufficient access to some repositories.
#[derive(Debug)]
pub struct AccessError {
    refusals: Vec<Refusal>,
    repositories: usize,
}

impl AccessError {
    /// Collects the refusals of `registries`, if there are any.
    #[must_use]
    pub fn new(registries: &[RegistryAccess]) -> Option<Self> {
        let repositories = registries.iter().flat_map(|registry| &registry.repositories);
        let count = repositories.clone().count();
        let refusals: Vec<Refusal> = repositories.filter_map(|row| row.refusal.clone()).collect();
        (!refusals.is_empty()).then_some(Self { refusals, repositories: count })
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (refused, all) = (self.refusals.len(), self.repositories);
        write!(formatter, "insufficient access to {refused} of {all} repositories")?;
        let mut last_hint = None;
        for Refusal { what, cause, hint } in &self.refusals {
            write!(formatter, "\n\n  {what}")?;
            if let Some(cause) = cause {
                write!(formatter, ":\n    {cause}")?;
            }
            // Repositories of one registry mostly have the same hint.
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

/// Returns the user's name, unless it looks like a secret: some users put a token in its place.
#[must_use]
pub fn user(credential: &Credential) -> String {
    match credential.username() {
        None => "<token>".to_owned(),
        Some(name) if looks_like_secret(name) => "(not shown)".to_owned(),
        Some(name) => name.escape_debug().to_string(),
    }
}

/// Tests the access to each registry. Pushes nothing: uploads are begun and cancelled.
pub async fn run(context: &Context, request: AuthRequest) -> Result<Vec<RegistryAccess>, Report> {
    let needs = choose(needs(context, &request)?, &request.hosts)?;
    // The user waits for the answer and can repeat the command.
    let retry =
        RetryPolicy { attempts: 2, longest_retry_after: Duration::ZERO, ..RetryPolicy::default() };
    // The engine pulls base images and asks its mirrors first.
    let mirrors = context.mirrors().await.unwrap_or_default();
    let options = RegistryOptions { mirrors, retry, ..context.registry_options()?.clone() };
    let client = Registries::new(&options)?;
    let checks = needs
        .iter()
        .map(|(host, needs)| check_registry(&client, &options.credentials, host, needs));
    Ok(join_all(checks).await)
}

/// How a run uses a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// Pushes images and pulls them.
    Push,
    Pull(BaseImage),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BaseImage {
    repository: Repository,
    name: TagOrDigest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}

impl BaseImage {
    /// Returns the image, unless only the engine can identify it.
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

impl fmt::Display for BaseImage {
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

/// Returns the repositories of the images and of their base images, by registry.
fn needs(context: &Context, request: &AuthRequest) -> Result<Needs, Report> {
    // Access does not depend on the version.
    let naming = NameOptions {
        version: Some(Version::any()),
        registries: request.registries.clone(),
        repository: request.repository.clone(),
        ..NameOptions::default()
    };
    let plan = selection::plan(context, &Selection::default(), &naming)?;
    let variants: Vec<_> = plan.targets.iter().map(|target| target.variant).collect();
    let contexts = Renderer::new(plan.matrix)?.render_all(&variants)?;
    let mut needs = Needs::new();
    for upstream in contexts.iter().flat_map(|context| &context.upstreams) {
        let Some(image) = BaseImage::of(upstream) else { continue };
        let registry = needs.entry(image.repository.registry().to_owned()).or_default();
        registry.entry(image.repository.clone()).or_insert(Need::Pull(image));
    }
    for repository in plan.targets.iter().flat_map(Target::repositories).cloned() {
        let registry = needs.entry(repository.registry().to_owned()).or_default();
        registry.insert(repository, Need::Push);
    }
    Ok(needs)
}

/// Limits `needs` to `hosts`, unless these are empty.
fn choose(mut needs: Needs, hosts: &[String]) -> Result<Needs, ArgumentError> {
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

/// Finds the credential for a registry and tests its access.
async fn check_registry(
    client: &Registries,
    credentials: &Credentials,
    host: &str,
    needs: &BTreeMap<Repository, Need>,
) -> RegistryAccess {
    let found = credentials.find(host).await;
    let repositories = match &found {
        Ok(found) => {
            let checks = needs
                .iter()
                .map(|(name, need)| check_repository(client, name, need, found.as_ref()));
            join_all(checks).await
        }
        // Credentials that cannot be read are of no use for any repository.
        Err(error) => needs.iter().map(|(name, need)| unusable(name, need, error)).collect(),
    };
    RegistryAccess { host: host.to_owned(), found, repositories }
}

async fn check_repository(
    client: &Registries,
    repository: &Repository,
    need: &Need,
    found: Option<&ResolvedCredential>,
) -> RepositoryAccess {
    let mut row = RepositoryAccess::unknown(repository, *need == Need::Push);
    let outcome = match need {
        Need::Push => client.check_access(repository).await.map(|access| {
            (row.pull, row.push) = (Some(access.pull.is_ok()), Some(access.push.is_ok()));
            let (what, cause) = match (access.pull, access.push) {
                (Ok(()), Ok(())) => return None,
                (Ok(()), Err(cause)) => ("allows pull, but not push", cause),
                (Err(cause), Ok(())) => ("allows push, but not pull", cause),
                (Err(_), Err(cause)) => ("allows neither pull nor push", cause),
            };
            Some((format!("`{repository}` {what}"), Some(cause)))
        }),
        Need::Pull(image) => client.head(repository, image.name()).await.map(|found| {
            row.pull = Some(found.is_some());
            found.is_none().then_some((
                format!("`{image}` does not exist, or the credentials do not allow to see it"),
                None,
            ))
        }),
    };
    row.refusal = match outcome {
        Ok(None) => None,
        Ok(Some((what, cause))) => Some(Refusal {
            what,
            cause: cause.as_ref().map(|cause| one_line(cause)),
            hint: remedy(repository, found, cause.as_ref()),
        }),
        Err(error) => {
            let what = need.unmet(repository);
            let kind = error.kind();
            row.pull = kind.is_denied().then_some(false);
            let hint = remedy(repository, found, Some(kind));
            Some(Refusal { what, cause: Some(one_line(kind)), hint })
        }
    };
    row
}

fn unusable(repository: &Repository, need: &Need, error: &CredentialsError) -> RepositoryAccess {
    let what = need.unmet(repository);
    let refusal = Refusal { what, cause: Some(one_line(error)), hint: error.hint() };
    let row = RepositoryAccess::unknown(repository, *need == Need::Push);
    RepositoryAccess { refusal: Some(refusal), ..row }
}

/// Returns what to do about a failure. If the credential lacks a permission, names the credential.
fn remedy(
    repository: &Repository,
    found: Option<&ResolvedCredential>,
    failure: Option<&RegistryErrorKind>,
) -> Option<String> {
    let status = match failure {
        Some(
            denied @ RegistryErrorKind::Denied {
                authentication: Authentication::UnusedToken, ..
            },
        ) => return denied.hint(),
        Some(RegistryErrorKind::Denied { status, .. }) => *status,
        Some(other @ RegistryErrorKind::Unreachable { .. }) => {
            let hint = "check for a proxy or a firewall; basegen uses HTTPS_PROXY, HTTP_PROXY and \
                        NO_PROXY";
            return other.hint().or_else(|| Some(hint.to_owned()));
        }
        Some(other) => return other.hint(),
        None => 404,
    };
    let host = repository.registry();
    let Some(ResolvedCredential { credential, source, .. }) = found else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_escaped_and_secrets_hidden() {
        let user_of = |name: &str| {
            user(&Credential::Password { username: name.to_owned(), password: "x".into() })
        };
        assert_eq!(user_of("$oauthtoken"), "$oauthtoken");
        assert_eq!(user_of("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(user_of("ghp_canary"), "(not shown)");
        assert_eq!(user(&Credential::IdentityToken("x".into())), "<token>");
    }
}
