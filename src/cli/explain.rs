//! `basegen explain NAME`: why a variant is, or is not, in the matrix, and what it is made of.

use std::fmt::Write as _;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{Absent, FactSource, Matrix, Selected, Selection, SelectionError, Variant};
use crate::plan::{self, Inputs, Lock, NameMatches, Plan, Target};
use crate::render::{BuildContext, Renderer};

use super::args::ExplainArgs;
use super::{Session, selection};

/// How many files are listed.
const MAX_FILES: usize = 20;

/// A name that means nothing.
#[derive(Debug, thiserror::Error)]
#[error("no variant of the matrix is called `{name}`, and none could be{unknown}")]
struct UnknownError {
    name: String,
    unknown: String,
    similar: Option<String>,
}

impl Explain for UnknownError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Selection
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.similar {
            Some(similar) => format!("did you mean `{similar}`? `basegen plan` lists all"),
            None => "`basegen plan` lists all variants".to_owned(),
        })
    }
}

pub(super) fn run(args: &ExplainArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let request = args.naming.naming()?.request(matrix)?;
    let is_terms = args.name.contains(['=', '<', '>', '!', '~']);
    let meant = match is_terms {
        true => match described(matrix, &args.name)? {
            Ok(meant) => meant,
            Err(why_not) => {
                printer.result(&why_not);
                return Ok(ExitCode::Success);
            }
        },
        false => plan::find_by_name(matrix, &request, &args.name)?,
    };
    if meant.variants.is_empty() && meant.absent.is_empty() {
        return Err(unknown(matrix, &args.name).into());
    }
    // As if all were planned: aliases are among its names.
    let selected = Selected { variants: meant.variants, whole: true };
    let plan = Plan::new(matrix, &selected, request)?;
    let several = plan.targets.len() + meant.absent.len() > 1;
    let mut parts = Vec::new();
    if several {
        parts.extend(plan.targets.iter().map(|target| brief(matrix, target)));
    } else {
        for target in &plan.targets {
            parts.push(in_full(matrix, target)?);
        }
    }
    parts.extend(meant.absent.iter().map(|absent| why_not(matrix, absent)));
    let between = if several { "" } else { "\n" };
    printer.result(&parts.join(between));
    Ok(ExitCode::Success)
}

/// The variants that `axis=value` terms describe, or why there is none.
fn described<'a>(
    matrix: &'a Matrix,
    text: &str,
) -> Result<Result<NameMatches<'a>, String>, Report> {
    let selection = Selection { only: selection::terms("NAME", text)?, ..Selection::default() };
    match matrix.select(&selection) {
        Ok(selected) => Ok(Ok(NameMatches { variants: selected.variants, absent: Vec::new() })),
        Err(error @ SelectionError::Combination { .. }) => {
            let hint = error.hint().map(|hint| format!("\n\n{hint}")).unwrap_or_default();
            Ok(Err(format!("{error}{hint}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn unknown(matrix: &Matrix, name: &str) -> UnknownError {
    let parts = |text: &str| text.split('-').map(str::to_owned).collect::<Vec<_>>();
    let known: Vec<String> = matrix
        .variants
        .iter()
        .flat_map(|variant| [parts(&variant.id), parts(&variant.name)])
        .flatten()
        .collect();
    let stray = parts(name).into_iter().find(|part| !known.contains(part));
    let stray = stray.filter(|part| !part.is_empty() && name != part);
    UnknownError {
        name: name.escape_debug().to_string(),
        unknown: stray
            .map(|part| format!(": no value of an axis brings `{}`", part.escape_debug()))
            .unwrap_or_default(),
        similar: plan::similar_name(matrix, name).map(str::to_owned),
    }
}

/// `python 3.11, gpu true, job_type server`
fn values(matrix: &Matrix, variant: &Variant) -> String {
    let axes = matrix.axes.iter().enumerate();
    let values =
        axes.map(|(index, axis)| format!("{} {}", axis.name, matrix.value(variant, index).value));
    values.collect::<Vec<_>>().join(", ")
}

/// Two lines: for one of several.
fn brief(matrix: &Matrix, target: &Target<'_>) -> String {
    format!("{}: {}\n  {}\n", target.id(), values(matrix, target.variant), target.reference)
}

fn why_not(matrix: &Matrix, absent: &Absent<'_>) -> String {
    let variant = &absent.variant;
    let values = values(matrix, variant);
    let place = matrix.source.path.display();
    let rules = absent
        .rules
        .iter()
        .map(|rule| format!("  excluded at {place}:{}: {}\n", rule.line, rule.reason));
    let unlisted = absent.unlisted.iter().map(|axis| {
        let value = matrix.axis(axis).map(|(index, _)| &matrix.value(variant, index).value);
        let value = value.map(ToString::to_string).unwrap_or_default();
        format!("  only an [[extra]] has {axis} {value}, in another combination\n")
    });
    let reasons: String = rules.chain(unlisted).collect();
    let nearest = matrix.nearest_variants(variant).join(", ");
    format!("{} is not in the matrix: {values}\n{reasons}  nearest to it: {nearest}\n", variant.id)
}

/// Everything that is known of a variant.
fn in_full(matrix: &Matrix, target: &Target<'_>) -> Result<String, Report> {
    let lock = Lock::read(matrix)?;
    let mut renderer = Renderer::new(matrix)?.pinned(lock.pins.clone());
    let contexts = renderer.render_all(&[target.variant])?;
    let context = &contexts[0];
    let inputs = Inputs::new(target, context, &matrix.build.secret_ids());
    let mut text = format!("{}\n", target.id());
    section(&mut text, "axes", &axes(matrix, target.variant));
    section(&mut text, "variables", &facts(matrix, target.variant));
    section(&mut text, "called", &single(target.references()));
    section(&mut text, "platforms", &single(target.platforms.iter()));
    section(&mut text, "built on", &upstreams(context, &lock));
    section(&mut text, "made from", &sources(context));
    let fingerprint = match inputs.fingerprint() {
        Some(fingerprint) => fingerprint.to_string(),
        None => "none while what it is built on is not pinned: `basegen update` pins it".to_owned(),
    };
    section(&mut text, "fingerprint", &[vec![fingerprint]]);
    Ok(text)
}

/// Where the variant's values are from, and what they limit.
fn axes(matrix: &Matrix, variant: &Variant) -> Vec<Vec<String>> {
    let axes = matrix.axes.iter().enumerate().map(|(index, axis)| {
        let value = matrix.value(variant, index);
        let limit = value
            .platforms
            .as_ref()
            .map(|platforms| format!("limited to {}", crate::image::Platform::list(platforms)));
        vec![axis.name.clone(), value.value.to_string(), limit.unwrap_or_default()]
    });
    let extra = matrix
        .extra_line(variant)
        .map(|line| vec![format!("an [[extra]] at {}", place(matrix, line))]);
    axes.chain(extra).collect()
}

fn facts(matrix: &Matrix, variant: &Variant) -> Vec<Vec<String>> {
    let facts = matrix.facts(variant).into_iter().map(|(name, fact)| {
        let value = match fact.value.as_str() {
            Some(text) => text.to_owned(),
            None => fact.value.to_string(),
        };
        let source = match fact.source {
            FactSource::Variables => "[variables]".to_owned(),
            FactSource::Axis(axis) => format!("axis {axis}"),
            FactSource::Set { line, .. } => format!("[[set]] at {}", place(matrix, line)),
            FactSource::Extra { line } => format!("[[extra]] at {}", place(matrix, line)),
        };
        vec![name.to_owned(), source, value]
    });
    facts.collect()
}

fn place(matrix: &Matrix, line: usize) -> String {
    format!("{}:{line}", matrix.source.path.display())
}

fn upstreams(context: &BuildContext, lock: &Lock) -> Vec<Vec<String>> {
    let upstreams = context.upstreams.iter().map(|upstream| {
        let pin = upstream.reference.as_ref().and_then(|name| lock.pins.get(name));
        let source = match &upstream.digest {
            None if upstream.reference.is_none() => "known to the engine alone".to_owned(),
            None => "not pinned".to_owned(),
            Some(digest) if pin == Some(digest) => format!("{digest} by {}", Lock::NAME),
            Some(digest) => format!("{digest} by its template"),
        };
        vec![upstream.familiar().to_owned(), source]
    });
    upstreams.collect()
}

/// The templates that it was rendered from, and the files that it copies.
fn sources(context: &BuildContext) -> Vec<Vec<String>> {
    let origin = &context.origin;
    let in_folder = |path: &str| match origin.folder.as_str() {
        "" => path.to_owned(),
        folder => format!("{folder}/{path}"),
    };
    let templates = origin.templates.keys().map(|path| in_folder(path));
    let is_copied = |path: &str| !origin.templates.contains_key(&format!("{path}.hbs"));
    let files = context.files.iter().filter(|file| is_copied(&file.path));
    let files: Vec<String> = files.map(|file| in_folder(&file.path)).collect();
    let more = files.len().saturating_sub(MAX_FILES);
    let more = (more > 0).then(|| format!("and {more} more files"));
    single(templates.chain(files.into_iter().take(MAX_FILES)).chain(more))
}

fn single(items: impl IntoIterator<Item = impl ToString>) -> Vec<Vec<String>> {
    items.into_iter().map(|item| vec![item.to_string()]).collect()
}

/// A heading and rows below it, their columns aligned; nothing where there is no row.
fn section(text: &mut String, heading: &str, rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let aligned = |column: usize| {
        // The last cell of a row needs no room behind it.
        let cells = rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].len());
        cells.max().unwrap_or(0)
    };
    writeln!(text, "\n{heading}").expect("writing to memory does not fail");
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = aligned(column);
            format!("{cell:width$}")
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(text, "  {}", line.trim_end()).expect("writing to memory does not fail");
    }
}
