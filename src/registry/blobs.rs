//! Blobs: asked for and fetched.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;

use super::host::Host;
use super::problem::is_html;
use super::request::Call;
use super::scopes::Scopes;
use super::{Blob, RegistryErrorKind};
use crate::image::Digest;

impl Host {
    /// Whether the repository has this blob.
    pub(super) async fn has_blob(
        &self,
        path: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryErrorKind> {
        let call = Call::new(Method::HEAD, self.blob_url(path, digest), Scopes::pull(path));
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            404 => Ok(false),
            200..=299 => self.compare(&reply, digest).map(|()| true),
            _ => Err(self.refusal(&call.scopes, &reply)),
        }
    }

    /// Returns true if the repository has this blob. Uses the token of the push that follows, and
    /// compares the size if the registry sends it.
    pub(super) async fn has_blob_for_push(
        &self,
        path: &str,
        blob: &Blob,
    ) -> Result<bool, RegistryErrorKind> {
        let call = Call::new(Method::HEAD, self.blob_url(path, blob.digest()), Scopes::push(path));
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            404 => Ok(false),
            200..=299 => {
                self.compare(&reply, blob.digest())?;
                let size = reply.header(&CONTENT_LENGTH).and_then(|length| length.parse().ok());
                Ok(size.is_none_or(|size: u64| size == blob.size()))
            }
            _ => Err(self.refusal(&call.scopes, &reply)),
        }
    }

    /// The bytes of a blob, compared with its digest.
    pub(super) async fn blob(
        &self,
        path: &str,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryErrorKind> {
        let url = self.blob_url(path, digest);
        let call = Call::new(Method::GET, url, Scopes::pull(path)).limit(limit);
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            404 => return Ok(None),
            200..=299 => {}
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let found = Digest::of(&reply.body);
        if found == *digest {
            return Ok(Some(reply.body));
        }
        if is_html(reply.media_type().unwrap_or_default(), &reply.body) {
            return Err(self.unexpected("blob", "it is text/html"));
        }
        Err(RegistryErrorKind::WrongDigest {
            host: self.shown(&reply.url),
            expected: digest.to_string(),
            found: found.to_string(),
        })
    }

    pub(super) fn blob_url(&self, path: &str, digest: &Digest) -> reqwest::Url {
        self.url(&format!("{path}/blobs/{digest}"))
    }
}
