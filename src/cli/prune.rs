//! `basegen prune`: lists or deletes stale staging tags and images.

use crate::error::{ExitCode, Report};
use crate::image::Size;
use crate::ops::{
    self,
    prune::{PruneOutcome, PruneRequest},
};
use crate::report::format;

use super::Session;
use super::args::PruneArgs;

pub(super) fn run(args: &PruneArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let request = PruneRequest {
        delete: args.yes,
        registries: args.registry.clone(),
        repository: args.repository.clone(),
        engine: args.engine.request(context),
    };
    let Some(outcome) = context.block_on(ops::prune::run(context, request))? else {
        return Ok(ExitCode::Success);
    };
    if args.yes {
        printer.done(&list(&outcome));
    } else {
        printer.result(&list(&outcome));
    }
    printer.note(&format!("{}\n", summary(&outcome)));
    Ok(ExitCode::Success)
}

fn list(outcome: &PruneOutcome) -> String {
    let tags = outcome.tags.iter().map(|reference| format!("registry  {reference}\n"));
    let images = outcome.images.iter().map(|image| {
        let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        format!("engine    {}  {}\n", names.join(", "), Size(image.size))
    });
    tags.chain(images).collect()
}

fn summary(outcome: &PruneOutcome) -> String {
    let count = |tags, images| {
        format!("{} and {}", format::count(tags, "staging tag"), format::count(images, "image"))
    };
    let (tags, images) = (outcome.tags.len(), outcome.images.len());
    match outcome.deleted {
        None if tags + images == 0 => "nothing to prune".to_owned(),
        None => format!("{} are stale; `--yes` deletes them", count(tags, images)),
        Some(deleted) if deleted == (tags, images) => format!("deleted {}", count(tags, images)),
        Some((deleted_tags, deleted_images)) => format!(
            "deleted {}, kept {}: some registries cannot delete a tag of an image with other tags, \
             and an engine keeps images that a container uses",
            count(deleted_tags, deleted_images),
            count(tags - deleted_tags, images - deleted_images)
        ),
    }
}
