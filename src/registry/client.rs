use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::host::{Host, Shared};
use super::scopes::Scopes;
use super::{
    Access, Blob, BlobPush, Manifest, Name, RegistryError, RegistryErrorKind, RegistryOptions,
};
use crate::image::{Descriptor, Digest, Repository};

/// The registry that mirrors stand before.
const MIRRORED: &str = "docker.io";

/// Speaks to any number of registries; cheap to clone.
///
/// Requests to one registry share its tokens, its connections and its limits. Each request is
/// repeated as the [policy](super::RetryPolicy) says, and only where repeating can help.
#[derive(Clone)]
pub struct Registries(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    mirrors: Vec<Mirror>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    /// Manifests that were fetched.
    manifests: Mutex<KnownManifests>,
    /// Repositories that are pushed to, each with whether that was seen to be allowed.
    destinations: Mutex<HashMap<Repository, Arc<OnceCell<()>>>>,
}

/// How many bytes of manifests are kept; each has a few KB.
const MAX_KNOWN: usize = 64 << 20;

#[derive(Default)]
struct KnownManifests {
    by_name: HashMap<(Repository, Digest), Manifest>,
    bytes: usize,
}

struct Mirror {
    host: Host,
    is_down: AtomicBool,
}

impl Registries {
    /// A client that knows nothing of any registry yet.
    pub fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        let failed = |kind| RegistryError::new("set up", "registry client".to_owned(), kind);
        let shared = Arc::new(Shared::new(options).map_err(failed)?);
        let mirrors = options.mirrors.iter();
        let mirrors = mirrors.map(|url| {
            let host = Host::mirror(url, Arc::clone(&shared)).map_err(failed)?;
            Ok(Mirror { host, is_down: AtomicBool::new(false) })
        });
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner {
            shared,
            mirrors,
            hosts: Mutex::default(),
            manifests: Mutex::default(),
            destinations: Mutex::default(),
        })))
    }

    /// What `name` is in the repository, without its bytes; `None` where it is not there.
    pub async fn head(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let name = name.into();
        let failed = failure("look up", format!("{repository}{}", name.suffix()));
        let path = Host::path(repository);
        for mirror in self.mirrors(repository) {
            if let Some(found) = mirror.answer(mirror.host.head(&path, name).await) {
                return Ok(Some(found));
            }
        }
        let host = self.host(repository).map_err(&failed)?;
        match host.head(&path, name).await {
            Err(refusal) if self.hides_new(repository, &refusal) => {
                let again = host.head_as(&path, name, Scopes::push(&path)).await;
                self.unless_new(repository, refusal, again).await.map_err(failed)
            }
            found => found.map_err(failed),
        }
    }

    /// The manifest `name` of the repository; its bytes have the digest that was asked for and
    /// that the registry names. `None` where it is not there. What was fetched by its digest once
    /// is not fetched again: some registries count how often.
    pub async fn manifest(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
    ) -> Result<Option<Manifest>, RegistryError> {
        let name = name.into();
        if let Name::Digest(digest) = name
            && let Some(known) = self.known(repository, digest)
        {
            return Ok(Some(known));
        }
        let found = self.fetch_manifest(repository, name).await?;
        if let Some(manifest) = &found {
            self.remember(repository, manifest);
        }
        Ok(found)
    }

    /// Keeps a manifest that the repository has, so that it is not fetched by its digest.
    pub fn remember(&self, repository: &Repository, manifest: &Manifest) {
        let mut known = self.0.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let size = manifest.bytes.len();
        if known.bytes + size <= MAX_KNOWN {
            let name = (repository.clone(), manifest.digest());
            if known.by_name.insert(name, manifest.clone()).is_none() {
                known.bytes += size;
            }
        }
    }

    async fn fetch_manifest(
        &self,
        repository: &Repository,
        name: Name<'_>,
    ) -> Result<Option<Manifest>, RegistryError> {
        let failed = failure("fetch the manifest of", format!("{repository}{}", name.suffix()));
        let path = Host::path(repository);
        for mirror in self.mirrors(repository) {
            if let Some(found) = mirror.answer(mirror.host.manifest(&path, name).await) {
                return Ok(Some(found));
            }
        }
        let host = self.host(repository).map_err(&failed)?;
        match host.manifest(&path, name).await {
            Err(refusal) if self.hides_new(repository, &refusal) => {
                let again = host.manifest_as(&path, name, Scopes::push(&path)).await;
                self.unless_new(repository, refusal, again).await.map_err(failed)
            }
            found => found.map_err(failed),
        }
    }

    /// Sends a manifest, whose blobs must be there already. It is done when the registry has
    /// these bytes under this name, even if its answer is lost.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let name = name.into();
        let failed = failure("push the manifest of", format!("{repository}{}", name.suffix()));
        let host = self.host(repository).map_err(&failed)?;
        host.put_manifest(&Host::path(repository), name, manifest).await.map_err(failed)
    }

    /// The bytes of a blob of at most `limit` bytes; `None` where it is not there.
    pub async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let failed = failure("fetch the blob", format!("{repository}@{digest}"));
        let host = self.host(repository).map_err(&failed)?;
        host.blob(&Host::path(repository), digest, limit).await.map_err(failed)
    }

    /// Whether the repository has a blob.
    pub async fn has_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let failed = failure("look up the blob", format!("{repository}@{digest}"));
        let host = self.host(repository).map_err(&failed)?;
        host.has_blob(&Host::path(repository), digest).await.map_err(failed)
    }

    /// Brings a blob into the repository. It is mounted from one of `from` where that is in the
    /// same registry and has it, and sent otherwise.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: &[Repository],
    ) -> Result<BlobPush, RegistryError> {
        let failed = failure("push a blob to", repository.to_string());
        let others = from.iter().filter(|other| other.registry() == repository.registry());
        let others: Vec<_> = others.map(Host::path).collect();
        let host = self.host(repository).map_err(&failed)?;
        host.push_blob(&Host::path(repository), blob, &others).await.map_err(failed)
    }

    /// Takes a blob of another repository of the same registry into this one; `false` where the
    /// registry does not do that, or does not have it. No byte of it is sent.
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<bool, RegistryError> {
        if from.registry() != repository.registry() {
            return Ok(false);
        }
        let failed = failure("mount a blob into", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.mount_only(&Host::path(repository), digest, &Host::path(from)).await.map_err(failed)
    }

    /// Every tag of the repository, in the registry's order; `None` where it does not exist.
    pub async fn tags(
        &self,
        repository: &Repository,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let failed = failure("list the tags of", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.tags(&Host::path(repository)).await.map_err(failed)
    }

    /// Deletes a tag or, by its digest, a manifest with all of its tags; `false` where it was
    /// not there. Many registries delete by digest alone.
    pub async fn delete(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
    ) -> Result<bool, RegistryError> {
        let name = name.into();
        let failed = failure("delete", format!("{repository}{}", name.suffix()));
        let host = self.host(repository).map_err(&failed)?;
        host.delete(&Host::path(repository), name).await.map_err(failed)
    }

    /// What may be done in the repository. To learn about pushing, an upload is begun and
    /// cancelled; nothing is changed.
    pub async fn check_access(&self, repository: &Repository) -> Result<Access, RegistryError> {
        let failed = failure("check the access to", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.check_access(&Host::path(repository)).await.map_err(failed)
    }

    /// Declares that images are pushed to `repositories`.
    ///
    /// Some registries refuse to look anything up in a repository that does not exist yet. In a
    /// declared one such a refusal counts as absence where an upload may begin.
    pub fn declare_destinations<'a>(&self, repositories: impl IntoIterator<Item = &'a Repository>) {
        let mut destinations = self.destinations();
        for repository in repositories {
            destinations.entry(repository.clone()).or_default();
        }
    }

    /// Makes sure that images can be pushed to the repository: begins an upload and cancels it. A
    /// success is remembered.
    pub async fn check_push(&self, repository: &Repository) -> Result<(), RegistryError> {
        let failed = failure("push to", repository.to_string());
        self.may_push(repository).await.map_err(failed)
    }

    async fn may_push(&self, repository: &Repository) -> Result<(), RegistryErrorKind> {
        let known = Arc::clone(self.destinations().entry(repository.clone()).or_default());
        let host = self.host(repository)?;
        let path = Host::path(repository);
        known.get_or_try_init(|| host.check_push(&path)).await.copied()
    }

    /// Whether a refusal to look something up may mean that the repository does not exist yet.
    fn hides_new(&self, repository: &Repository, refusal: &RegistryErrorKind) -> bool {
        refusal.is_denied() && self.destinations().contains_key(repository)
    }

    /// Returns `again`, the answer with the scope of a push, after a `refusal` with that of a pull.
    /// If both were denied, returns `None` if an upload may begin, else an error.
    async fn unless_new<T>(
        &self,
        repository: &Repository,
        refusal: RegistryErrorKind,
        again: Result<Option<T>, RegistryErrorKind>,
    ) -> Result<Option<T>, RegistryErrorKind> {
        match again {
            Err(second) if second.is_denied() => {}
            found => return found,
        }
        match self.may_push(repository).await {
            Ok(()) => Ok(None),
            Err(denied) if denied.is_denied() => Err(refusal),
            Err(other) => Err(other),
        }
    }

    fn destinations(&self) -> MutexGuard<'_, HashMap<Repository, Arc<OnceCell<()>>>> {
        self.0.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, repository: &Repository, digest: &Digest) -> Option<Manifest> {
        let known = self.0.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_name.get(&(repository.clone(), digest.clone())).cloned()
    }

    fn host(&self, repository: &Repository) -> Result<Arc<Host>, RegistryErrorKind> {
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(repository.registry()) {
            return Ok(Arc::clone(host));
        }
        let host = Host::named(repository.registry(), Arc::clone(&self.0.shared))?;
        let host = Arc::new(host);
        hosts.insert(repository.registry().to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// The mirrors to ask before the registry of `repository`.
    fn mirrors(&self, repository: &Repository) -> impl Iterator<Item = &Mirror> {
        let is_mirrored = repository.registry() == MIRRORED;
        let mirrors = self.0.mirrors.iter().filter(move |_| is_mirrored);
        mirrors.filter(|mirror| !mirror.is_down.load(Ordering::Relaxed))
    }
}

impl Mirror {
    /// What a mirror found. One that cannot help is as good as none, and one that cannot be
    /// reached is not asked again.
    fn answer<T>(&self, outcome: Result<Option<T>, RegistryErrorKind>) -> Option<T> {
        if let Err(RegistryErrorKind::Unreachable { .. }) = &outcome {
            self.is_down.store(true, Ordering::Relaxed);
        }
        outcome.ok().flatten()
    }
}

fn failure(action: &'static str, subject: String) -> impl Fn(RegistryErrorKind) -> RegistryError {
    move |kind| RegistryError::new(action, subject.clone(), kind)
}
