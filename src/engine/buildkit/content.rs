//! Reads manifests from the engine's content store.
//!
//! `BuildKit` serves containerd's content service read-only, with the messages of [content.proto][proto].
//! The engine keeps exported content for a while.
//!
//! [proto]: https://github.com/containerd/containerd/blob/main/api/services/content/v1/content.proto

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::image::Digest;

const READ: &str = "/containerd.services.content.v1.Content/Read";

/// The maximum size of a manifest, in bytes. Registries must accept manifests up to this size.
const MAX_MANIFEST: usize = 4 << 20;

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ReadResponse {
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

/// Returns the manifest `digest`, or `None` if the engine does not provide it.
pub(super) async fn read(channel: Channel, digest: &Digest) -> Option<Bytes> {
    let bytes = stream(channel, digest).await.ok()?;
    (Digest::of(&bytes) == *digest).then(|| bytes.into())
}

async fn stream(channel: Channel, digest: &Digest) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MANIFEST);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(ReadRequest { digest: digest.to_string() });
    let codec = ProstCodec::<ReadRequest, ReadResponse>::default();
    let path = PathAndQuery::from_static(READ);
    let mut parts = client.server_streaming(request, path, codec).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        bytes.extend_from_slice(&part.data);
        if bytes.len() > MAX_MANIFEST {
            return Err(Status::out_of_range("the content is too large for a manifest"));
        }
    }
    Ok(bytes)
}
