//! Checks the permissions in a repository without changing it.

use http::Method;

use super::RegistryErrorKind;
use super::host::Host;
use super::request::Call;
use super::scopes::Scopes;

/// A tag that does not exist: the answer for it shows whether pulling is permitted.
const PROBE: &str = "basegen-access-check";

/// The permissions in a repository.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether pulling is permitted, or why it is refused.
    pub pull: Result<(), RegistryErrorKind>,
    /// Whether pushing is permitted, or why it is refused.
    pub push: Result<(), RegistryErrorKind>,
}

impl Host {
    /// Requests a tag that does not exist, and starts an upload that is cancelled.
    pub(super) async fn check_access(&self, path: &str) -> Result<Access, RegistryErrorKind> {
        let url = self.url(&format!("{path}/manifests/{PROBE}"));
        let call = Call::new(Method::HEAD, url, Scopes::pull(path));
        let pull = match self.send(&call).await {
            Ok(reply) if reply.status.is_success() || reply.status.as_u16() == 404 => Ok(()),
            Ok(reply) => Err(self.refusal(&call.scopes, &reply)),
            Err(error) if error.is_denied() => Err(error),
            Err(error) => return Err(error),
        };
        let push = match self.check_push(path).await {
            Err(error) if !error.is_refusal() => return Err(error),
            outcome => outcome,
        };
        Ok(Access { pull, push })
    }

    /// Starts an upload and cancels it.
    pub(super) async fn check_push(&self, path: &str) -> Result<(), RegistryErrorKind> {
        let call = Call::new(Method::POST, self.uploads_url(path), Scopes::push(path));
        let reply = self.send(&call).await?;
        if reply.status.is_success() {
            if let Ok(Some(upload)) = self.upload_url(&call.url, &reply) {
                self.cancel_upload(path, upload).await;
            }
            return Ok(());
        }
        if reply.status.as_u16() == 404 {
            let (host, path, problem) = (self.name.clone(), path.to_owned(), reply.problem());
            return Err(RegistryErrorKind::NoRepository { host, path, problem });
        }
        Err(self.refusal(&call.scopes, &reply))
    }
}
