//! The variants of a matrix, with the fingerprints and tags that a run computes.

use std::path::Path;

use basegen::image::{Digest, Platform, Reference, Tag};
use basegen::matrix::{self, Selection};
use basegen::plan::{Fingerprint, Inputs, Lock, Plan, PlanRequest};
use basegen::render::Renderer;
use basegen::verify;

pub struct Variant {
    pub id: String,
    pub reference: Reference,
    pub fingerprint: Fingerprint,
    /// The value of the label [`Inputs::LABEL`].
    pub inputs: String,
    /// The digest of its checks, if it has any.
    pub checks: Option<Digest>,
    /// The staging tag and, if the variant has checks, the staging tag of the checked image.
    pub staging: Vec<Tag>,
    /// The concatenated contents of the files that it copies.
    pub files: String,
}

impl Variant {
    /// Returns the staging tags of its image for one platform of several.
    pub fn staging_for(&self, platform: &Platform) -> Vec<Tag> {
        self.fingerprint.of_platform(platform).staging_tags(self.checks.as_ref()).collect()
    }
}

/// Returns all variants of the matrix file, with tags for `version`. Their upstream images must be pinned.
pub fn variants(matrix: &Path, version: &str) -> Vec<Variant> {
    let matrix = matrix::load(matrix).expect("a matrix");
    let selected = matrix.select(&Selection::default()).expect("all of it");
    let request = PlanRequest { version: version.parse().ok(), ..PlanRequest::default() };
    let plan = Plan::new(&matrix, &selected, request).expect("a plan");
    let pins = Lock::read(&matrix).expect("a lock").pins;
    let mut renderer = Renderer::new(&matrix).expect("templates").pinned(pins);
    let contexts = renderer.render_all(&selected.variants).expect("contexts");
    let inputs = Inputs::for_targets(&plan.targets, &contexts, &matrix.build.secret_ids());
    let variants =
        plan.targets.iter().zip(inputs).zip(&contexts).map(|((target, inputs), context)| {
            let fingerprint = inputs.fingerprint().expect("upstream images are pinned");
            let checks = verify::digest(&basegen::contracts::checks(&matrix, target.variant));
            let files = context.files.iter().map(|file| String::from_utf8_lossy(&file.content));
            Variant {
                id: target.id().to_owned(),
                reference: target.reference.clone(),
                inputs: inputs.label(),
                staging: fingerprint.staging_tags(checks.as_ref()).collect(),
                checks,
                fingerprint,
                files: files.collect(),
            }
        });
    variants.collect()
}
