//! What we may do in a repository, found out without changing it.

use http::Method;

use super::RegistryErrorKind;
use super::host::Host;
use super::request::{Call, Reply};
use super::scopes::Scopes;

/// A tag that nobody uses: asking for it tells whether one may ask.
const PROBE: &str = "basegen-access-check";

/// What we may do in a repository.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether images can be pulled.
    pub pull: bool,
    /// Whether images can be pushed.
    pub push: bool,
    /// Why they cannot be pulled, where they cannot.
    pub pull_refusal: Option<RegistryErrorKind>,
    /// Why they cannot be pushed, where they cannot.
    pub push_refusal: Option<RegistryErrorKind>,
}

impl Host {
    /// Asks for a tag that is not there, and begins an upload that is cancelled.
    pub(super) async fn check_access(&self, path: &str) -> Result<Access, RegistryErrorKind> {
        let url = self.url(&format!("{path}/manifests/{PROBE}"));
        let pull = Call::new(Method::HEAD, url, Scopes::pull(path));
        let pull_refusal = match self.allowed(&pull).await? {
            Ok(reply) if reply.status.is_success() || reply.status.as_u16() == 404 => None,
            Ok(reply) => Some(self.refusal(&pull.scopes, &reply)),
            Err(refusal) => Some(refusal),
        };
        let push_refusal = match self.check_push(path).await {
            Ok(()) => None,
            Err(refusal) if refusal.is_refusal() => Some(refusal),
            Err(failure) => return Err(failure),
        };
        Ok(Access {
            pull: pull_refusal.is_none(),
            push: push_refusal.is_none(),
            pull_refusal,
            push_refusal,
        })
    }

    /// Begins an upload and cancels it.
    pub(super) async fn check_push(&self, path: &str) -> Result<(), RegistryErrorKind> {
        let call = Call::new(Method::POST, self.uploads_url(path), Scopes::push(path));
        let reply = self.send(&call).await?;
        if reply.status.is_success() {
            if let Ok(Some(url)) = self.upload_url(&call.url, &reply) {
                self.cancel_upload(path, url).await;
            }
            return Ok(());
        }
        if reply.status.as_u16() == 404 {
            let (host, path, problem) = (self.name.clone(), path.to_owned(), reply.problem());
            return Err(RegistryErrorKind::NoRepository { host, path, problem });
        }
        Err(self.refusal(&call.scopes, &reply))
    }

    /// The answer to a request, or why it is denied.
    async fn allowed(
        &self,
        call: &Call,
    ) -> Result<Result<Reply, RegistryErrorKind>, RegistryErrorKind> {
        match self.send(call).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(failure) if failure.is_denied() => Ok(Err(failure)),
            Err(failure) => Err(failure),
        }
    }
}
