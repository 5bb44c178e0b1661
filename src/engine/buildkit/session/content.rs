//! containerd's content service, which receives the blobs of an OCI layout from the exporter, and sends them to builds
//! that are based on its images.
//!
//! The messages are those of [content.proto][proto], with only the fields in use.
//!
//! [proto]: https://github.com/containerd/containerd/blob/main/api/services/content/v1/content.proto

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::layout::{BlobWriter, OciLayout, Refusal, WRITE_ERROR};
use super::services::Messages;
use crate::image::Digest;

/// The methods of the service that exporters and builds use.
pub(super) const METHODS: [&str; 4] = [
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
    "/containerd.services.content.v1.Content/Abort",
];

/// The maximum size of a message, in bytes.
const MAX_MESSAGE: usize = 16 << 20;

/// The size of the messages that send a blob, in bytes.
const CHUNK: usize = 1 << 20;

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct InfoRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    info: Option<Info>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Info {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    size: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    /// The number of bytes; 0 for all.
    #[prost(int64, tag = "3")]
    size: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ReadResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    data: bytes::Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Action {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct WriteRequest {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    data: bytes::Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct WriteResponse {
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(int64, tag = "5")]
    total: i64,
    #[prost(string, tag = "6")]
    digest: String,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Empty {}

/// The service. `tonic` would generate this type from a `.proto` file.
#[derive(Clone)]
pub(super) struct ContentServer(pub(super) Arc<OciLayout>);

impl NamedService for ContentServer {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

impl tower::Service<http::Request<Body>> for ContentServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let layout = Arc::clone(&self.0);
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next();
            Ok(match method.unwrap_or_default() {
                "Info" => {
                    let info = |request: Request<InfoRequest>| {
                        ready(info(&layout, request.into_inner().digest))
                    };
                    grpc().unary(service_fn(info), request).await
                }
                "Read" => {
                    let read = |request: Request<ReadRequest>| {
                        read(Arc::clone(&layout), request.into_inner())
                    };
                    grpc().server_streaming(service_fn(read), request).await
                }
                "Write" => {
                    let mut grpc =
                        Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_MESSAGE);
                    grpc.streaming(
                        service_fn(|request| write(Arc::clone(&layout), request)),
                        request,
                    )
                    .await
                }
                "Abort" => grpc().unary(service_fn(abort), request).await,
                _ => Status::unimplemented("blobs can only be read and written").into_http(),
            })
        })
    }
}

fn grpc<Request, Response>() -> Grpc<ProstCodec<Response, Request>>
where
    Request: prost::Message + Default + Send + 'static,
    Response: prost::Message + Send + 'static,
{
    Grpc::new(ProstCodec::default())
}

/// Returns the size of a blob, or an error if the layout lacks it.
fn info(layout: &OciLayout, digest: String) -> Result<Response<InfoResponse>, Status> {
    let size = layout.size(&parse(&digest)?).ok_or_else(|| Status::not_found(digest.clone()))?;
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    Ok(Response::new(InfoResponse { info: Some(Info { digest, size }) }))
}

/// Sends a part of a blob as a stream of messages.
async fn read(
    layout: Arc<OciLayout>,
    request: ReadRequest,
) -> Result<Response<Messages<ReadResponse>>, Status> {
    let digest = parse(&request.digest)?;
    let number = |value: i64| u64::try_from(value).map_err(|_| Status::out_of_range("negative"));
    let (mut offset, size) = (number(request.offset)?, number(request.size)?);
    let mut blob = layout.read(&digest).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Status::not_found(request.digest.clone()),
        _ => disk(&error),
    })?;
    blob.seek(io::SeekFrom::Start(offset)).await.map_err(|error| disk(&error))?;
    let mut blob = blob.take(if size == 0 { u64::MAX } else { size });
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let mut data = Vec::with_capacity(CHUNK);
            let part = (&mut blob).take(CHUNK as u64).read_to_end(&mut data).await;
            let message = part.map_err(|error| disk(&error)).map(|_| ReadResponse {
                offset: i64::try_from(offset).unwrap_or(i64::MAX),
                data: data.into(),
            });
            let is_last = message.as_ref().is_ok_and(|message| message.data.is_empty());
            let length = message.as_ref().map_or(0, |message| message.data.len() as u64);
            let has_failed = message.is_err();
            // Sending fails after the build was cancelled.
            if is_last || sender.send(message).await.is_err() || has_failed {
                return;
            }
            offset += length;
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}

/// Receives one blob as a stream of messages.
fn write(
    layout: Arc<OciLayout>,
    request: Request<Streaming<WriteRequest>>,
) -> Ready<Result<Response<Messages<WriteResponse>>, Status>> {
    let (answers, receiver) = mpsc::channel(1);
    let requests = request.into_inner();
    tokio::spawn(async move {
        if let Err(status) = receive(&layout, requests, &answers).await {
            // Sending fails after the build was cancelled.
            let _ = answers.send(Err(status)).await;
        }
    });
    let answers: Messages<WriteResponse> = Box::pin(ReceiverStream::new(receiver));
    ready(Ok(Response::new(answers)))
}

/// Aborts a write. The end of its stream has already deleted the blob.
fn abort(_: Request<Empty>) -> Ready<Result<Response<Empty>, Status>> {
    ready(Ok(Response::new(Empty {})))
}

type Answers = mpsc::Sender<Result<WriteResponse, Status>>;

async fn receive(
    layout: &Arc<OciLayout>,
    mut requests: Streaming<WriteRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    let Some(first) = requests.next().await.transpose()? else {
        return Ok(());
    };
    let total = first.total;
    let mut writer = begin(layout, &first)?;
    let mut next = Some(first);
    while let Some(request) = next {
        let action = request.action();
        if !request.data.is_empty() {
            append(&mut writer, &request).await?;
        }
        let answer = WriteResponse {
            action: action.into(),
            offset: position(&writer),
            total,
            digest: writer.digest().to_string(),
        };
        if action == Action::Commit {
            writer.commit().await.map_err(|error| disk(&error))?;
            let _gone = answers.send(Ok(answer)).await;
            return Ok(());
        }
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
        next = requests.next().await.transpose()?;
    }
    Ok(())
}

fn begin(layout: &Arc<OciLayout>, first: &WriteRequest) -> Result<BlobWriter, Status> {
    let size = u64::try_from(first.total).ok().filter(|total| *total > 0);
    let writer = layout.begin(&parse(&first.expected)?, size);
    writer.map_err(|refusal| match refusal {
        Refusal::Exists => Status::already_exists(first.expected.clone()),
        // The engine retries a little later and finds the blob.
        Refusal::Busy => Status::unavailable(format!("{} is being written", first.expected)),
        Refusal::Io(error) => disk(&error),
    })
}

async fn append(writer: &mut BlobWriter, request: &WriteRequest) -> Result<(), Status> {
    if request.offset != position(writer) {
        return Err(Status::out_of_range("a blob must be written from start to end"));
    }
    writer.write(&request.data).await.map_err(|error| disk(&error))
}

fn position(writer: &BlobWriter) -> i64 {
    i64::try_from(writer.written()).unwrap_or(i64::MAX)
}

fn parse(digest: &str) -> Result<Digest, Status> {
    digest
        .parse()
        .map_err(|error: crate::image::DigestError| Status::invalid_argument(error.to_string()))
}

fn disk(error: &io::Error) -> Status {
    Status::internal(format!("{WRITE_ERROR}: {error}"))
}
