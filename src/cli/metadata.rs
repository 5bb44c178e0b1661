//! The outcome of a run as the content of `--metadata-file`.

use std::collections::HashMap;

use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Plan};
use crate::publish::{Metadata, SetMetadata, TargetMetadata};
use crate::report::Record;

/// The outcome of a run.
pub(super) struct RunOutcome<'a> {
    /// The result of each target.
    pub(super) record: &'a Record,
    /// The fingerprints of the targets, in plan order; empty if the run ended before they were known.
    pub(super) fingerprints: &'a [Option<Fingerprint>],
    /// Whether the images have their tags.
    pub(super) named: bool,
    /// Whether the images were only staged.
    pub(super) staged: bool,
    /// Whether images were rebuilt that were in the registry.
    pub(super) forced: bool,
    /// The release set, if the run wrote one.
    pub(super) set: Option<&'a (Reference, Digest)>,
}

impl RunOutcome<'_> {
    /// Returns true if all images of the matrix are published.
    pub(super) fn is_whole(&self, plan: &Plan<'_>) -> bool {
        let Record { failed, cancelled, .. } = self.record;
        plan.whole && self.named && failed.is_empty() && cancelled.is_empty()
    }

    /// Returns the content of the metadata file.
    pub(super) fn metadata(&self, plan: &Plan<'_>) -> Metadata {
        let record = self.record;
        let places: HashMap<&str, usize> =
            plan.targets.iter().zip(0..).map(|(target, at)| (target.id(), at)).collect();
        let image = |id: &str, digest: &Digest, references: &[Reference], kept, cached| {
            let at = places.get(id).copied();
            let references = if self.named { references } else { &[] };
            let image = TargetMetadata {
                digest: digest.clone(),
                references: references
                    .iter()
                    .map(|reference| (reference.to_string(), digest.clone()))
                    .collect(),
                cached,
                kept,
                fingerprint: at.and_then(|at| self.fingerprints.get(at).cloned().flatten()),
                platforms: at.map(|at| plan.targets[at].platforms.to_vec()).unwrap_or_default(),
                size: record.sizes.get(id).copied(),
            };
            (id.to_owned(), image)
        };
        let finished = record
            .finished
            .iter()
            .map(|row| image(&row.target, &row.digest, &row.references, false, row.cached));
        let kept = record.unchanged.iter().map(|row| {
            let staged = record.staged.get(&row.target).copied();
            let cached = staged.unwrap_or(true);
            image(&row.target, &row.digest, &row.references, staged.is_none(), cached)
        });
        Metadata {
            whole: self.is_whole(plan),
            staged: self.staged,
            forced: self.forced,
            targets: finished.chain(kept).collect(),
            failed: record.failed.iter().map(|failed| failed.target.clone()).collect(),
            cancelled: record.cancelled.iter().map(|(target, _)| target.clone()).collect(),
            set: self.set.map(|(reference, digest)| SetMetadata {
                reference: reference.clone(),
                digest: digest.clone(),
            }),
            ..Metadata::new(plan.version.as_ref().map(ToString::to_string))
        }
    }
}
