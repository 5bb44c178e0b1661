//! The client side of an open build.
//!
//! `BuildKit` lets a client act as the frontend of its build: [`Gateway`] solves Dockerfiles in it, looks up
//! images, and finally returns the result to export.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::result::Result as Refs;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    self, FileRange, ReadFileRequest, Ref, ResolveImageConfigRequest, ResolveSourceImageRequest,
    ResolveSourceMetaRequest, ReturnRequest, SolveRequest,
};
use bollard_buildkit_proto::pb::{Definition, Platform as PlatformMessage, SourceOp};
use serde::{Deserialize, Serialize};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::image::{Platform, Reference};

/// The metadata key that assigns a call to a build.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// The interval between calls to an engine that has not opened the build yet.
const PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of bytes that are read of a file.
const MAX_READ: i64 = 4096;

/// The mode that looks an image up in its registry even if the engine has it.
const FROM_REGISTRY: &str = "pull";

/// The key of a result's metadata with its platforms.
///
/// Reference: <https://github.com/moby/buildkit/blob/master/exporter/containerimage/exptypes/types.go>
const PLATFORMS: &str = "refs.platforms";

/// The platforms of a result.
#[derive(Serialize, Deserialize)]
struct Platforms {
    #[serde(rename = "Platforms")]
    platforms: Vec<serde_json::Value>,
}

/// A request to the Dockerfile frontend.
#[derive(Clone)]
pub(super) struct DockerfileRequest {
    pub(super) attributes: HashMap<String, String>,
    pub(super) inputs: HashMap<String, Definition>,
}

/// An image whose steps have all run. The engine keeps their results while the build is open.
pub(super) struct Solved {
    result: frontend::Result,
    /// The operations that produced the image, encoded.
    operations: Vec<Vec<u8>>,
}

type Bridge = LlbBridgeClient<Channel>;

/// The client of one open build.
pub(super) struct Gateway {
    bridge: Bridge,
    build: MetadataValue<Ascii>,
}

impl Solved {
    fn new(mut result: frontend::Result) -> Self {
        let mut operations = Vec::new();
        for image in images(&mut result) {
            // Removed from the result: definitions contain the context, and an export does not need them.
            let mut definition = image.def.take().unwrap_or_default();
            // The last operation only refers to the result.
            definition.def.pop();
            operations.extend(definition.def);
        }
        Self { result, operations }
    }

    /// Joins the images of several platforms, each solved as a part of one multi-platform image.
    pub(super) fn joined(all: Vec<Self>) -> Result<Self, Status> {
        let malformed = |_| Status::internal("a result without platforms");
        let (mut refs, mut metadata) = (HashMap::new(), HashMap::new());
        let (mut platforms, mut operations) = (Vec::new(), Vec::new());
        for Self { result, operations: own } in all {
            operations.extend(own);
            if let Some(Refs::Refs(several)) = result.result {
                refs.extend(several.refs);
            }
            let listed = result.metadata.get(PLATFORMS).map(Vec::as_slice).unwrap_or_default();
            let listed: Platforms = serde_json::from_slice(listed).map_err(malformed)?;
            platforms.extend(listed.platforms);
            metadata.extend(result.metadata);
        }
        let listed = serde_json::to_vec(&Platforms { platforms }).expect("platforms are JSON");
        metadata.insert(PLATFORMS.to_owned(), listed);
        let refs = Some(Refs::Refs(frontend::RefMap { refs }));
        Ok(Self {
            result: frontend::Result { result: refs, metadata, ..Default::default() },
            operations,
        })
    }

    /// Returns the ids of the results of all platforms.
    fn ids(&self) -> Vec<String> {
        match &self.result.result {
            Some(Refs::Ref(one)) => vec![one.id.clone()],
            Some(Refs::Refs(several)) => several.refs.values().map(|one| one.id.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns true if this result includes all operations of `image`.
    pub(super) fn contains(&self, image: &Self) -> bool {
        let own: HashSet<&Vec<u8>> = self.operations.iter().collect();
        image.operations.iter().all(|operation| own.contains(operation))
    }
}

/// Returns the image of each platform in `result`.
fn images(result: &mut frontend::Result) -> impl Iterator<Item = &mut Ref> {
    let (one, several) = match &mut result.result {
        Some(Refs::Ref(one)) => (Some(one), None),
        Some(Refs::Refs(several)) => (None, Some(several.refs.values_mut())),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten())
}

impl Gateway {
    /// Returns the gateway of the build `id`. The id consists of letters and digits.
    pub(super) fn new(channel: Channel, id: &str) -> Self {
        let bridge = LlbBridgeClient::new(channel).max_decoding_message_size(super::MAX_MESSAGE);
        Self { bridge, build: id.parse().expect("letters and digits") }
    }

    /// Runs the steps of an image that have not run yet. Platforms are solved one after another.
    pub(super) async fn solve(&self, wanted: &DockerfileRequest) -> Result<Solved, Status> {
        self.frontend(wanted, true).await.map(Solved::new)
    }

    async fn frontend(
        &self,
        wanted: &DockerfileRequest,
        evaluate: bool,
    ) -> Result<frontend::Result, Status> {
        let request = SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: wanted.attributes.clone(),
            frontend_inputs: wanted.inputs.clone(),
            allow_result_return: true,
            allow_result_array_ref: true,
            evaluate,
            ..SolveRequest::default()
        };
        let call = |mut bridge: Bridge, request| async move { bridge.solve(request).await };
        let result = self.call_when_open(&request, call).await?.result;
        result.ok_or_else(|| Status::internal("a solve without result"))
    }

    /// Returns the operations that create an image, for each of its platforms, and runs none of them.
    pub(super) async fn definitions(
        &self,
        wanted: &DockerfileRequest,
    ) -> Result<Vec<Definition>, Status> {
        let mut result = self.frontend(wanted, false).await?;
        Ok(images(&mut result).filter_map(|image| image.def.take()).collect())
    }

    /// Looks up the digest of `image` in its registry: that of the index, or of the manifest if there is
    /// no index. Some engines also read the image's configuration and need a `platform` of the image;
    /// `None` is the engine's own platform.
    pub(super) async fn resolve(
        &self,
        image: &Reference,
        platform: Option<&Platform>,
    ) -> Result<String, Status> {
        let request = ResolveSourceMetaRequest {
            source: Some(SourceOp {
                identifier: format!("docker-image://{}", image.canonical()),
                ..SourceOp::default()
            }),
            platform: platform.map(message),
            log_name: format!("[internal] resolve {image}"),
            resolve_mode: FROM_REGISTRY.to_owned(),
            image: Some(ResolveSourceImageRequest { no_config: true, ..Default::default() }),
            ..ResolveSourceMetaRequest::default()
        };
        let call =
            |mut bridge: Bridge, request| async move { bridge.resolve_source_meta(request).await };
        match self.call_when_open(&request, call).await {
            Ok(response) => Ok(response.image.unwrap_or_default().digest),
            // BuildKit before 0.13 has only the older call.
            Err(status) if status.code() == Code::Unimplemented => {
                self.resolve_config(image, platform).await
            }
            Err(status) => Err(status),
        }
    }

    /// Looks up the digest of `image` with the call of `BuildKit` before 0.13.
    async fn resolve_config(
        &self,
        image: &Reference,
        platform: Option<&Platform>,
    ) -> Result<String, Status> {
        let request = ResolveImageConfigRequest {
            r#ref: image.canonical(),
            platform: platform.map(message),
            log_name: format!("[internal] resolve {image}"),
            resolve_mode: FROM_REGISTRY.to_owned(),
            ..ResolveImageConfigRequest::default()
        };
        let call =
            |mut bridge: Bridge, request| async move { bridge.resolve_image_config(request).await };
        Ok(self.call_when_open(&request, call).await?.digest)
    }

    /// Reads the beginning of a file in `image`, once for each platform.
    pub(super) async fn read(&self, image: &Solved, path: &str) -> Result<Vec<Vec<u8>>, Status> {
        let mut contents = Vec::new();
        for id in image.ids() {
            let request = ReadFileRequest {
                r#ref: id,
                file_path: path.to_owned(),
                range: Some(FileRange { offset: 0, length: MAX_READ }),
                ..ReadFileRequest::default()
            };
            let response = self.bridge.clone().read_file(self.request(request)).await?;
            contents.push(response.into_inner().data);
        }
        Ok(contents)
    }

    /// Ends the build with `image` and starts its export.
    pub(super) async fn export(&self, image: Solved) -> Result<(), Status> {
        let request = ReturnRequest { result: Some(image.result), error: None };
        self.bridge.clone().r#return(self.request(request)).await.map(drop)
    }

    /// Repeats a call until the build is open, and returns the response.
    async fn call_when_open<M: Clone, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        message: &M,
        call: impl Fn(Bridge, Request<M>) -> F,
    ) -> Result<T, Status> {
        loop {
            match call(self.bridge.clone(), self.request(message.clone())).await {
                // A busy engine opens builds late. It has already waited three seconds for this one.
                Err(status) if is_unknown_build(status.message()) => {
                    tokio::time::sleep(PAUSE).await;
                }
                response => return response.map(Response::into_inner),
            }
        }
    }

    /// Returns a request to the build.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(BUILD_ID, self.build.clone());
        request
    }
}

fn message(platform: &Platform) -> PlatformMessage {
    PlatformMessage {
        os: platform.os().to_owned(),
        architecture: platform.architecture().to_owned(),
        variant: platform.variant().unwrap_or_default().to_owned(),
        ..PlatformMessage::default()
    }
}

/// Returns true if the engine reports that it does not know a build, yet or any more.
pub(super) fn is_unknown_build(message: &str) -> bool {
    message.contains("no such job")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::moby::buildkit::v1::frontend::RefMap;

    fn image(operations: &[&str]) -> Ref {
        let operations = operations.iter().chain(&["the end"]);
        let def = operations.map(|operation| operation.as_bytes().to_vec()).collect();
        Ref { id: "id".to_owned(), def: Some(Definition { def, ..Definition::default() }) }
    }

    fn solved(refs: Refs) -> Solved {
        Solved::new(frontend::Result { result: Some(refs), ..frontend::Result::default() })
    }

    #[test]
    fn a_result_contains_the_image_that_it_is_based_on() {
        let result_of = |operations: &[&str]| solved(Refs::Ref(image(operations)));
        let checked = result_of(&["python@1", "apt", "check"]);
        assert!(checked.contains(&result_of(&["python@1", "apt"])));
        assert!(!checked.contains(&result_of(&["python@2", "apt"])));
    }

    #[test]
    fn all_platforms_are_compared_and_their_definitions_dropped() {
        let result_of = |arm: &str| {
            let refs = [("amd64", image(&["a"])), ("arm64", image(&[arm]))];
            let refs = refs.map(|(platform, image)| (platform.to_owned(), image)).into();
            solved(Refs::Refs(RefMap { refs }))
        };
        assert!(result_of("b").contains(&result_of("b")));
        assert!(!result_of("c").contains(&result_of("b")));
        let mut result = result_of("b").result;
        assert!(images(&mut result).all(|image| image.def.is_none() && image.id == "id"));
    }
}
