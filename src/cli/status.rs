//! `basegen status`: whether a release is still what it was published as.

use serde_json::json;

use crate::error::{ExitCode, Explain, Report};
use crate::image::{Digest, Reference};
use crate::matrix::{ReleaseSetForm, Selection};
use crate::plan;
use crate::publish::{self, Audited, Finding, PublishError, ReleaseSet, StrayAlias};
use crate::registry::Registries;
use crate::report::escape_json;

use super::Session;
use super::args::{StatusArgs, TextFormat};
use crate::ops::{self, Context, release_set};

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

pub(super) fn run(args: &StatusArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    if matrix.publish.release_set == ReleaseSetForm::Off {
        return Err(NoReleaseSet.into());
    }
    let registries = context.registries()?;
    let Found { newest, reference, set, digest } =
        context.block_on(find(context, args, &registries))?;
    let (images, stray) = context.block_on(async {
        let images = publish::audit(&registries, &set).await?;
        Ok((images, publish::stray_aliases(&registries, &set, &newest).await?))
    })?;
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
    context: &Context,
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
        let plan = ops::selection::plan(context, &Selection::default(), &naming.naming()?)?;
        let reference =
            release_set::of_version(&plan)?.unwrap_or_else(|| release_set::newest(&plan));
        if let Some((set, digest)) = ReleaseSet::read(registries, &reference).await? {
            set.check_repositories(&reference, &plan.repositories())?;
            return Ok(Found { newest: release_set::newest(&plan), reference, set, digest });
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
