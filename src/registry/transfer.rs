//! Copies blobs between registries: pipes a download into an upload, so that blobs are neither in memory nor on disk.

use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Url};

use super::RegistryErrorKind;
use super::attempts::{Attempts, Failure};
use super::host::Host;
use super::request::Call;
use super::scopes::Scopes;
use crate::image::Descriptor;

/// The slowest transfer that continues, in bytes per second. A slower one counts as stalled.
const SLOWEST: u64 = 64 << 10;

/// The time for the registry's answer after the last byte.
const ANSWER: Duration = Duration::from_secs(300);

impl Host {
    /// Sends a blob of the repository `from` of the registry `source` to `path`. Another attempt sends all of it again.
    pub(super) async fn pipe_blob(
        &self,
        path: &str,
        blob: &Descriptor,
        source: &Self,
        from: &str,
    ) -> Result<(), RegistryErrorKind> {
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            let url = self.start_upload(path).await?;
            let failure = match source.open_blob(from, blob).await {
                Ok(body) => match self.put_stream(path, blob, body, url).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                },
                Err(failure) => {
                    self.cancel_upload(path, url).await;
                    failure
                }
            };
            let may_be_done = failure.may_be_done();
            let outcome = attempts.wait_after(failure).await;
            if may_be_done && self.has_sized_blob(path, blob).await? {
                return Ok(());
            }
            outcome?;
        }
    }

    /// Returns true if the repository has a blob that is copied to it.
    pub(super) async fn has_sized_blob(
        &self,
        path: &str,
        blob: &Descriptor,
    ) -> Result<bool, RegistryErrorKind> {
        self.head_blob(path, &blob.digest, Scopes::push(path), Some(blob.size)).await
    }

    /// Begins the download of a blob.
    async fn open_blob(&self, path: &str, blob: &Descriptor) -> Result<Body, Failure> {
        let call = Call::new(Method::GET, self.blob_url(path, &blob.digest), Scopes::pull(path));
        if self.challenge().is_none() {
            // The answer to a download cannot be repeated with the authentication that it asks for.
            self.has_blob(path, &blob.digest).await.map_err(Failure::nested)?;
        }
        let auth = self.header(&call.scopes).await.map_err(Failure::nested)?;
        let permit = self.limiter.acquire().await;
        let opened = self.follow(&call, &auth).await?;
        drop(permit);
        let status = opened.response.status();
        if !status.is_success() {
            let reply = self.read(&call, opened).await?;
            return Err(self.refusal(&call.scopes, &reply).into());
        }
        if opened.response.content_length().is_some_and(|length| length != blob.size) {
            let problem = format!("it does not have {} bytes", blob.size);
            return Err(self.unexpected("blob", problem).into());
        }
        Ok(opened.response.into())
    }

    /// Sends a body to the URL of an upload. The registry compares its digest.
    async fn put_stream(
        &self,
        path: &str,
        blob: &Descriptor,
        body: Body,
        mut url: Url,
    ) -> Result<(), Failure> {
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let call = Call::new(Method::PUT, url.clone(), Scopes::push(path))
            .header(CONTENT_TYPE, "application/octet-stream");
        // Storage on other hosts gets no credentials: its URLs are signed.
        let auth = if self.is_own_origin(&url) {
            self.header(&call.scopes).await.map_err(Failure::nested)?
        } else {
            super::authorization::anonymous()
        };
        drop(self.limiter.acquire().await);
        let reach = self.reach(&url).await?;
        let mut request = super::request::request(&call, &url, &auth);
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        *request.body_mut() = Some(body);
        *request.timeout_mut() = Some(ANSWER + Duration::from_secs(blob.size / SLOWEST));
        let response = self.shared.transport.send(reach, request).await?;
        let reply = self.read(&call, super::request::Opened { response, url, auth }).await?;
        self.end_upload(&call, &reply, &blob.digest)
    }
}
