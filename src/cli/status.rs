//! `basegen status`: whether a release is still what it was published as.

use serde_json::json;
use tokio::runtime::Runtime;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{ReleaseSetForm, Selection};
use crate::plan;
use crate::publish::{self, Audited, Finding, PublishError, ReleaseSet, StrayAlias};
use crate::report::{Printer, escape_json};

use super::args::{GlobalArgs, StatusArgs, TextFormat};
use super::metadata::FileError;
use super::publish::{newest_set, version_set};
use super::{Environment, registries, selection};

/// The matrix has no release sets written.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare a release with its registry: `release_set` is `off`")]
struct NoReleaseSet;

impl Explain for NoReleaseSet {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some("`basegen check --released` lists version tags that are missing".to_owned())
    }
}

pub(super) fn run(
    args: &StatusArgs,
    global: &GlobalArgs,
    environment: &Environment,
    printer: &Printer,
) -> Result<ExitCode, Report> {
    let matrix = selection::load(global)?;
    let mut naming = args.naming.clone();
    naming.version_tag = args.version.clone().map(Some).or(naming.version_tag);
    let plan = selection::plan_of(&matrix, &Selection::default(), &naming)?;
    if matrix.publish.release_set == ReleaseSetForm::Off {
        return Err(NoReleaseSet.into());
    }
    let reference = &version_set(&plan)?.unwrap_or_else(|| newest_set(&plan));
    let registries = registries::open(&registries::options(&matrix, environment)?, Vec::new())?;
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let (set, digest) = runtime
        .block_on(ReleaseSet::read(&registries, reference))?
        .ok_or_else(|| PublishError::NoSet(reference.clone()))?;
    set.check_repositories(reference, &plan.repositories())?;
    let images = runtime.block_on(publish::audit(&registries, &set))?;
    let newest = newest_set(&plan);
    let stray = runtime.block_on(publish::stray_aliases(&registries, &set, &newest))?;
    let is_whole = stray.is_empty() && images.iter().all(|image| image.finding == Finding::Whole);
    printer.result(&match args.format {
        TextFormat::Table => table(&images, &stray, &format!("{reference}@{digest}")),
        TextFormat::Json => {
            escape_json(&json(&images, &stray, &set, &reference.to_string(), is_whole))
        }
    });
    Ok(if is_whole { ExitCode::Success } else { ExitCode::Drift })
}

fn table(images: &[Audited<'_>], stray: &[StrayAlias<'_>], set: &str) -> String {
    let header = ["VARIANT", "STATE", "IMAGE"].map(str::to_owned).to_vec();
    let rows = images.iter().map(|image| {
        let reference = format!("{}@{}", image.image.reference, image.image.digest);
        vec![image.id.to_owned(), image.finding.word().to_owned(), reference]
    });
    let aliases = stray.iter().map(|alias| {
        let finding = if alias.found.is_some() { Finding::Moved } else { Finding::Untagged };
        let reference = format!("{}@{}", alias.reference, alias.digest);
        vec![alias.id.to_owned(), finding.word().to_owned(), reference]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).chain(aliases).collect();
    let whole = images.iter().filter(|image| image.finding == Finding::Whole).count();
    let table = plan::columns(&rows);
    let stray = match stray.len() {
        0 => String::new(),
        count => format!("stray aliases: {count}; `basegen --push` moves them to this release\n"),
    };
    format!("{table}\n{whole} of {} images are as {set} says\n{stray}", images.len())
}

fn json(
    images: &[Audited<'_>],
    stray: &[StrayAlias<'_>],
    set: &ReleaseSet,
    reference: &str,
    is_whole: bool,
) -> String {
    let document = json!({
        "schema": 1,
        "set": reference,
        "version": set.version,
        "whole": is_whole,
        "images": images,
        "stray_aliases": stray,
    });
    format!("{}\n", serde_json::to_string_pretty(&document).expect("findings are JSON"))
}
