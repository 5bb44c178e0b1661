//! The requests of one attempt at a job.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::pb::Definition;
use futures_util::future::try_join_all;
use tonic::Status;

use super::context::SentContext;
use super::export::{self, Exporter};
use super::gateway::{DockerfileRequest, Gateway, Solved};
use super::linked::linked_layers;
use super::session::Session;
use super::solve;
use crate::engine::BuildJob;
use crate::event::Events;
use crate::image::Platform;
use crate::render::{BuildContext, NamedContext};
use crate::verify;

/// A part of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Image,
    /// The image with this label of printed aliases.
    Labelled(&'a str),
    /// The image and its checks.
    Checks,
    /// The image and the commands that print its aliases.
    Aliases,
}

/// The inputs of one attempt at a job.
pub(super) struct Attempt<'a> {
    pub(super) job: &'a BuildJob,
    pub(super) events: Events,
    pub(super) context: SentContext,
    /// The contexts of platforms that differ.
    pub(super) others: BTreeMap<&'a Platform, SentContext>,
    pub(super) session: Arc<Session>,
    pub(super) attributes: HashMap<String, String>,
}

impl Attempt<'_> {
    /// Returns the request for a part of the job on `platform`, or on all platforms, which then do not differ.
    fn request(&self, part: Part<'_>, platform: Option<&Platform>) -> DockerfileRequest {
        let context = platform.map_or(&self.job.context, |platform| self.job.context.on(platform));
        let BuildContext { dockerfile, options, .. } = context;
        let target = options.target.as_deref();
        let BuildJob { checks, alias_commands, .. } = self.job;
        let with_stage = match part {
            Part::Image | Part::Labelled(_) => None,
            Part::Checks => verify::with_checks(dockerfile, target, checks),
            Part::Aliases => verify::with_aliases(dockerfile, target, alias_commands),
        };
        let mut attributes = self.attributes.clone();
        if let Part::Labelled(label) = part {
            attributes.insert(format!("label:{}", BuildJob::ALIASES_LABEL), label.to_owned());
        }
        attributes.extend(arguments(&options.arguments));
        attributes.extend(options.contexts.iter().map(named_context));
        if let Some(platform) = platform {
            attributes.insert("platform".to_owned(), platform.to_string());
            // Makes the engine name the steps as in the multi-platform image.
            attributes.insert("multi-platform".to_owned(), "true".to_owned());
        }
        // The checks, or the commands, are the last stage.
        let target = target.filter(|_| with_stage.is_none());
        attributes.extend(target.map(|target| ("target".to_owned(), target.to_owned())));
        let sent = platform.and_then(|platform| self.others.get(platform));
        let dockerfile = with_stage.as_ref().unwrap_or(dockerfile);
        let inputs = sent.unwrap_or(&self.context).inputs(dockerfile);
        DockerfileRequest { attributes, inputs }
    }

    /// Runs the steps of a part of the job for all platforms concurrently.
    pub(super) async fn solve(&self, gateway: &Gateway, part: Part<'_>) -> Result<Solved, Status> {
        if self.job.platforms.len() > 1 {
            self.solve_each(gateway, part).await?;
        }
        self.finish(gateway, part).await
    }

    async fn solve_each(&self, gateway: &Gateway, part: Part<'_>) -> Result<Vec<Solved>, Status> {
        let each = self.job.platforms.iter().map(|platform| async move {
            gateway.solve(&self.request(part, Some(platform))).await
        });
        try_join_all(each).await
    }

    /// Returns a part of the job on all platforms, whose steps have run.
    pub(super) async fn finish(&self, gateway: &Gateway, part: Part<'_>) -> Result<Solved, Status> {
        if self.others.is_empty() {
            return gateway.solve(&self.request(part, None)).await;
        }
        Solved::joined(self.solve_each(gateway, part).await?)
    }

    /// Returns the request whose steps a lease keeps.
    pub(super) fn leased(&self) -> DockerfileRequest {
        // A Dockerfile of one platform may have no image on another.
        let platform = self.job.platforms.first().filter(|_| !self.others.is_empty());
        self.request(Part::Image, platform)
    }

    /// Returns the linked layers of the image on all platforms. None of their steps has to run.
    pub(super) async fn linked_layers(
        &self,
        gateway: &Gateway,
    ) -> Result<HashMap<String, Definition>, Status> {
        let platforms: Vec<Option<&Platform>> = if self.others.is_empty() {
            vec![None]
        } else {
            self.job.platforms.iter().map(Some).collect()
        };
        let images = platforms.into_iter().map(|platform| async move {
            gateway.definitions(&self.request(Part::Image, platform)).await
        });
        Ok(try_join_all(images).await?.iter().flatten().flat_map(linked_layers).collect())
    }

    /// Returns the request that exports `layer` alone.
    pub(super) fn layer(&self, layer: Definition) -> SolveRequest {
        let exporter = export::layer_exporter(self.job);
        SolveRequest {
            definition: Some(layer),
            ..solve::request(&self.session, HashMap::new(), exporter)
        }
    }

    /// Returns the request for a build that ends with `exporter`.
    pub(super) fn build(&self, exporter: Exporter) -> SolveRequest {
        solve::request(&self.session, self.attributes.clone(), exporter)
    }
}

/// Returns build arguments as attributes of a request.
pub(super) fn arguments(
    arguments: &BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> {
    arguments.iter().map(|(name, value)| (format!("build-arg:{name}"), value.clone()))
}

/// Returns a named context as an attribute of a request.
fn named_context((name, context): (&String, &NamedContext)) -> (String, String) {
    let source = match context {
        NamedContext::Files(_) => format!("input:{name}"),
        NamedContext::Image(image) => format!("docker-image://{}", image.pinned_name()),
    };
    (format!("context:{name}"), source)
}
