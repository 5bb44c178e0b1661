//! Request bodies, and the activity that keeps a request from timing out.

use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, Take};
use tokio::time::{Instant, sleep_until};
use tokio_util::io::ReaderStream;

use crate::image::Digest;

/// The largest piece of a body that is sent at once, in bytes.
const PIECE: usize = 256 * 1024;

/// Content with a digest, in memory or in a file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blob {
    digest: Digest,
    size: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    File { path: Arc<PathBuf>, offset: u64 },
}

impl Blob {
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Self { digest, size, content: Content::Bytes(bytes) }
    }

    /// `size` bytes of a file from `offset`, such as a blob in a tar of an OCI layout. The registry
    /// verifies the digest.
    #[must_use]
    pub fn from_file(path: PathBuf, offset: u64, digest: Digest, size: u64) -> Self {
        Self { digest, size, content: Content::File { path: Arc::new(path), offset } }
    }

    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A request body that can be sent repeatedly.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Empty,
    Bytes(Bytes),
    Blob(Blob),
}

impl Payload {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }

    /// Opens the body for one attempt. Every piece that is sent counts as activity.
    pub(super) async fn open(&self, activity: &Activity) -> io::Result<PayloadBody> {
        let source = match self {
            Self::Empty => Source::Bytes(Bytes::new()),
            Self::Bytes(bytes) | Self::Blob(Blob { content: Content::Bytes(bytes), .. }) => {
                Source::Bytes(bytes.clone())
            }
            Self::Blob(Blob { content: Content::File { path, offset }, size, .. }) => {
                let opened = Arc::clone(path);
                let open = move || fs_err::File::open(opened.as_path());
                let file = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
                if file.metadata()?.len() < offset + size {
                    let problem = format!("`{}` is too short", path.display());
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
                }
                let mut file = File::from_std(file.into_file());
                file.seek(SeekFrom::Start(*offset)).await?;
                Source::File(ReaderStream::with_capacity(file.take(*size), PIECE))
            }
        };
        Ok(PayloadBody { source, left: self.length(), activity: activity.clone() })
    }
}

/// A payload that is being sent.
pub(super) struct PayloadBody {
    source: Source,
    left: u64,
    activity: Activity,
}

enum Source {
    Bytes(Bytes),
    File(ReaderStream<Take<File>>),
}

impl Body for PayloadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut this.source {
            Source::Bytes(bytes) => bytes.split_to(bytes.len().min(PIECE)),
            Source::File(stream) => match ready!(Pin::new(stream).poll_next(context)) {
                Some(piece) => piece?,
                None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            },
        };
        this.left -= piece.len() as u64;
        this.activity.touch();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The time of a request's last activity.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once there has been no activity for `limit`.
    pub(super) async fn ceased(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let due = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn sent(blob: &Blob) -> io::Result<Bytes> {
        let body = Payload::Blob(blob.clone()).open(&Activity::new()).await?;
        Ok(body.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, b"..0123456789..").expect("written");
        let digest = Digest::of(b"0123456789");
        let blob = Blob::from_file(file.path().to_owned(), 2, digest, 10);
        assert_eq!(sent(&blob).await.expect("bytes"), "0123456789");
        assert_eq!(sent(&Blob::new("0123456789".into())).await.expect("bytes"), "0123456789");
        assert_eq!(sent(&Blob::new("".into())).await.expect("bytes"), "");
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let blob = Blob::from_file(file.path().to_owned(), 0, Digest::of(b"x"), 1);
        let error = sent(&blob).await.expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test(start_paused = true)]
    async fn inactivity_is_counted_from_the_last_activity() {
        let activity = Activity::new();
        let begun = Instant::now();
        let ceased = activity.ceased(Some(Duration::from_secs(10)));
        let live = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            activity.touch();
        };
        tokio::join!(ceased, live);
        assert_eq!(begun.elapsed().as_secs(), 18);
    }
}
