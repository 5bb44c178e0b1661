//! Blobs: looked up and fetched.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;

use super::RegistryErrorKind;
use super::host::Host;
use super::problem::is_html;
use super::request::Call;
use super::scopes::Scopes;
use crate::image::Digest;

/// Content with its digest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blob {
    digest: Digest,
    pub(super) bytes: Bytes,
}

impl Blob {
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Host {
    /// Returns true if the repository has this blob.
    pub(super) async fn has_blob(
        &self,
        path: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryErrorKind> {
        self.head_blob(path, digest, Scopes::pull(path), None).await
    }

    /// Returns true if the repository has this blob. Uses the token of the push that follows, and
    /// compares the size if the registry sends it.
    pub(super) async fn has_blob_for_push(
        &self,
        path: &str,
        blob: &Blob,
    ) -> Result<bool, RegistryErrorKind> {
        self.head_blob(path, blob.digest(), Scopes::push(path), Some(blob.size())).await
    }

    pub(super) async fn head_blob(
        &self,
        path: &str,
        digest: &Digest,
        scopes: Scopes,
        expected_size: Option<u64>,
    ) -> Result<bool, RegistryErrorKind> {
        let call = Call::new(Method::HEAD, self.blob_url(path, digest), scopes);
        let Some(reply) = self.find(&call).await? else { return Ok(false) };
        self.compare(&reply, digest)?;
        let size = reply.header(&CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        Ok(size.is_none() || expected_size.is_none() || size == expected_size)
    }

    /// Fetches a blob and verifies its digest.
    pub(super) async fn blob(
        &self,
        path: &str,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryErrorKind> {
        let url = self.blob_url(path, digest);
        let call = Call::new(Method::GET, url, Scopes::pull(path)).limit(limit);
        let Some(reply) = self.find(&call).await? else { return Ok(None) };
        let found = Digest::of(&reply.body);
        if found == *digest {
            return Ok(Some(reply.body));
        }
        if is_html(reply.media_type().unwrap_or_default(), &reply.body) {
            return Err(self.unexpected("blob", "it is an HTML page"));
        }
        Err(RegistryErrorKind::WrongDigest {
            host: self.display_host(&reply.url),
            expected: digest.to_string(),
            found: found.to_string(),
        })
    }

    pub(super) fn blob_url(&self, path: &str, digest: &Digest) -> reqwest::Url {
        self.url(&format!("{path}/blobs/{digest}"))
    }
}
