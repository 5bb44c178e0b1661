//! The door into a build that is open: through it, this side says what is solved and what of it
//! is exported.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::result::Result as Refs;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    self, Ref, ResolveImageConfigRequest, ResolveSourceImageRequest, ResolveSourceMetaRequest,
    ReturnRequest, SolveRequest,
};
use bollard_buildkit_proto::pb::{Definition, Platform as PlatformMessage, SourceOp};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::image::{Platform, Reference};

/// How calls say which build they belong to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// After how long an engine is asked again that does not know the build yet.
const PAUSE: Duration = Duration::from_millis(100);

/// The mode in which an image is looked up in its registry, whatever the engine has of it.
const FROM_REGISTRY: &str = "pull";

/// What the Dockerfile frontend is asked to make.
#[derive(Clone)]
pub(super) struct DockerfileRequest {
    pub(super) attributes: HashMap<String, String>,
    pub(super) inputs: HashMap<String, Definition>,
}

/// An image all of whose steps have run. The engine holds what they made as long as the build is
/// open.
pub(super) struct Solved {
    result: frontend::Result,
    /// The operations that made it.
    operations: Vec<Vec<u8>>,
}

/// One open build.
pub(super) struct Gateway {
    bridge: LlbBridgeClient<Channel>,
    build: MetadataValue<Ascii>,
}

impl Solved {
    fn new(mut result: frontend::Result) -> Self {
        let mut operations = Vec::new();
        for image in images(&mut result) {
            // Taken out, as they hold the context, and are not needed to name the image.
            let mut definition = image.def.take().unwrap_or_default();
            // The last does nothing but name the result.
            definition.def.pop();
            operations.extend(definition.def);
        }
        Self { result, operations }
    }

    /// Whether this was made by all that made `image`, and perhaps more.
    pub(super) fn contains(&self, image: &Self) -> bool {
        let own: HashSet<&Vec<u8>> = self.operations.iter().collect();
        image.operations.iter().all(|operation| own.contains(operation))
    }
}

/// The image of each platform in `result`.
fn images(result: &mut frontend::Result) -> impl Iterator<Item = &mut Ref> {
    let (one, several) = match &mut result.result {
        Some(Refs::Ref(one)) => (Some(one), None),
        Some(Refs::Refs(several)) => (None, Some(several.refs.values_mut())),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten())
}

impl Gateway {
    /// The gateway of the build `id`, which consists of letters and digits.
    pub(super) fn new(channel: Channel, id: &str) -> Self {
        let bridge = LlbBridgeClient::new(channel).max_decoding_message_size(super::MAX_MESSAGE);
        Self { bridge, build: id.parse().expect("letters and digits") }
    }

    /// Runs all steps of an image that have not run yet; of one for several platforms, those of
    /// one platform after those of another.
    pub(super) async fn solve(&self, wanted: &DockerfileRequest) -> Result<Solved, Status> {
        let request = SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: wanted.attributes.clone(),
            frontend_inputs: wanted.inputs.clone(),
            allow_result_return: true,
            allow_result_array_ref: true,
            evaluate: true,
            ..SolveRequest::default()
        };
        let answer = when_open(|| {
            let (mut bridge, request) = (self.bridge.clone(), self.of_this_build(request.clone()));
            async move { bridge.solve(request).await }
        });
        let result = answer.await?.into_inner().result;
        result.map(Solved::new).ok_or_else(|| Status::internal("a solve without result"))
    }

    /// Asks which digest `image` has for the engine: that of its index, or of its manifest where
    /// it has no index. Engines that read the image's configuration too want a `platform` that
    /// the image is for; `None` is the engine's own.
    ///
    /// The image that the engine itself has of that name does not count.
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
        let answer = when_open(|| {
            let (mut bridge, request) = (self.bridge.clone(), self.of_this_build(request.clone()));
            async move { bridge.resolve_source_meta(request).await }
        });
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().image.unwrap_or_default().digest),
            // BuildKit has this call since 0.13.
            Err(status) if status.code() == Code::Unimplemented => {
                self.resolve_config(image, platform).await
            }
            Err(status) => Err(status),
        }
    }

    /// The same by the older call.
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
        let answer = when_open(|| {
            let (mut bridge, request) = (self.bridge.clone(), self.of_this_build(request.clone()));
            async move { bridge.resolve_image_config(request).await }
        });
        Ok(answer.await?.into_inner().digest)
    }

    /// Ends the build with `image`, which is exported now.
    pub(super) async fn export(&self, image: Solved) -> Result<(), Status> {
        let request = ReturnRequest { result: Some(image.result), error: None };
        self.bridge.clone().r#return(self.of_this_build(request)).await.map(drop)
    }

    fn of_this_build<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(BUILD_ID, self.build.clone());
        request
    }
}

/// Repeats a call within a build until the build is open, and returns its answer.
async fn when_open<T, F: Future<Output = Result<T, Status>>>(
    call: impl Fn() -> F,
) -> Result<T, Status> {
    loop {
        match call().await {
            // A busy engine opens a build late; it has waited three seconds for it already.
            Err(status) if knows_no_build(status.message()) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
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

/// Whether an engine says that it does not know a build, yet or any more.
pub(super) fn knows_no_build(message: &str) -> bool {
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
    fn an_image_is_contained_in_what_was_made_from_it() {
        let made = |operations: &[&str]| solved(Refs::Ref(image(operations)));
        let checked = made(&["python@1", "apt", "check"]);
        assert!(checked.contains(&made(&["python@1", "apt"])));
        assert!(!checked.contains(&made(&["python@2", "apt"])));
    }

    #[test]
    fn each_platform_counts_and_contexts_are_not_sent_back() {
        let made = |arm: &str| {
            let refs = [("amd64", image(&["a"])), ("arm64", image(&[arm]))];
            let refs = refs.map(|(platform, image)| (platform.to_owned(), image)).into();
            solved(Refs::Refs(RefMap { refs }))
        };
        assert!(made("b").contains(&made("b")));
        assert!(!made("c").contains(&made("b")));
        let mut result = made("b").result;
        assert!(images(&mut result).all(|image| image.def.is_none() && image.id == "id"));
    }
}
