//! A plan with the inputs of its images: build contexts, base images, fingerprints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::contracts;
use crate::engine::{BuildJob, ConnectedEngine, EngineError, ParentImage};
use crate::error::{Report, one_line};
use crate::image::{Digest, Platform, Reference, Tag};
use crate::matrix::SourceError;
use crate::plan::{
    Fingerprint, GpuFacts, Graph, Inputs, Lock, NameError, OwnImage, Plan, own_images,
};
use crate::publish::{PinnedImage, PublishError};
use crate::registry::{Credentials, Registries, RetryPolicy};
use crate::render::{
    BuildContext, Pins, Renderer, UnusedContents, Unverified, familiar, unused_contents,
};

use super::registries;

/// A plan and the inputs of each of its targets, and of the other images of the matrix that these are based on.
pub struct Recipe<'a> {
    pub plan: &'a Plan<'a>,
    /// The images in the order of the contexts and inputs: the targets of the plan, then those below them.
    pub graph: Graph<'a>,
    pub contexts: Vec<BuildContext>,
    pub inputs: Vec<Inputs>,
    /// The CUDA libraries of each target; `None` if it has none.
    pub gpu: Vec<Option<GpuFacts>>,
    /// The files that contexts have left out; see [`Renderer::left_out`].
    pub left_out: BTreeSet<String>,
    unresolved: Vec<Unresolved>,
}

/// An upstream image whose digest could not be looked up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to resolve `{}`: {problem}", familiar(&image.canonical()))]
pub struct Unresolved {
    pub image: Reference,
    problem: String,
}

impl<'a> Recipe<'a> {
    /// Renders the targets of `plan`, with the pins of `basegen.lock`.
    pub fn new(plan: &'a Plan<'a>) -> Result<Self, Report> {
        let pins = Lock::read(plan.matrix)?.pins;
        let mut renderer = Renderer::new(plan.matrix)?.pinned(pins);
        let (graph, contexts) = Graph::render(plan, &mut renderer)?;
        renderer.check_arguments(&contexts)?;
        let recipe = Self::of(plan, graph, contexts)?;
        Ok(Self { left_out: renderer.left_out(), ..recipe })
    }

    /// Returns the recipe of a whole plan with contexts that were rendered for another version: templates contain no
    /// version.
    pub fn with_contexts(
        plan: &'a Plan<'a>,
        contexts: Vec<BuildContext>,
    ) -> Result<Self, SourceError> {
        Self::of(plan, Graph::new(plan, &contexts), contexts)
    }

    fn of(
        plan: &'a Plan<'a>,
        graph: Graph<'a>,
        contexts: Vec<BuildContext>,
    ) -> Result<Self, SourceError> {
        let targets = &*graph.targets;
        let mut gpu = GpuFacts::of_contexts(targets, &contexts)?;
        GpuFacts::require(plan.matrix, targets, &gpu)?;
        for (target, gpu) in targets.iter().zip(&mut gpu) {
            if let Some(gpu) = gpu {
                let settings = plan.matrix.settings(target.variant);
                let droppable = settings.last(|settings| settings.drop_sm.as_ref());
                gpu.droppable = droppable.cloned().unwrap_or_default();
            }
        }
        let inputs = Inputs::for_targets(targets, &contexts, &plan.matrix.build.secret_ids());
        let (left_out, unresolved) = (BTreeSet::new(), Vec::new());
        Ok(Self { plan, graph, contexts, inputs, gpu, left_out, unresolved })
    }

    /// Returns the base images that are not pinned, with the platforms that need them.
    #[must_use]
    pub fn unpinned(&self) -> BTreeMap<Reference, BTreeSet<Platform>> {
        let mut unpinned: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (target, context) in self.graph.targets.iter().zip(&self.contexts) {
            let upstreams = context.upstreams.iter().filter(|upstream| upstream.digest.is_none());
            for reference in upstreams.filter_map(|upstream| upstream.reference.clone()) {
                unpinned.entry(reference).or_default().extend(target.platforms.iter().cloned());
            }
        }
        unpinned
    }

    /// Looks up the digests of unpinned base images, once for all targets, so that all are built on the same image.
    /// Returns the images that cannot be resolved.
    pub async fn resolve(&mut self, registries: &Registries) -> Vec<Unresolved> {
        let images = self.unpinned();
        let answers = registries::digests(registries, images.keys()).await;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => Err("its registry does not have it".to_owned()),
            Err(error) => Err(one_line(&error)),
        });
        self.pin(images.into_keys().zip(answers))
    }

    /// Looks up the digests through the engine that builds: only the engine knows all of its mirrors.
    pub async fn resolve_with(
        &mut self,
        engine: &ConnectedEngine,
        credentials: &Arc<Credentials>,
    ) -> Vec<Unresolved> {
        let images = self.unpinned();
        let answers = engine.resolve(&images, credentials, RetryPolicy::default()).await;
        let answers = answers.into_iter().map(|answer| {
            answer.map_err(|error| match error {
                EngineError::Resolve { problem, .. } => problem,
                other => one_line(&other),
            })
        });
        self.pin(images.into_keys().zip(answers))
    }

    /// Returns a warning for each `ADD` source without a checksum or commit, with its place in a
    /// template.
    #[must_use]
    pub fn unverified(&self) -> BTreeSet<String> {
        let sources = self.contexts.iter().flat_map(|context| {
            context.unverified().into_iter().map(move |source| (context, source))
        });
        let warnings = sources.map(|(context, Unverified { url, is_git, line })| {
            let place = context.place(line);
            let (lacks, advice) = if is_git {
                ("does not name a commit", "`#COMMIT` with all digits")
            } else {
                ("has no checksum", "`--checksum=sha256:…`")
            };
            format!(
                "{place}: `ADD {url}` {lacks}: images with it are rebuilt on every run; add {advice}"
            )
        });
        warnings.collect()
    }

    /// Returns a warning for each published name of an image of the matrix in a Dockerfile.
    pub fn own_images(&self) -> Result<Vec<String>, NameError> {
        let variants = self.graph.targets.iter().map(|target| target.variant);
        let found = own_images(self.plan.matrix, variants.zip(&self.contexts))?;
        Ok(found.iter().map(OwnImage::warning).collect())
    }

    /// Returns a warning for each key of contents that no image has.
    #[must_use]
    pub fn unused_contents(&self) -> Vec<String> {
        let variants = self.graph.targets.iter().map(|target| target.variant);
        let found = unused_contents(self.plan.matrix, variants.zip(&self.contexts));
        found.iter().map(UnusedContents::warning).collect()
    }

    /// Pins the resolved images. Returns the others.
    fn pin(
        &mut self,
        answers: impl Iterator<Item = (Reference, Result<Digest, String>)>,
    ) -> Vec<Unresolved> {
        let (mut pins, mut unresolved) = (Pins::new(), Vec::new());
        for (image, answer) in answers {
            match answer {
                Ok(digest) => drop(pins.insert(image, digest)),
                Err(problem) => unresolved.push(Unresolved { image, problem }),
            }
        }
        for context in &mut self.contexts {
            context.pin(&pins);
        }
        self.inputs = Inputs::for_targets(
            &self.graph.targets,
            &self.contexts,
            &self.plan.matrix.build.secret_ids(),
        );
        self.unresolved.clone_from(&unresolved);
        unresolved
    }

    /// Renders each Dockerfile template of `plan` for one variant, all generated Dockerfiles, and those of variants that
    /// must support some GPUs, and checks that they do. If one is based on another image of the matrix, all are rendered
    /// to check the graph.
    pub fn check_templates(plan: &Plan<'_>) -> Result<(), Report> {
        let mut seen = BTreeSet::new();
        let mut targets = plan.targets.clone();
        targets.retain(|target| {
            let settings = plan.matrix.settings(target.variant);
            let required = settings.last(|settings| settings.require_sm.as_ref());
            let dockerfile = target.dockerfile.clone();
            dockerfile.is_none_or(|path| seen.insert(path)) || required.is_some()
        });
        let variants: Vec<_> = targets.iter().map(|target| target.variant).collect();
        let mut renderer = Renderer::new(plan.matrix)?;
        let contexts = renderer.render_all(&variants)?;
        let gpu = GpuFacts::of_contexts(&targets, &contexts)?;
        GpuFacts::require(plan.matrix, &targets, &gpu)?;
        if contexts.iter().any(|context| !context.parents.is_empty()) {
            Graph::render(plan, &mut renderer)?;
        }
        Ok(())
    }

    /// Refuses targets with unpinned inputs: jobs on several machines would build them differently.
    pub fn require_pins(&self) -> Result<(), PublishError> {
        let targets = self.graph.targets.iter().zip(&self.inputs);
        let unpinned = targets.filter(|(_, inputs)| inputs.fingerprint().is_none());
        let targets: Vec<String> = unpinned.map(|(target, _)| target.id().to_owned()).collect();
        if targets.is_empty() { Ok(()) } else { Err(PublishError::Unpinned { targets }) }
    }

    /// Returns the image that each target is a copy of; `None` for those that are built. Fails if such an image has no
    /// digest.
    pub fn mirrors(&self) -> Result<Vec<Option<PinnedImage>>, PublishError> {
        let rows = self.graph.targets.iter().zip(&self.contexts);
        let mirrors = rows.map(|(target, context)| {
            if !target.is_mirror {
                return Ok(None);
            }
            let image = context.upstreams.first().and_then(|image| {
                Some(PinnedImage { repository: image.repository()?, digest: image.digest.clone()? })
            });
            let unpinned = || PublishError::Unpinned { targets: vec![target.id().to_owned()] };
            image.ok_or_else(unpinned).map(Some)
        });
        mirrors.collect()
    }

    /// Returns for each target why it has no fingerprint; `None` if it has one.
    #[must_use]
    pub fn uncertainties(&self) -> Vec<Option<String>> {
        let rows = self.inputs.iter().zip(&self.contexts).enumerate();
        let reasons = rows.map(|(at, (inputs, context))| {
            if inputs.fingerprint().is_some() {
                return None;
            }
            let unresolved = self.unresolved.iter().find(|unresolved| {
                let mut upstreams = context.upstreams.iter();
                upstreams.any(|upstream| upstream.reference.as_ref() == Some(&unresolved.image))
            });
            if let Some(Unresolved { image, problem }) = unresolved {
                let image = familiar(&image.canonical()).to_owned();
                return Some(format!("the digest of its base `{image}` is unknown: {problem}"));
            }
            let mut added = context.unverified().into_iter();
            let added =
                added.next().map(|Unverified { url, .. }| format!("`ADD {url}` is not pinned"));
            let parents = self.graph.parents(at).iter();
            let mut parents = parents.filter(|at| self.inputs[**at].fingerprint().is_none());
            let parent = parents.next().map(|at| {
                format!(
                    "its base `{}` has inputs that are not pinned",
                    self.graph.targets[*at].id()
                )
            });
            Some(added.or(parent).unwrap_or_else(|| "its inputs are not pinned".to_owned()))
        });
        reasons.collect()
    }

    /// Returns the fingerprint of each target; `None` if an input is not pinned.
    pub fn fingerprints(&self) -> Vec<Option<Fingerprint>> {
        self.inputs.iter().map(Inputs::fingerprint).collect()
    }

    /// Returns the build jobs of the targets, and of the images that these are based on.
    #[must_use]
    pub fn jobs(&self) -> Vec<BuildJob> {
        let targets = &*self.graph.targets;
        let stagings: Vec<Tag> = self
            .fingerprints()
            .into_iter()
            .map(|fingerprint| fingerprint.map_or_else(random_tag, |known| known.staging_tag()))
            .collect();
        let all_parents = self.graph.all_parents();
        let rows = targets.iter().zip(&self.contexts).zip(&self.inputs).zip(&self.gpu);
        let jobs = rows.enumerate().map(|(at, (((target, context), inputs), gpu))| {
            let fingerprint = inputs.fingerprint();
            let parents = self.graph.parents(at).iter().zip(&context.parents);
            let parents = parents.map(|(at, named)| ParentImage {
                placeholder: named.placeholder(),
                target: named.id.clone(),
                repository: targets[*at].reference.repository.clone(),
                staging: stagings[*at].clone(),
                digest: None,
            });
            let mut labels = target.labels.clone();
            labels.extend(gpu.iter().flat_map(GpuFacts::labels));
            if let Some(fingerprint) = &fingerprint {
                labels.insert(Fingerprint::LABEL.to_owned(), fingerprint.to_string());
                labels.insert(Inputs::LABEL.to_owned(), inputs.label());
            }
            BuildJob {
                target: target.id().to_owned(),
                context: context.clone(),
                parents: parents.collect(),
                is_parent: all_parents.contains(&at),
                checks: contracts::checks(self.plan.matrix, target.variant),
                alias_commands: target.alias_commands.clone(),
                existing: None,
                platforms: target.platforms.to_vec(),
                labels,
                references: target.references().collect(),
                staging: stagings[at].clone(),
                compression: target.compression,
            }
        });
        jobs.collect()
    }
}

/// Returns a staging tag for an image without a fingerprint, which no later run looks for.
fn random_tag() -> Tag {
    let tag = format!("basegen-once-{}", hex::encode(rand::random::<[u8; 12]>()));
    tag.parse().expect("a tag can contain hexadecimal digits")
}
