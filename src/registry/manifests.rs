//! Manifests: looked up, fetched, sent and deleted.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};

use super::attempts::Attempts;
use super::host::Host;
use super::manifest::{Manifest, Name};
use super::problem::{clean, is_html};
use super::request::{Call, Reply};
use super::scopes::Scopes;
use super::{Problem, RegistryErrorKind};
use crate::image::{Descriptor, Digest};

/// The largest manifest that registries must accept, in bytes ([specification][spec]).
///
/// [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// The codes and messages by which registries refuse to move a tag.
const IMMUTABLE_CODES: [&str; 4] =
    ["TAG_INVALID", "TAG_IMMUTABLE", "ImageTagAlreadyExistsException", "TAG_ALREADY_EXISTS"];
const IMMUTABLE_WORDS: [&str; 5] = [
    "immutab",
    "already exists",
    "cannot be overwritten",
    "can't be overwritten",
    "cannot overwrite",
];

impl Host {
    /// Looks up a manifest, and returns its descriptor.
    pub(super) async fn head(
        &self,
        path: &str,
        name: Name<'_>,
        scopes: Scopes,
    ) -> Result<Option<Descriptor>, RegistryErrorKind> {
        let call = self.manifest_call(Method::HEAD, path, name, scopes.clone());
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            404 => return Ok(None),
            200..=299 => {}
            // Some registries do not support HEAD.
            405 | 501 => return self.head_by_get(path, name, scopes).await,
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let size = reply.header(&CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let known = Manifest::ACCEPTED.into_iter().find(|known| Some(*known) == reply.media_type());
        let digest = reply.digest().and_then(|digest| digest.parse::<Digest>().ok());
        let (Some(media_type), Some(digest), Some(size)) = (known, digest, size) else {
            return self.head_by_get(path, name, scopes).await;
        };
        if let Name::Digest(requested) = name {
            self.compare(&reply, requested)?;
        }
        Ok(Some(Descriptor { media_type: media_type.to_owned(), digest, size }))
    }

    async fn head_by_get(
        &self,
        path: &str,
        name: Name<'_>,
        scopes: Scopes,
    ) -> Result<Option<Descriptor>, RegistryErrorKind> {
        Ok(self.manifest(path, name, scopes).await?.map(|manifest| manifest.descriptor()))
    }

    /// Fetches a manifest, and verifies that it has the requested digest and the one that the
    /// registry names.
    pub(super) async fn manifest(
        &self,
        path: &str,
        name: Name<'_>,
        scopes: Scopes,
    ) -> Result<Option<Manifest>, RegistryErrorKind> {
        let call = self.manifest_call(Method::GET, path, name, scopes).limit(MAX_MANIFEST);
        let Some(reply) = self.find(&call).await? else { return Ok(None) };
        let media_type = self.media_type(&reply)?;
        let digest = Digest::of(&reply.body);
        if let Name::Digest(requested) = name
            && *requested != digest
        {
            return Err(RegistryErrorKind::WrongDigest {
                host: self.name.clone(),
                expected: requested.to_string(),
                found: digest.to_string(),
            });
        }
        self.compare(&reply, &digest)?;
        Ok(Some(Manifest { media_type, bytes: reply.body }))
    }

    /// Returns the media type of a manifest, or an error if the body is not a manifest.
    fn media_type(&self, reply: &Reply) -> Result<String, RegistryErrorKind> {
        let header = reply.media_type().unwrap_or_default();
        if is_html(header, &reply.body) {
            return Err(self.unexpected("manifest", "it is an HTML page"));
        }
        if let Some(problem) = Manifest::problem(&reply.body) {
            let header = if header.is_empty() { "none" } else { header };
            let problem = format!("{problem} (content type: {})", clean(header, &[]));
            return Err(self.unexpected("manifest", problem));
        }
        if header.starts_with("application/vnd.") {
            return Ok(header.to_owned());
        }
        // Some registries serve every manifest as plain JSON.
        let own = Manifest::own_media_type(&reply.body).unwrap_or_else(|| header.to_owned());
        Ok(clean(&own, &[]))
    }

    /// Sends a manifest, whose blobs must exist.
    pub(super) async fn put_manifest(
        &self,
        path: &str,
        name: Name<'_>,
        manifest: &Manifest,
    ) -> Result<(), RegistryErrorKind> {
        let digest = manifest.digest();
        if let Name::Digest(requested) = name
            && *requested != digest
        {
            let problem = format!("the manifest has digest {digest}, not {requested}");
            return Err(RegistryErrorKind::Setup { problem });
        }
        let call = Call::new(Method::PUT, self.manifest_url(path, name), Scopes::push(path))
            .header(CONTENT_TYPE, &manifest.media_type)
            .body(manifest.bytes.clone());
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            let failure = match self.attempt(&call).await {
                Ok(reply) if reply.status.is_success() => return self.compare(&reply, &digest),
                Ok(reply) => match self.explain_refusal(path, name, manifest, &reply).await? {
                    Some(error) => error.into(),
                    None => return Ok(()),
                },
                Err(failure) => failure,
            };
            let may_be_done = failure.may_be_done();
            let outcome = attempts.wait_after(failure).await;
            if may_be_done && self.has_manifest(path, name, &digest).await {
                return Ok(());
            }
            outcome?;
        }
    }

    /// Returns the error that a refused manifest means, or `None` if the immutable tag already
    /// points to the manifest.
    async fn explain_refusal(
        &self,
        path: &str,
        name: Name<'_>,
        manifest: &Manifest,
        reply: &Reply,
    ) -> Result<Option<RegistryErrorKind>, RegistryErrorKind> {
        let (status, problem, host) = (reply.status, reply.problem(), self.name.clone());
        if let Name::Tag(tag) = name
            && means_immutable(status, &problem)
            && let Ok(Some(found)) = self.head(path, name, Scopes::pull(path)).await
        {
            let (tag, found, wanted) = (tag.to_string(), found.digest, manifest.digest());
            let is_done = found == wanted;
            let error = RegistryErrorKind::TagImmutable { host, tag, found, wanted };
            return Ok((!is_done).then_some(error));
        }
        Ok(Some(if means_blob_unknown(status, &problem) {
            // If no blob is missing, the registry needs a moment to see them all.
            RegistryErrorKind::BlobUnknown { host, missing: self.missing(path, manifest).await? }
        } else {
            self.refusal(&Scopes::push(path), reply)
        }))
    }

    /// Returns the digests that the manifest needs and the registry does not have.
    async fn missing(
        &self,
        path: &str,
        manifest: &Manifest,
    ) -> Result<Vec<String>, RegistryErrorKind> {
        let needs = manifest.needs();
        let mut missing = Vec::new();
        for digest in &needs.blobs {
            if !self.has_blob(path, digest).await? {
                missing.push(digest.to_string());
            }
        }
        for digest in &needs.manifests {
            if self.head(path, digest.into(), Scopes::pull(path)).await?.is_none() {
                missing.push(digest.to_string());
            }
        }
        missing.dedup();
        Ok(missing)
    }

    async fn has_manifest(&self, path: &str, name: Name<'_>, digest: &Digest) -> bool {
        let call = self.manifest_call(Method::HEAD, path, name, Scopes::pull(path));
        let Ok(reply) = self.attempt(&call).await else { return false };
        reply.status.is_success() && reply.digest() == Some(&digest.to_string())
    }

    /// Deletes a tag or a manifest. Returns false if it did not exist, unless an earlier attempt may
    /// have deleted it.
    pub(super) async fn delete(
        &self,
        path: &str,
        name: Name<'_>,
    ) -> Result<bool, RegistryErrorKind> {
        let url = self.manifest_url(path, name);
        let call = Call::new(Method::DELETE, url, Scopes::delete(path));
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        let mut may_be_done = false;
        loop {
            match self.attempt(&call).await {
                Ok(reply) if reply.status.is_success() => return Ok(true),
                Ok(reply) if reply.status.as_u16() == 404 => return Ok(may_be_done),
                Ok(reply) => return Err(self.refusal(&call.scopes, &reply)),
                Err(failure) => {
                    may_be_done |= failure.may_be_done();
                    attempts.wait_after(failure).await?;
                }
            }
        }
    }

    fn manifest_url(&self, path: &str, name: Name<'_>) -> reqwest::Url {
        self.url(&format!("{path}/manifests/{name}"))
    }

    fn manifest_call(&self, method: Method, path: &str, name: Name<'_>, scopes: Scopes) -> Call {
        Call::new(method, self.manifest_url(path, name), scopes)
            .header(ACCEPT, &Manifest::ACCEPTED.join(", "))
    }
}

/// Returns true if a refusal may mean that the tag is immutable. Registries have no common code for
/// it, so the caller also looks at the tag.
fn means_immutable(status: StatusCode, problem: &Problem) -> bool {
    matches!(status.as_u16(), 409 | 412)
        || (matches!(status.as_u16(), 400 | 403 | 405)
            && (problem.has(&IMMUTABLE_CODES) || problem.mentions(&IMMUTABLE_WORDS)))
}

/// Returns true if a refusal means that a blob or a manifest is missing.
fn means_blob_unknown(status: StatusCode, problem: &Problem) -> bool {
    const CODES: [&str; 3] = ["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
    const WORDS: [&str; 3] = ["blob unknown", "unknown blob", "manifest unknown"];
    status.is_client_error() && (problem.has(&CODES) || problem.mentions(&WORDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str, message: &str) -> Problem {
        Problem { codes: vec![code.to_owned()], message: message.to_owned() }
    }

    #[test]
    fn immutable_tags_are_recognized_for_each_registry() {
        for (status, problem) in [
            // ECR, Harbor, GAR, Docker Hub, Quay.
            (400, problem("TAG_INVALID", "The image tag 'v1' already exists in the repository")),
            (400, problem("ImageTagAlreadyExistsException", "")),
            (412, problem("PRECONDITION", "configured as immutable")),
            (400, problem("MANIFEST_INVALID", "cannot update tag v1: tag immutability is enabled")),
            (403, problem("DENIED", "Tag v1 is immutable and cannot be overwritten")),
            (409, Problem::default()),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert!(means_immutable(status, &problem), "{problem}");
        }
        assert!(!means_immutable(StatusCode::FORBIDDEN, &problem("DENIED", "access denied")));
        assert!(!means_immutable(StatusCode::NOT_FOUND, &problem("NAME_UNKNOWN", "")));
    }
}
