//! Uploads of blobs: [mounted][mount] from another repository, or sent in one request.
//!
//! [mount]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository

use http::Method;
use http::header::{CONTENT_TYPE, LOCATION};
use reqwest::Url;

use super::RegistryErrorKind;
use super::attempts::{Attempts, Failure};
use super::blobs::Blob;
use super::host::Host;
use super::request::{Call, Reply, location};
use super::scopes::Scopes;
use crate::image::Digest;

impl Host {
    /// Sends a blob. Returns false if the repository already had it.
    pub(super) async fn push_blob(
        &self,
        path: &str,
        blob: &Blob,
    ) -> Result<bool, RegistryErrorKind> {
        if self.has_blob_for_push(path, blob).await? {
            return Ok(false);
        }
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            let url = self.start_upload(path).await?;
            let Err(failure) = self.put_blob(path, blob, url).await else { return Ok(true) };
            let may_be_done = failure.may_be_done();
            let outcome = attempts.wait_after(failure).await;
            if may_be_done && self.has_blob_for_push(path, blob).await? {
                return Ok(true);
            }
            outcome?;
        }
    }

    /// Mounts a blob from the repository `other`. Returns false if the registry does not do that.
    pub(super) async fn mount_blob(
        &self,
        path: &str,
        digest: &Digest,
        other: &str,
    ) -> Result<bool, RegistryErrorKind> {
        let mut url = self.uploads_url(path);
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", other);
        let scopes = Scopes::push(path).and(&Scopes::pull(other).texts());
        let call = Call::new(Method::POST, url, scopes);
        let reply = match self.send(&call).await {
            Ok(reply) => reply,
            // A token server that grants no token for both repositories may grant one for ours.
            Err(error) if error.is_denied() => return Ok(false),
            Err(error) => return Err(error),
        };
        if reply.status.as_u16() == 201 {
            self.compare(&reply, digest)?;
            return Ok(true);
        }
        if reply.status.as_u16() == 202
            && let Some(upload) = self.upload_url(&call.url, &reply)?
        {
            self.cancel_upload(path, upload).await;
        }
        Ok(false)
    }

    /// Starts an upload, and returns its URL.
    pub(super) async fn start_upload(&self, path: &str) -> Result<Url, RegistryErrorKind> {
        let call = Call::new(Method::POST, self.uploads_url(path), Scopes::push(path));
        let reply = self.send(&call).await?;
        if reply.status.as_u16() != 202 {
            return Err(self.refusal(&call.scopes, &reply));
        }
        let url = self.upload_url(&call.url, &reply)?;
        url.ok_or_else(|| self.unexpected("upload", "it has no `Location`"))
    }

    /// Sends a whole blob to the URL of an upload.
    async fn put_blob(&self, path: &str, blob: &Blob, mut url: Url) -> Result<(), Failure> {
        url.query_pairs_mut().append_pair("digest", &blob.digest().to_string());
        let call = Call::new(Method::PUT, url, Scopes::push(path))
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(blob.bytes.clone());
        let reply = self.attempt(&call).await?;
        self.end_upload(&call, &reply, blob.digest())
    }

    /// Reads the answer to the last request of an upload.
    pub(super) fn end_upload(
        &self,
        call: &Call,
        reply: &Reply,
        digest: &Digest,
    ) -> Result<(), Failure> {
        match reply.status.as_u16() {
            200..=299 => Ok(self.compare(reply, digest)?),
            // The registry has dropped the upload, or has completed it and lost the answer.
            404 => Err(RegistryErrorKind::Unreachable {
                host: self.display_host(&call.url),
                problem: format!("the upload no longer exists{}", reply.problem()),
                transient: true,
            }
            .into()),
            _ => Err(self.refusal(&call.scopes, reply).into()),
        }
    }

    /// Returns the URL of the upload that an answer names, if it names one.
    pub(super) fn upload_url(
        &self,
        requested: &Url,
        reply: &Reply,
    ) -> Result<Option<Url>, RegistryErrorKind> {
        if !reply.headers.contains_key(LOCATION) {
            return Ok(None);
        }
        let url = location(requested, &reply.headers);
        url.map(Some).ok_or_else(|| self.unexpected("upload", "its `Location` is not a URL"))
    }

    /// Cancels an upload. Registries drop abandoned uploads anyway, so errors are ignored.
    pub(super) async fn cancel_upload(&self, path: &str, url: Url) {
        let call = Call::new(Method::DELETE, url, Scopes::push(path));
        let _ = self.attempt(&call).await;
    }

    pub(super) fn uploads_url(&self, path: &str) -> Url {
        self.url(&format!("{path}/blobs/uploads/"))
    }
}
