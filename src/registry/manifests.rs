//! Manifests: asked for, fetched, sent and deleted.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};

use super::host::Host;
use super::manifest::{Manifest, Name};
use super::payload::Payload;
use super::problem::{clean, is_html};
use super::request::{Call, Reply};
use super::retry::{Attempts, Failure};
use super::scopes::Scopes;
use super::{Problem, RegistryErrorKind};
use crate::image::{Descriptor, Digest};

/// The largest manifest that registries must take ([specification][spec]), in bytes.
///
/// [spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// How registries say that a tag may not move, beside their status.
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
    /// What `name` is, without its bytes; `None` when the registry has nothing of this name.
    pub(super) async fn head(
        &self,
        path: &str,
        name: Name<'_>,
    ) -> Result<Option<Descriptor>, RegistryErrorKind> {
        self.head_as(path, name, Scopes::pull(path)).await
    }

    /// The same, allowed by `scopes`.
    pub(super) async fn head_as(
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
            // Some registries know no HEAD.
            405 | 501 => return self.head_by_get(path, name, scopes).await,
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let size = reply.header(&CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let known = Manifest::ACCEPTED.into_iter().find(|known| Some(*known) == reply.media_type());
        let digest = reply.digest().and_then(|digest| digest.parse::<Digest>().ok());
        match (known, digest, size) {
            (Some(media_type), Some(digest), Some(size)) => {
                if let Name::Digest(asked) = name {
                    self.compare(&reply, asked)?;
                }
                Ok(Some(Descriptor { media_type: media_type.to_owned(), digest, size }))
            }
            // What is not told must be computed.
            _ => self.head_by_get(path, name, scopes).await,
        }
    }

    async fn head_by_get(
        &self,
        path: &str,
        name: Name<'_>,
        scopes: Scopes,
    ) -> Result<Option<Descriptor>, RegistryErrorKind> {
        Ok(self.manifest_as(path, name, scopes).await?.map(|manifest| manifest.descriptor()))
    }

    /// The bytes of `name`, whose digest is what the registry says and what was asked for.
    pub(super) async fn manifest(
        &self,
        path: &str,
        name: Name<'_>,
    ) -> Result<Option<Manifest>, RegistryErrorKind> {
        self.manifest_as(path, name, Scopes::pull(path)).await
    }

    /// The same, allowed by `scopes`.
    pub(super) async fn manifest_as(
        &self,
        path: &str,
        name: Name<'_>,
        scopes: Scopes,
    ) -> Result<Option<Manifest>, RegistryErrorKind> {
        let call = self.manifest_call(Method::GET, path, name, scopes).limit(MAX_MANIFEST);
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            404 => return Ok(None),
            200..=299 => {}
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let media_type = self.media_type(&reply)?;
        let digest = Digest::of(&reply.body);
        if let Name::Digest(asked) = name
            && *asked != digest
        {
            return Err(RegistryErrorKind::WrongDigest {
                host: self.name.clone(),
                expected: asked.to_string(),
                found: digest.to_string(),
            });
        }
        self.compare(&reply, &digest)?;
        Ok(Some(Manifest { media_type, bytes: reply.body }))
    }

    /// The media type of a manifest, once it is sure that it is one.
    fn media_type(&self, reply: &Reply) -> Result<String, RegistryErrorKind> {
        let said = reply.media_type().unwrap_or_default();
        if is_html(said, &reply.body) {
            return Err(self.unexpected("manifest", "it is text/html"));
        }
        if let Some(problem) = Manifest::problem(&reply.body) {
            let said = if said.is_empty() { "nothing" } else { said };
            let problem = format!("{problem} (it says that it is {})", clean(said, &[]));
            return Err(self.unexpected("manifest", problem));
        }
        // Some registries serve every manifest as plain JSON; then it speaks for itself.
        let is_told = said.starts_with("application/vnd.");
        let own = || Manifest::own_media_type(&reply.body);
        Ok(if is_told {
            said.to_owned()
        } else {
            clean(&own().unwrap_or_else(|| said.to_owned()), &[])
        })
    }

    /// Sends a manifest; its blobs must be there.
    pub(super) async fn put_manifest(
        &self,
        path: &str,
        name: Name<'_>,
        manifest: &Manifest,
    ) -> Result<(), RegistryErrorKind> {
        let digest = manifest.digest();
        if let Name::Digest(asked) = name
            && *asked != digest
        {
            let problem = format!("the manifest is {digest}, and cannot become {asked}");
            return Err(RegistryErrorKind::Setup { problem });
        }
        let call = Call::new(Method::PUT, self.manifest_url(path, name), Scopes::push(path))
            .header(CONTENT_TYPE, &manifest.media_type)
            .payload(Payload::Bytes(manifest.bytes.clone()));
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            let failure = match self.attempt(&call).await {
                Ok(reply) if reply.status.is_success() => return self.compare(&reply, &digest),
                Ok(reply) => {
                    self.put_refused(path, name, manifest, &call, &reply).await?.map(Failure::from)
                }
                Err(failure) => Some(failure),
            };
            let Some(failure) = failure else {
                return Ok(());
            };
            let may_be_done = failure.may_be_done();
            let outcome = attempts.wait_after(failure).await;
            if may_be_done && self.is_there(path, name, &digest).await {
                return Ok(());
            }
            outcome?;
        }
    }

    /// What a refusal means: nothing when the manifest is there all the same, a failure that
    /// may pass, or an error.
    async fn put_refused(
        &self,
        path: &str,
        name: Name<'_>,
        manifest: &Manifest,
        call: &Call,
        reply: &Reply,
    ) -> Result<Option<RegistryErrorKind>, RegistryErrorKind> {
        let (refusal, problem) = (self.refusal(&call.scopes, reply), reply.problem());
        if let Name::Tag(tag) = name
            && says_immutable(reply.status, &problem)
            && let Some(found) = self.head(path, name).await.ok().flatten()
        {
            let wanted = manifest.digest();
            if found.digest == wanted {
                return Ok(None);
            }
            return Err(RegistryErrorKind::TagImmutable {
                host: self.name.clone(),
                tag: tag.to_string(),
                found: found.digest,
                wanted,
            });
        }
        if !says_blob_unknown(reply.status, &problem) {
            return Err(refusal);
        }
        let missing = self.missing(path, manifest).await?;
        // Where none is missing it may pass: registries of several parts need a moment to see it.
        Ok(Some(RegistryErrorKind::BlobUnknown { host: self.name.clone(), missing }))
    }

    /// What of a manifest the registry does not have.
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
            if self.head(path, digest.into()).await?.is_none() {
                missing.push(digest.to_string());
            }
        }
        missing.dedup();
        Ok(missing)
    }

    async fn is_there(&self, path: &str, name: Name<'_>, digest: &Digest) -> bool {
        let call = self.manifest_call(Method::HEAD, path, name, Scopes::pull(path));
        let reply = self.attempt(&call).await;
        let said = reply.as_ref().ok().filter(|reply| reply.status.is_success());
        said.and_then(Reply::digest).is_some_and(|said| said == digest.to_string())
    }

    /// Deletes `name`; `false` when it was not there, unless an answer was lost that may have
    /// said that it is deleted.
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
            let reply = match self.attempt(&call).await {
                Ok(reply) => reply,
                Err(failure) => {
                    may_be_done |= failure.may_be_done();
                    attempts.wait_after(failure).await?;
                    continue;
                }
            };
            return match reply.status.as_u16() {
                404 => Ok(may_be_done),
                200..=299 => Ok(true),
                _ => Err(self.refusal(&call.scopes, &reply)),
            };
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

/// Whether a refusal may mean that the tag may not move. Registries have no common word for
/// it, so that what the tag names decides in the end.
fn says_immutable(status: StatusCode, problem: &Problem) -> bool {
    matches!(status.as_u16(), 409 | 412)
        || (matches!(status.as_u16(), 400 | 403 | 405)
            && (problem.has(&IMMUTABLE_CODES) || problem.mentions(&IMMUTABLE_WORDS)))
}

/// Whether a refusal says that something of the manifest is missing.
fn says_blob_unknown(status: StatusCode, problem: &Problem) -> bool {
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
    fn immutable_tags_are_known_by_what_registries_say() {
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
            assert!(says_immutable(status, &problem), "{problem}");
        }
        assert!(!says_immutable(StatusCode::FORBIDDEN, &problem("DENIED", "access denied")));
        assert!(!says_immutable(StatusCode::NOT_FOUND, &problem("NAME_UNKNOWN", "")));
    }
}
