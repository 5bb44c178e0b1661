//! A plan with all that its images are made of: contexts, upstream images, fingerprints.

use std::collections::BTreeSet;

use crate::engine::{BuildJob, Destination};
use crate::error::{Report, one_line};
use crate::image::{Reference, Tag};
use crate::plan::{Fingerprint, Inputs, Lock, Plan};
use crate::registry::Registries;
use crate::render::{BuildContext, Pins, Renderer};

use super::registries;

/// A plan and, for each of its targets, what makes it.
pub(super) struct Recipe<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) contexts: Vec<BuildContext>,
    pub(super) inputs: Vec<Inputs>,
}

impl<'a> Recipe<'a> {
    /// Renders the targets of `plan`, with upstream images pinned as `basegen.lock` says.
    pub(super) fn of(plan: &'a Plan<'a>) -> Result<Self, Report> {
        let variants: Vec<_> = plan.targets.iter().map(|target| target.variant).collect();
        let pins = Lock::of(plan.matrix)?.pins;
        let contexts = Renderer::new(plan.matrix)?.pinned(pins).render_all(&variants)?;
        let inputs = Inputs::of_all(&plan.targets, &contexts, &plan.matrix.build.secret_ids());
        Ok(Self { plan, contexts, inputs })
    }

    /// The upstream images that no lock pins.
    pub(super) fn unpinned(&self) -> BTreeSet<Reference> {
        let upstreams = self.contexts.iter().flat_map(|context| &context.upstreams);
        let unpinned = upstreams.filter(|upstream| upstream.digest.is_none());
        unpinned.filter_map(|upstream| upstream.reference.clone()).collect()
    }

    /// Looks up what no lock pins, once for all targets, so that no two of them are built on
    /// different images. Gives what could not be looked up, and why.
    pub(super) async fn resolve(&mut self, registries: &Registries) -> Vec<String> {
        let references = self.unpinned();
        let found = registries::digests(registries, &references).await;
        let (mut pins, mut problems) = (Pins::new(), Vec::new());
        for (reference, found) in references.iter().zip(found) {
            let problem = match found {
                Ok(Some(found)) => {
                    pins.insert(reference.clone(), found);
                    continue;
                }
                Ok(None) => "its registry does not have it".to_owned(),
                Err(error) => one_line(&error),
            };
            problems.push(format!("`{reference}` is not pinned: {problem}"));
        }
        for context in &mut self.contexts {
            context.pin(&pins);
        }
        self.inputs = Inputs::of_all(
            &self.plan.targets,
            &self.contexts,
            &self.plan.matrix.build.secret_ids(),
        );
        problems
    }

    /// What each target is made of, where that is certain.
    pub(super) fn fingerprints(&self) -> Vec<Option<Fingerprint>> {
        self.inputs.iter().map(Inputs::fingerprint).collect()
    }

    /// The targets, ready to be built for `destination`.
    pub(super) fn jobs(&self, destination: &Destination) -> Vec<BuildJob> {
        let mut after = match destination {
            Destination::Registry => self.plan.leaders(),
            Destination::Engine | Destination::OciLayout(_) => vec![Vec::new(); self.inputs.len()],
        };
        let rows = self.plan.targets.iter().zip(&self.contexts).zip(&self.inputs);
        let jobs = rows.enumerate().map(|(index, ((target, context), inputs))| {
            let fingerprint = inputs.fingerprint();
            let mut labels = target.labels.clone();
            if let Some(fingerprint) = &fingerprint {
                labels.insert(Fingerprint::LABEL.to_owned(), fingerprint.to_string());
                labels.insert(Inputs::LABEL.to_owned(), inputs.label());
            }
            BuildJob {
                target: target.id().to_owned(),
                context: context.clone(),
                checks: self.plan.matrix.checks(target.variant),
                platforms: target.platforms.to_vec(),
                labels,
                references: target.references().cloned().collect(),
                staging: fingerprint.map_or_else(once, |known| known.staging_tag()),
                compression: target.compression,
                after: std::mem::take(&mut after[index]),
            }
        });
        jobs.collect()
    }
}

/// A staging tag for an image that nobody will look for.
fn once() -> Tag {
    let tag = format!("basegen-once-{}", hex::encode(rand::random::<[u8; 12]>()));
    tag.parse().expect("hexadecimal digits can be in a tag")
}
