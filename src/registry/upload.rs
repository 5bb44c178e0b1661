//! Uploads: [mounted][mount] from another repository, in one piece, or piece by piece from
//! wherever the registry is.
//!
//! The engine pushes images itself, and `publish` sends small blobs alone: pieces, resuming and
//! files are there for users of the library, who can trust this client with layers of any size.
//!
//! [mount]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository

use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderMap, Method};
use reqwest::Url;

use super::RegistryErrorKind;
use super::host::Host;
use super::payload::{Blob, Payload};
use super::request::{Call, Reply, location};
use super::retry::Attempts;
use super::scopes::Scopes;
use crate::image::Digest;

/// Up to this size a blob is sent in one request, in bytes: less than a lost one costs in time.
const MONOLITHIC: u64 = 4 * 1024 * 1024;

/// The pieces for a registry that takes no larger ones, in bytes.
const SMALL_PIECE: u64 = 4 * 1024 * 1024;

/// In which a registry says how small a piece may be.
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came to be in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobPush {
    /// It was there.
    Existed,
    /// The registry has it from another of its repositories; no byte was sent.
    Mounted,
    /// It was sent.
    Uploaded {
        /// How many bytes the registry took.
        bytes: u64,
    },
}

/// An upload that a registry has begun.
pub(super) struct Session {
    url: Url,
    /// The smallest piece that it takes, but for the last.
    min_length: u64,
}

/// How far an upload is.
struct Progress<'a> {
    path: &'a str,
    blob: &'a Blob,
    session: Option<Session>,
    /// How many bytes the session has.
    offset: u64,
    /// How many bytes any session ever had.
    furthest: u64,
    /// The largest piece that is sent at once.
    piece: u64,
}

/// What became of one request of an upload.
enum Step {
    Done,
    /// The session has more than before.
    Further,
    /// Nothing was achieved; it may be the next time.
    Failed(RegistryErrorKind),
    /// The session is gone.
    Lost(RegistryErrorKind),
}

impl Host {
    /// Brings a blob into a repository, from others of the same registry where they have it.
    pub(super) async fn push_blob(
        &self,
        path: &str,
        blob: &Blob,
        from: &[String],
    ) -> Result<BlobPush, RegistryErrorKind> {
        if self.holds(path, blob).await? {
            return Ok(BlobPush::Existed);
        }
        let mut session = None;
        for other in from.iter().filter(|other| *other != path) {
            match self.mount(path, blob.digest(), other).await? {
                Mount::Mounted => return Ok(BlobPush::Mounted),
                Mount::Began(begun) => {
                    session = Some(begun);
                    break;
                }
                Mount::Refused => {}
            }
        }
        let (offset, furthest, piece) = (0, 0, u64::MAX);
        let mut progress = Progress { path, blob, session, offset, furthest, piece };
        self.upload(&mut progress).await?;
        Ok(BlobPush::Uploaded { bytes: blob.size() })
    }

    /// Takes a blob from the repository `other`, if the registry does that; no byte is sent.
    pub(super) async fn mount_only(
        &self,
        path: &str,
        digest: &Digest,
        other: &str,
    ) -> Result<bool, RegistryErrorKind> {
        match self.mount(path, digest, other).await? {
            Mount::Mounted => Ok(true),
            Mount::Refused => Ok(false),
            Mount::Began(session) => {
                self.cancel(path, session).await;
                Ok(false)
            }
        }
    }

    /// Asks the registry to take a blob from its repository `other`.
    async fn mount(
        &self,
        path: &str,
        digest: &Digest,
        other: &str,
    ) -> Result<Mount, RegistryErrorKind> {
        let mut url = self.url(&format!("{path}/blobs/uploads/"));
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", other);
        let scopes = Scopes::push(path).and(&Scopes::pull(other).texts());
        let call = Call::new(Method::POST, url, scopes);
        let reply = match self.send(&call).await {
            Ok(reply) => reply,
            // A token server that gives no token for both repositories gives one for ours.
            Err(failure) if failure.is_denied() => return Ok(Mount::Refused),
            Err(failure) => return Err(failure),
        };
        Ok(match reply.status.as_u16() {
            201 => {
                self.compare(&reply, digest)?;
                Mount::Mounted
            }
            202 => match self.session(&call.url, &reply)? {
                Some(session) => Mount::Began(session),
                None => Mount::Refused,
            },
            _ => Mount::Refused,
        })
    }

    async fn upload(&self, progress: &mut Progress<'_>) -> Result<(), RegistryErrorKind> {
        let mut attempts = Attempts::new(&self.retry, &self.gate);
        loop {
            match self.step(progress).await? {
                Step::Done => return Ok(()),
                Step::Further => {
                    // Only what no session had before is an achievement: an upload that breaks
                    // at the same byte in every session must end.
                    if progress.offset > progress.furthest {
                        progress.furthest = progress.offset;
                        attempts.start_over();
                    }
                }
                Step::Failed(failure) => {
                    let may_be_done = failure.may_be_done();
                    let outcome = attempts.after(failure).await;
                    if may_be_done && self.holds(progress.path, progress.blob).await? {
                        return Ok(());
                    }
                    outcome?;
                    self.resume(progress).await?;
                }
                Step::Lost(failure) => {
                    // It may be gone because it is done, and only the answer lost.
                    if self.holds(progress.path, progress.blob).await? {
                        return Ok(());
                    }
                    attempts.after(failure).await?;
                    progress.session = None;
                }
            }
        }
    }

    /// Sends the next request of an upload.
    async fn step(&self, progress: &mut Progress<'_>) -> Result<Step, RegistryErrorKind> {
        let Some(session) = &progress.session else {
            progress.session = Some(self.begin(progress.path).await?);
            progress.offset = 0;
            return Ok(Step::Further);
        };
        let size = progress.blob.size();
        if progress.offset == size || (progress.offset == 0 && size <= MONOLITHIC) {
            return self.finish(progress, session.url.clone()).await;
        }
        let url = session.url.clone();
        let end = size.min(progress.offset.saturating_add(progress.piece.max(session.min_length)));
        self.send_piece(progress, url, end).await
    }

    /// Begins an upload.
    async fn begin(&self, path: &str) -> Result<Session, RegistryErrorKind> {
        let url = self.url(&format!("{path}/blobs/uploads/"));
        let call = Call::new(Method::POST, url, Scopes::push(path));
        let reply = self.send(&call).await?;
        match reply.status.as_u16() {
            202 => {}
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let session = self.session(&call.url, &reply)?;
        session.ok_or_else(|| self.unexpected("upload", "it has no `Location`"))
    }

    /// Sends what is left, all in one, and names the digest.
    async fn finish(
        &self,
        progress: &mut Progress<'_>,
        mut url: Url,
    ) -> Result<Step, RegistryErrorKind> {
        let digest = progress.blob.digest();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let (from, to) = (progress.offset, progress.blob.size());
        let call = Call::new(Method::PUT, url, Scopes::push(progress.path))
            .header(CONTENT_TYPE, "application/octet-stream")
            .payload(match from == to {
                true => Payload::Empty,
                false => Payload::Part { blob: progress.blob.clone(), from, to },
            });
        let reply = match self.attempt(&call).await {
            Ok(reply) => reply,
            Err(failure) if failure.is_transient() => return Ok(Step::Failed(failure.into())),
            Err(failure) => return Err(failure.into()),
        };
        match reply.status.as_u16() {
            200..=299 => self.compare(&reply, digest).map(|()| Step::Done),
            404 => Ok(Step::Lost(self.lost(&call, &reply))),
            _ => Err(self.refusal(&call.scopes, &reply)),
        }
    }

    /// Sends a piece of a blob, to `end`.
    async fn send_piece(
        &self,
        progress: &mut Progress<'_>,
        url: Url,
        end: u64,
    ) -> Result<Step, RegistryErrorKind> {
        let from = progress.offset;
        let mut call = Call::new(Method::PATCH, url, Scopes::push(progress.path))
            .header(CONTENT_TYPE, "application/octet-stream")
            .payload(Payload::Part { blob: progress.blob.clone(), from, to: end });
        // A blob in one piece goes without, as Docker sends it: registries that take no pieces
        // know it by that.
        if from > 0 || end < progress.blob.size() {
            call = call.header(CONTENT_RANGE, &format!("{from}-{}", end - 1));
        }
        let reply = match self.attempt(&call).await {
            Ok(reply) => reply,
            Err(failure) if failure.is_transient() => return Ok(Step::Failed(failure.into())),
            Err(failure) => return Err(failure.into()),
        };
        match reply.status.as_u16() {
            200..=299 => {}
            404 => return Ok(Step::Lost(self.lost(&call, &reply))),
            413 if progress.piece > SMALL_PIECE => {
                progress.piece = SMALL_PIECE;
                self.resume(progress).await?;
                return Ok(Step::Further);
            }
            // It has another offset than we think, and will say which.
            416 => {
                let problem = format!("it does not take the bytes from {from} on");
                return Ok(Step::Failed(self.broken(&call, problem)));
            }
            _ => return Err(self.refusal(&call.scopes, &reply)),
        }
        let has = offset(&reply.headers).unwrap_or(end);
        if has <= from || has > end {
            return Err(self.stuck(end, has));
        }
        self.follow(progress, &call.url, &reply)?;
        progress.offset = has;
        Ok(Step::Further)
    }

    /// Asks the registry how far an upload is; without an answer to that there is no session
    /// any more.
    async fn resume(&self, progress: &mut Progress<'_>) -> Result<(), RegistryErrorKind> {
        let Some(session) = progress.session.take() else {
            return Ok(());
        };
        // What was sent in one piece is sent in one piece again.
        if progress.blob.size() <= MONOLITHIC {
            return Ok(());
        }
        let call = Call::new(Method::GET, session.url.clone(), Scopes::push(progress.path));
        let Ok(reply) = self.send(&call).await else {
            return Ok(());
        };
        // `0-0` is what some say for nothing, and others for one byte.
        let has = offset(&reply.headers).filter(|has| *has > 1 && *has <= progress.blob.size());
        if let (true, Some(has)) = (reply.status.is_success(), has) {
            progress.session = Some(session);
            progress.offset = has;
            self.follow(progress, &call.url, &reply)?;
        }
        Ok(())
    }

    /// Takes note of where a session goes on.
    fn follow(
        &self,
        progress: &mut Progress<'_>,
        asked: &Url,
        reply: &Reply,
    ) -> Result<(), RegistryErrorKind> {
        if let Some(next) = self.session(asked, reply)? {
            let known = progress.session.as_ref().map_or(0, |session| session.min_length);
            let min_length = known.max(next.min_length);
            progress.session = Some(Session { min_length, ..next });
        }
        Ok(())
    }

    /// The upload that an answer names, if it does.
    pub(super) fn session(
        &self,
        asked: &Url,
        reply: &Reply,
    ) -> Result<Option<Session>, RegistryErrorKind> {
        if !reply.headers.contains_key(LOCATION) {
            return Ok(None);
        }
        let url = location(asked, &reply.headers);
        let url = url.ok_or_else(|| self.unexpected("upload", "its `Location` is no URL"))?;
        let said = reply.header(&MIN_LENGTH).and_then(|length| length.parse().ok());
        Ok(Some(Session { url, min_length: said.unwrap_or(0) }))
    }

    /// Cancels an upload, as far as the registry cares.
    pub(super) async fn cancel(&self, path: &str, session: Session) {
        let call = Call::new(Method::DELETE, session.url, Scopes::push(path));
        // Uploads that nobody goes on with end by themselves.
        let _too_late = self.attempt(&call).await;
    }

    fn lost(&self, call: &Call, reply: &Reply) -> RegistryErrorKind {
        self.broken(call, format!("the upload is gone{}", reply.problem()))
    }

    /// What is as good as a broken connection.
    fn broken(&self, call: &Call, problem: String) -> RegistryErrorKind {
        let host = self.shown(&call.url);
        RegistryErrorKind::Unreachable { host, problem, transient: true }
    }

    fn stuck(&self, sent: u64, has: u64) -> RegistryErrorKind {
        RegistryErrorKind::Stuck { host: self.name.clone(), sent, has }
    }
}

/// What became of a mount.
enum Mount {
    Mounted,
    /// The registry wants the bytes, and began an upload for them.
    Began(Session),
    Refused,
}

/// How many bytes a registry has: `Range: 0-9` is ten. Some write `bytes=0-9`.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?.trim();
    let (first, last) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    if first.trim() != "0" {
        return None;
    }
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_range_says_how_many_bytes_there_are() {
        let has = |text| offset(&HeaderMap::from_iter([(RANGE, HeaderValue::from_static(text))]));
        assert_eq!(has("0-9"), Some(10));
        assert_eq!(has("bytes=0-9"), Some(10));
        assert_eq!(has("5-9"), None);
        assert_eq!(has("0-18446744073709551615"), None);
        assert_eq!(has("nonsense"), None);
    }
}
