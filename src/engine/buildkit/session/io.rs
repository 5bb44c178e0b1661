//! Presents the message stream of a session as a byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tonic::Streaming;

/// The maximum size of a message, in bytes. gRPC servers refuse messages over 4 MiB.
const MAX_CHUNK: usize = 64 << 10;

/// The byte stream of a session.
pub(super) struct SessionIo {
    incoming: Streaming<BytesMessage>,
    unread: Bytes,
    outgoing: PollSender<BytesMessage>,
}

impl SessionIo {
    pub(super) fn new(
        incoming: Streaming<BytesMessage>,
        outgoing: mpsc::Sender<BytesMessage>,
    ) -> Self {
        Self { incoming, unread: Bytes::new(), outgoing: PollSender::new(outgoing) }
    }
}

impl AsyncRead for SessionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.incoming).poll_next(context)) {
                Some(Ok(message)) => self.unread = message.data.into(),
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SessionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.outgoing.poll_reserve(context)).map_err(closed)?;
        let length = bytes.len().min(MAX_CHUNK);
        let message = BytesMessage { data: bytes[..length].to_vec() };
        self.outgoing.send_item(message).map_err(closed)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
