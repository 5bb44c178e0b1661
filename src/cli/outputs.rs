//! What a release hands on to the steps after it, under GitHub Actions.

use serde_json::{Map, Value, json};

use crate::event::{Event, Events};
use crate::plan::Plan;
use crate::report::{MAX_OUTPUTS, Outputs};

use super::Environment;
use super::metadata::{FileError, RunOutcome};

/// Sets the outputs `version`, `whole`, `set` and `images` of the step, where this is one.
/// `images` is JSON: for each variant its digest and the names that it has now; it is empty
/// where GitHub would not take it for its length, which is told to `events`.
pub(super) fn write(
    plan: &Plan<'_>,
    outcome: &RunOutcome<'_>,
    environment: &Environment,
    events: &Events,
) -> Result<(), FileError> {
    let path = environment.path("GITHUB_OUTPUT").filter(|_| environment.is_actions());
    let Some(path) = path else { return Ok(()) };
    let set = outcome.set.map(|(reference, digest)| format!("{reference}@{digest}"));
    let outputs = Outputs::new()
        .with("version", plan.version.as_ref().map(ToString::to_string).unwrap_or_default())
        .with("whole", outcome.is_whole(plan))
        .with("set", set.unwrap_or_default());
    let with_images = outputs.clone().with("images", images(plan, outcome));
    let outputs = match with_images.size() {
        size if size > MAX_OUTPUTS => {
            let message = format!(
                "the output `images` is left empty: it takes {size} bytes, and GitHub Actions takes \
                 {MAX_OUTPUTS}; `--metadata-file` has them all"
            );
            events.emit(&Event::Warning { target: None, message });
            outputs.with("images", "")
        }
        _ => with_images,
    };
    outputs.append(&path).map_err(FileError::outputs)
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
