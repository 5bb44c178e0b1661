//! What a release hands on to the steps after it, under GitHub Actions.

use serde_json::{Map, Value, json};

use crate::error::FileError;
use crate::event::{Event, Events};
use crate::plan::Plan;
use crate::report::{MAX_OUTPUTS, Outputs};

use super::metadata::RunOutcome;
use crate::ops::Context;

/// Sets the outputs `version`, `whole`, `set` and `images` of the step, where this is one.
/// `images` is JSON: for each variant its digest and the names that it has now; it is empty
/// where GitHub would not take it for its length, which is told to `events`.
pub(super) fn write(
    plan: &Plan<'_>,
    outcome: &RunOutcome<'_>,
    context: &Context,
    events: &Events,
) -> Result<(), FileError> {
    let path =
        context.settings.github.output.as_ref().filter(|_| context.settings.github.is_actions);
    let Some(path) = path else { return Ok(()) };
    let (outputs, problem) = outputs(plan, outcome);
    if let Some(message) = problem {
        events.emit(&Event::Warning { target: None, message });
    }
    outputs.append(path).map_err(FileError::outputs)
}

/// The outputs, and why one of them is empty.
fn outputs(plan: &Plan<'_>, outcome: &RunOutcome<'_>) -> (Outputs, Option<String>) {
    let set = outcome.set.map(|(reference, digest)| format!("{reference}@{digest}"));
    let outputs = Outputs::default()
        .with("version", plan.version.as_ref().map(ToString::to_string).unwrap_or_default())
        .with("whole", outcome.is_whole(plan))
        .with("set", set.unwrap_or_default());
    let with_images = outputs.clone().with("images", images(plan, outcome));
    match with_images.size() {
        size if size > MAX_OUTPUTS => {
            let problem = format!(
                "the output `images` is left empty: it takes {size} bytes, and GitHub Actions takes \
                 {MAX_OUTPUTS}; `--metadata-file` has them all"
            );
            (outputs.with("images", ""), Some(problem))
        }
        _ => (with_images, None),
    }
}

fn images(plan: &Plan<'_>, outcome: &RunOutcome<'_>) -> Value {
    let digests = outcome.record.digests();
    let images = plan.targets.iter().filter_map(|target| {
        let digest = digests.get(target.id())?;
        let references: Vec<_> = target.references().filter(|_| outcome.named).collect();
        let image = json!({ "digest": digest, "references": references });
        Some((target.id().to_owned(), image))
    });
    Value::Object(images.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::Digest;
    use crate::matrix::{self, Selection};
    use crate::plan::PlanRequest;
    use crate::report::{Record, Unchanged};

    /// The outputs of a release of so many variants.
    fn of(variants: usize) -> (Outputs, Option<String>) {
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
            references: target.references().cloned().collect(),
            checked: false,
        });
        let record = Record { unchanged: kept.collect(), ..Record::default() };
        let set = ("acme/base:basegen-release-v1".parse().expect("a name"), Digest::of(b"set"));
        let outcome = RunOutcome {
            record: &record,
            fingerprints: &[],
            named: true,
            staged: false,
            forced: false,
            set: Some(&set),
        };
        outputs(&plan, &outcome)
    }

    #[test]
    fn a_release_tells_its_images() {
        let (outputs, problem) = of(2);
        assert_eq!(problem, None);
        insta::assert_snapshot!(outputs.to_string());
    }

    #[test]
    fn images_that_github_would_not_take_are_left_out() {
        let (outputs, problem) = of(5_000);
        assert!(outputs.to_string().ends_with("\nimages=\n"));
        insta::assert_snapshot!(problem.expect("a problem"));
    }
}
