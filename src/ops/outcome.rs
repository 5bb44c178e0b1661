//! The outcome of a run, for other programs: the content of `--metadata-file` and the outputs of a step of GitHub Actions.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::GitHubStep;
use crate::error::{FileError, Report};
use crate::event::{Event, Events};
use crate::image::{Digest, Platform, Reference};
use crate::plan::{Fingerprint, Plan};
use crate::publish::{Metadata, SetMetadata, TargetMetadata};
use crate::report::{MAX_OUTPUTS, Outputs, Record};

/// The outcome of a run.
pub struct RunOutcome<'a> {
    pub plan: &'a Plan<'a>,
    /// The result of each target.
    pub record: &'a Record,
    /// The fingerprints of the targets, in plan order; empty if the run ended before they were known.
    pub fingerprints: &'a [Option<Fingerprint>],
    /// Whether the images have their tags.
    pub is_tagged: bool,
    /// Whether the images were only staged.
    pub staged: bool,
    /// The platform that images were staged for; `None` for all.
    pub platform: Option<&'a Platform>,
    /// Whether images were rebuilt that were in the registry.
    pub forced: bool,
    /// The release sets that the run wrote, one in each registry.
    pub sets: &'a [(Reference, Digest)],
}

impl RunOutcome<'_> {
    /// Returns true if all images of the matrix are published.
    fn is_whole(&self) -> bool {
        let Record { failed, cancelled, .. } = self.record;
        self.plan.whole && self.is_tagged && failed.is_empty() && cancelled.is_empty()
    }

    /// Returns the content of the metadata file.
    fn metadata(&self) -> Metadata {
        let Self { plan, record, .. } = self;
        let places: HashMap<&str, usize> =
            plan.targets.iter().zip(0..).map(|(target, at)| (target.id(), at)).collect();
        let mut sets = self.sets.iter().map(|(reference, digest)| SetMetadata {
            reference: reference.clone(),
            digest: digest.clone(),
        });
        let image = |id: &str, digest: &Digest, references: &[Reference], kept, cached| {
            let at = places.get(id).copied();
            let mut fingerprint = at.and_then(|at| self.fingerprints.get(at).cloned().flatten());
            let mut platforms =
                at.map(|at| plan.targets[at].platforms.to_vec()).unwrap_or_default();
            if let Some(platform) = self.platform.filter(|_| platforms.len() > 1) {
                fingerprint = fingerprint.map(|whole| whole.of_platform(platform));
                platforms = vec![platform.clone()];
            }
            let references = if self.is_tagged { references } else { &[] };
            let image = TargetMetadata {
                digest: digest.clone(),
                references: references
                    .iter()
                    .map(|reference| (reference.to_string(), digest.clone()))
                    .collect(),
                cached,
                kept,
                fingerprint,
                platforms,
                size: record.sizes.get(id).copied(),
            };
            (id.to_owned(), image)
        };
        // Images that those of the plan are based on belong to no release of the plan.
        let planned = record.finished.iter().filter(|row| places.contains_key(&*row.target));
        let finished =
            planned.map(|row| image(&row.target, &row.digest, &row.references, false, row.cached));
        let kept = record.unchanged.iter().map(|row| {
            let staged = record.staged.get(&row.target).copied();
            let cached = staged.unwrap_or(true);
            image(&row.target, &row.digest, &row.references, staged.is_none(), cached)
        });
        Metadata {
            schema: Metadata::SCHEMA,
            version: plan.version.as_ref().map(ToString::to_string),
            whole: self.is_whole(),
            staged: self.staged,
            forced: self.forced,
            targets: finished.chain(kept).collect(),
            failed: record.failed.iter().map(|failed| failed.target.clone()).collect(),
            cancelled: record.cancelled.iter().map(|(target, _)| target.clone()).collect(),
            set: sets.next(),
            other_sets: sets.collect(),
        }
    }

    /// Writes the metadata file and the outputs of the step.
    pub fn write(
        &self,
        metadata_file: Option<&Path>,
        step: Option<&GitHubStep>,
        events: &Events,
    ) -> Result<(), Report> {
        if let Some(path) = metadata_file {
            self.metadata().write(path)?;
        }
        if let Some(step) = step {
            self.write_outputs(step, events)?;
        }
        Ok(())
    }

    /// Sets the outputs `version`, `whole`, `set` and `images` of the step, if this is one. `images` is JSON with the
    /// digest and the tags of each variant. It is left empty, with a warning, if it is longer than GitHub accepts.
    fn write_outputs(&self, step: &GitHubStep, events: &Events) -> Result<(), FileError> {
        let Some(path) = step.output.as_ref().filter(|_| step.is_actions) else { return Ok(()) };
        let (outputs, problem) = self.outputs();
        if let Some(message) = problem {
            events.emit(&Event::Warning { target: None, message });
        }
        outputs.append(path).map_err(FileError::outputs)
    }

    /// Returns the outputs, and why one of them is empty.
    fn outputs(&self) -> (Outputs, Option<String>) {
        let set = self.sets.first().map(|(reference, digest)| format!("{reference}@{digest}"));
        let version = self.plan.version.as_ref().map(ToString::to_string);
        let outputs = Outputs::default()
            .with("version", version.unwrap_or_default())
            .with("whole", self.is_whole())
            .with("set", set.unwrap_or_default());
        let with_images = outputs.clone().with("images", self.images());
        let size = with_images.size();
        if size <= MAX_OUTPUTS {
            return (with_images, None);
        }
        let problem = format!(
            "the output `images` is left empty: it takes {size} bytes, and GitHub Actions takes \
             {MAX_OUTPUTS}; `--metadata-file` has them all"
        );
        (outputs.with("images", ""), Some(problem))
    }

    fn images(&self) -> Value {
        let images = self.record.images().map(|(id, digest, names)| (id, (digest, names)));
        let images: HashMap<_, _> = images.collect();
        let images = self.plan.targets.iter().filter_map(|target| {
            let (digest, references) = images.get(target.id())?;
            let references = if self.is_tagged { references } else { &[][..] };
            let image = json!({ "digest": digest, "references": references });
            Some((target.id().to_owned(), image))
        });
        Value::Object(images.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::Digest;
    use crate::matrix::{self, Selection};
    use crate::plan::PlanRequest;
    use crate::report::{Record, Unchanged};

    /// Returns the outputs of a release of so many variants.
    fn outputs_of(variants: usize) -> (Outputs, Option<String>) {
        let models: Vec<String> = (0..variants).map(|model| format!("\"model-{model}\"")).collect();
        let text = format!(
            "[image]\nrepository = \"acme/base\"\ndockerfile = \"Dockerfile.hbs\"\n\
             aliases = [\"{{{{variant}}}}\"]\nplatforms = [\"linux/amd64\"]\n\
             [axes]\nmodel = [{}]\n",
            models.join(", ")
        );
        let matrix = matrix::parse(Path::new("matrix.toml"), &text).expect("a matrix");
        let selected = matrix.select(&Selection::default()).expect("all");
        let request = PlanRequest { version: "v1".parse().ok(), ..PlanRequest::default() };
        let plan = Plan::new(&matrix, &selected, request).expect("a plan");
        let kept = plan.targets.iter().map(|target| Unchanged {
            target: target.id().to_owned(),
            digest: Digest::of(b"image"),
            references: target.references().collect(),
            checked: false,
        });
        let record = Record { unchanged: kept.collect(), ..Record::default() };
        let set = ("acme/base:basegen-release-v1".parse().expect("a name"), Digest::of(b"set"));
        let outcome = RunOutcome {
            plan: &plan,
            record: &record,
            fingerprints: &[],
            is_tagged: true,
            staged: false,
            platform: None,
            forced: false,
            sets: &[set],
        };
        outcome.outputs()
    }

    #[test]
    fn the_outputs_of_a_release_list_its_images() {
        let (outputs, problem) = outputs_of(2);
        assert_eq!(problem, None);
        insta::assert_snapshot!(outputs.to_string());
    }

    #[test]
    fn images_longer_than_github_accepts_are_left_out() {
        let (outputs, problem) = outputs_of(5_000);
        assert!(outputs.to_string().ends_with("\nimages=\n"));
        insta::assert_snapshot!(problem.expect("a problem"));
    }
}
