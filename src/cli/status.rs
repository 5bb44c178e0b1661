//! `basegen status`: whether a release is still what it was published as.

use serde_json::json;
use tokio::runtime::Runtime;

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::image::{Digest, Reference};
use crate::matrix::{Matrix, ReleaseSetForm, Selection};
use crate::plan;
use crate::publish::{self, Audited, Finding, PublishError, ReleaseSet, StrayAlias};
use crate::registry::Registries;
use crate::report::{Printer, escape_json};

use super::args::{GlobalArgs, StatusArgs, TextFormat};
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
    if matrix.publish.release_set == ReleaseSetForm::Off {
        return Err(NoReleaseSet.into());
    }
    let registries = registries::open(&registries::options(&matrix, environment)?, Vec::new())?;
    let runtime = Runtime::new().map_err(FileError::runtime)?;
    let Found { newest, reference, set, digest } =
        runtime.block_on(find(&matrix, args, &registries))?;
    let images = runtime.block_on(publish::audit(&registries, &set))?;
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

/// A release set, and the name of the newest one.
struct Found {
    newest: Reference,
    reference: Reference,
    set: ReleaseSet,
    digest: Digest,
}

/// The release set that `args` name. A version is found with and without a leading `v`.
async fn find(
    matrix: &Matrix,
    args: &StatusArgs,
    registries: &Registries,
) -> Result<Found, Report> {
    let spellings: Vec<Option<String>> = match &args.version {
        Some(version) => vec![Some(version.clone()), Some(other_spelling(version))],
        None => vec![None],
    };
    let mut missing = None;
    for version in spellings {
        let mut naming = args.naming.clone();
        naming.version_tag = version.map(Some).or(naming.version_tag);
        let plan = selection::plan_of(matrix, &Selection::default(), &naming)?;
        let reference = version_set(&plan)?.unwrap_or_else(|| newest_set(&plan));
        if let Some((set, digest)) = ReleaseSet::read(registries, &reference).await? {
            set.check_repositories(&reference, &plan.repositories())?;
            return Ok(Found { newest: newest_set(&plan), reference, set, digest });
        }
        missing.get_or_insert(reference);
    }
    Err(PublishError::NoSet(missing.expect("at least one spelling")).into())
}

/// `v1.0.0` for `1.0.0`, and the other way round.
fn other_spelling(version: &str) -> String {
    version.strip_prefix('v').map_or_else(|| format!("v{version}"), str::to_owned)
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
