//! `basegen render`: the Dockerfile and the build context of each variant.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Context;
use crate::error::Report;
use crate::matrix::{Selected, Selection};
use crate::plan::{self, Lock};
use crate::render::{self, BuildContext, Difference, Rendered, Renderer};

/// The number of left-out files that a message lists.
const MAX_LEFT_OUT: usize = 10;

/// What to do with rendered variants.
#[derive(Debug, Clone)]
pub enum RenderTarget {
    Print,
    /// Write them, with their contexts, to a folder.
    Write(PathBuf),
    /// Fail unless a folder contains them.
    Check(PathBuf),
}

#[derive(Debug)]
pub struct RenderOutcome {
    /// The Dockerfiles, with the ids of their variants. A Dockerfile for some platforms also names the platform.
    pub dockerfiles: Vec<(String, String)>,
    /// The number of variants.
    pub count: usize,
    /// The files in the folder that are no longer rendered.
    pub extra: Vec<(Difference, String)>,
}

pub fn run(
    context: &Context,
    selection: &Selection,
    target: &RenderTarget,
) -> Result<RenderOutcome, Report> {
    let matrix = context.matrix()?;
    let selected = matrix.select(selection)?;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::read(matrix)?.pins);
    let contexts = contexts(&mut renderer, &selected)?;
    renderer.check_arguments(&contexts)?;
    report_left_out(context, &renderer.left_out());
    let mut extra = Vec::new();
    match target {
        RenderTarget::Print => {}
        RenderTarget::Write(folder) => {
            let rendered = Rendered::new(&selected, &contexts);
            render::write(folder, &rendered.files)?;
            extra = rendered.extra(folder)?;
        }
        RenderTarget::Check(folder) => Rendered::new(&selected, &contexts).check(folder)?,
    }
    let ids = selected.variants.iter().map(|variant| variant.id.as_str());
    let mut dockerfiles = Vec::new();
    for (id, context) in ids.zip(contexts) {
        dockerfiles.push((id.to_owned(), context.dockerfile));
        let others = context.platforms.into_iter();
        dockerfiles.extend(
            others.map(|(platform, other)| (format!("{id} for {platform}"), other.dockerfile)),
        );
    }
    let count = selected.variants.len();
    Ok(RenderOutcome { dockerfiles, count, extra })
}

/// Renders the selected variants for people and for `docker build`, which know images of the matrix by their names.
pub(super) fn contexts(
    renderer: &mut Renderer<'_>,
    selected: &Selected<'_>,
) -> Result<Vec<BuildContext>, Report> {
    let mut contexts = renderer.render_all(&selected.variants)?;
    plan::name_parents(renderer.matrix(), &mut contexts)?;
    Ok(contexts)
}

/// Reports the private files that build contexts leave out.
pub fn report_left_out(context: &Context, files: &BTreeSet<String>) {
    if files.is_empty() {
        return;
    }
    let shown: Vec<String> =
        files.iter().take(MAX_LEFT_OUT).map(|file| format!("`{file}`")).collect();
    let more = files.len().saturating_sub(MAX_LEFT_OUT);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    context.messages.note(&format!(
        "note: left out of images: {}{more}; `.git`, `.env` and similar files may contain credentials",
        shown.join(", ")
    ));
}
