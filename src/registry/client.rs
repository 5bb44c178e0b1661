use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use super::host::{Host, Shared};
use super::scopes::Scopes;
use super::{Access, Blob, Manifest, Name, RegistryError, RegistryErrorKind, RegistryOptions};
use crate::image::{Descriptor, Digest, Repository};

/// The registry for which mirrors are used.
const MIRRORED: &str = "docker.io";

/// A client of any number of registries. Cheap to clone.
///
/// Requests to one registry share its tokens, connections and rate limiter. A failed request is
/// retried as the [policy](super::RetryPolicy) permits.
#[derive(Clone)]
pub struct Registries(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    mirrors: Vec<Mirror>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    manifests: Mutex<ManifestCache>,
    /// Repositories to which images are pushed, each with whether a push was seen to be permitted.
    destinations: Mutex<HashMap<Repository, Arc<OnceCell<()>>>>,
    /// Limits the copies of blobs between registries that run at a time.
    transfers: Semaphore,
}

/// The maximum number of blobs that are copied between registries at a time.
const MAX_TRANSFERS: usize = 6;

/// The capacity of the manifest cache, in bytes. A manifest has a few KB.
const MAX_CACHED: usize = 64 << 20;

#[derive(Default)]
struct ManifestCache {
    by_digest: HashMap<(Repository, Digest), Manifest>,
    bytes: usize,
}

struct Mirror {
    host: Arc<Host>,
    is_down: AtomicBool,
}

impl Registries {
    pub fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        let failed = |kind| RegistryError::new("set up", "registry client".to_owned(), kind);
        let shared = Arc::new(Shared::new(options).map_err(failed)?);
        let mirrors = options.mirrors.iter();
        let mirrors = mirrors.map(|url| {
            let host = Arc::new(Host::mirror(url, Arc::clone(&shared)).map_err(failed)?);
            Ok(Mirror { host, is_down: AtomicBool::new(false) })
        });
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Inner {
            shared,
            mirrors,
            hosts: Mutex::default(),
            manifests: Mutex::default(),
            destinations: Mutex::default(),
            transfers: Semaphore::new(MAX_TRANSFERS),
        })))
    }

    /// Returns the descriptor of a manifest, or `None` if it does not exist.
    pub async fn head(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let name = name.into();
        let path = &Host::path(repository);
        let request = |host: Arc<Host>, scopes| async move { host.head(path, name, scopes).await };
        let found = self.look_up(repository, request).await;
        found.map_err(failure("look up", format!("{repository}{}", name.suffix())))
    }

    /// Fetches a manifest and verifies its digest. Returns `None` if it does not exist.
    ///
    /// A manifest that was fetched once is not fetched again by its digest, because some
    /// registries limit the number of pulls.
    pub async fn manifest(
        &self,
        repository: &Repository,
        name: impl Into<Name<'_>>,
    ) -> Result<Option<Manifest>, RegistryError> {
        let name = name.into();
        let path = &Host::path(repository);
        if let Name::Digest(digest) = name {
            let key = (repository.clone(), digest.clone());
            let cached = lock(&self.0.manifests).by_digest.get(&key).cloned();
            if cached.is_some() {
                return Ok(cached);
            }
        }
        let request =
            |host: Arc<Host>, scopes| async move { host.manifest(path, name, scopes).await };
        let found = self.look_up(repository, request).await;
        let failed = failure("fetch the manifest of", format!("{repository}{}", name.suffix()));
        let found = found.map_err(failed)?;
        if let Some(manifest) = &found {
            self.remember(repository, manifest);
        }
        Ok(found)
    }

    /// Caches a manifest that the repository has.
    pub fn remember(&self, repository: &Repository, manifest: &Manifest) {
        let mut cache = lock(&self.0.manifests);
        let size = manifest.bytes.len();
        if cache.bytes + size <= MAX_CACHED {
            let key = (repository.clone(), manifest.digest());
            if cache.by_digest.insert(key, manifest.clone()).is_none() {
                cache.bytes += size;
            }
        }
    }

    /// Sends `request` to the mirrors of the repository's registry and then to the registry itself,
    /// until one of them has an answer.
    ///
    /// If a destination denies a pull, it may not exist yet. Then the request is repeated with the
    /// scope of a push, and counts as not found if that is denied too but an upload may start.
    async fn look_up<T, F>(
        &self,
        repository: &Repository,
        request: impl Fn(Arc<Host>, Scopes) -> F,
    ) -> Result<Option<T>, RegistryErrorKind>
    where
        F: Future<Output = Result<Option<T>, RegistryErrorKind>>,
    {
        let path = Host::path(repository);
        if repository.registry() == MIRRORED {
            for mirror in &self.0.mirrors {
                if !mirror.is_down.load(Ordering::Relaxed)
                    && let Some(found) =
                        mirror.found(request(Arc::clone(&mirror.host), Scopes::pull(&path)).await)
                {
                    return Ok(Some(found));
                }
            }
        }
        let host = self.host(repository)?;
        let refusal = match request(Arc::clone(&host), Scopes::pull(&path)).await {
            Err(error) if error.is_denied() && self.destinations().contains_key(repository) => {
                error
            }
            found => return found,
        };
        match request(host, Scopes::push(&path)).await {
            Err(error) if error.is_denied() => {}
            found => return found,
        }
        match self.may_push(repository).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_denied() => Err(refusal),
            Err(error) => Err(error),
        }
    }

    /// Sends a manifest, whose blobs must exist. Succeeds if the registry then has these bytes under
    /// this name, even if its answer was lost.
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

    /// Fetches a blob of at most `limit` bytes. Returns `None` if it does not exist.
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

    /// Sends a blob. Returns false if the repository already had it.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
    ) -> Result<bool, RegistryError> {
        let failed = failure("push a blob to", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.push_blob(&Host::path(repository), blob).await.map_err(failed)
    }

    /// Mounts a blob from another repository of the same registry, without sending a byte. Returns
    /// false if the registry does not do that, or does not have the blob.
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
        host.mount_blob(&Host::path(repository), digest, &Host::path(from)).await.map_err(failed)
    }

    /// Copies a blob from the repository `from`. Mounts it if both repositories are in one registry. Returns the number of
    /// bytes that were sent: 0 if the repository already had it.
    pub async fn copy_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        from: &Repository,
    ) -> Result<u64, RegistryError> {
        let failed = failure("copy a blob to", repository.to_string());
        let (host, source) = (self.host(repository), self.host(from));
        let (host, source) = (host.map_err(&failed)?, source.map_err(&failed)?);
        let path = Host::path(repository);
        if host.has_sized_blob(&path, blob).await.map_err(&failed)?
            || self.mount_blob(repository, &blob.digest, from).await?
        {
            return Ok(0);
        }
        let _permit = self.0.transfers.acquire().await.ok();
        host.pipe_blob(&path, blob, &source, &Host::path(from)).await.map_err(failed)?;
        Ok(blob.size)
    }

    /// Returns all tags of the repository in the registry's order, or `None` if the repository does
    /// not exist.
    pub async fn tags(
        &self,
        repository: &Repository,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let failed = failure("list the tags of", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.tags(&Host::path(repository)).await.map_err(failed)
    }

    /// Deletes a tag or, by its digest, a manifest with all of its tags. Returns false if it did not
    /// exist. Many registries only support deletion by digest.
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

    /// Returns the permissions in the repository. Starts an upload and cancels it, which changes
    /// nothing.
    pub async fn check_access(&self, repository: &Repository) -> Result<Access, RegistryError> {
        let failed = failure("check the access to", repository.to_string());
        let host = self.host(repository).map_err(&failed)?;
        host.check_access(&Host::path(repository)).await.map_err(failed)
    }

    /// Declares that images are pushed to `repositories`.
    ///
    /// Some registries deny lookups in a repository that does not exist yet. In a declared
    /// repository, such a denial counts as not found if an upload may start.
    pub fn declare_destinations<'a>(&self, repositories: impl IntoIterator<Item = &'a Repository>) {
        let mut destinations = self.destinations();
        for repository in repositories {
            destinations.entry(repository.clone()).or_default();
        }
    }

    /// Checks that images can be pushed to the repository, by starting an upload and cancelling it.
    /// A success is remembered.
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

    fn destinations(&self) -> MutexGuard<'_, HashMap<Repository, Arc<OnceCell<()>>>> {
        lock(&self.0.destinations)
    }

    fn host(&self, repository: &Repository) -> Result<Arc<Host>, RegistryErrorKind> {
        let mut hosts = lock(&self.0.hosts);
        if let Some(host) = hosts.get(repository.registry()) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::named(repository.registry(), Arc::clone(&self.0.shared))?);
        hosts.insert(repository.registry().to_owned(), Arc::clone(&host));
        Ok(host)
    }
}

impl Mirror {
    /// Returns the result of a mirror. Its errors are ignored, and an unreachable mirror is not
    /// used again.
    fn found<T>(&self, outcome: Result<Option<T>, RegistryErrorKind>) -> Option<T> {
        if let Err(RegistryErrorKind::Unreachable { .. }) = &outcome {
            self.is_down.store(true, Ordering::Relaxed);
        }
        outcome.ok().flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure(action: &'static str, subject: String) -> impl Fn(RegistryErrorKind) -> RegistryError {
    move |kind| RegistryError::new(action, subject.clone(), kind)
}
