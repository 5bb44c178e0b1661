//! The door into a build that is open: through it, this side says what is solved and what of it
//! is exported.

use std::collections::HashMap;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{self, ReturnRequest, SolveRequest};
use bollard_buildkit_proto::pb::Definition;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// How calls say which build they belong to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// After how long an engine is asked again that does not know the build yet.
const PAUSE: Duration = Duration::from_millis(100);

/// What the Dockerfile frontend is asked to make.
#[derive(Clone)]
pub(super) struct DockerfileRequest {
    pub(super) attributes: HashMap<String, String>,
    pub(super) inputs: HashMap<String, Definition>,
}

/// An image all of whose steps have run. The engine holds what they made as long as the build is
/// open.
pub(super) struct Solved(frontend::Result);

/// One open build.
pub(super) struct Gateway {
    bridge: LlbBridgeClient<Channel>,
    build: MetadataValue<Ascii>,
}

impl Gateway {
    /// The gateway of the build `id`, which consists of letters and digits.
    pub(super) fn new(channel: Channel, id: &str) -> Self {
        let bridge = LlbBridgeClient::new(channel).max_decoding_message_size(super::MAX_MESSAGE);
        Self { bridge, build: id.parse().expect("letters and digits") }
    }

    /// Runs all steps of an image that have not run yet.
    pub(super) async fn solve(&mut self, wanted: &DockerfileRequest) -> Result<Solved, Status> {
        let request = SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: wanted.attributes.clone(),
            frontend_inputs: wanted.inputs.clone(),
            allow_result_return: true,
            allow_result_array_ref: true,
            evaluate: true,
            ..SolveRequest::default()
        };
        loop {
            match self.bridge.solve(self.of_this_build(request.clone())).await {
                Ok(response) => {
                    let result = response.into_inner().result;
                    let result = result.ok_or_else(|| Status::internal("a solve without result"));
                    return result.map(Solved);
                }
                // A busy engine opens a build late; it has waited three seconds for it already.
                Err(status) if is_not_open(&status) => tokio::time::sleep(PAUSE).await,
                Err(status) => return Err(status),
            }
        }
    }

    /// Ends the build with `image`, which is exported now.
    pub(super) async fn export(&mut self, image: Solved) -> Result<(), Status> {
        let request = ReturnRequest { result: Some(image.0), error: None };
        self.bridge.r#return(self.of_this_build(request)).await.map(drop)
    }

    fn of_this_build<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(BUILD_ID, self.build.clone());
        request
    }
}

/// Whether the engine does not know the build, yet or any more.
fn is_not_open(status: &Status) -> bool {
    status.message().contains("no such job")
}
