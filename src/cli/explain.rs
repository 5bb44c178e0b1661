//! `basegen explain NAME`: prints why a variant is, or is not, in the matrix, and the inputs of its image.

use std::fmt::Write as _;

use indexmap::IndexSet;

use crate::error::{ExitCode, Explain as _, Report};
use crate::image::Size;
use crate::matrix::{Absent, FactSource, Matrix, PackageManager, Variant};
use crate::ops::{
    self,
    explain::{ExplainOutcome, ImageInputs, Subject},
};
use crate::plan::{GpuFacts, Library, Lock, Target};
use crate::render::{BuildContext, DockerfileOptions, NamedContext};
use crate::version::Version;

use super::args::ExplainArgs;
use super::{Session, selection};

/// The number of files that are listed.
const MAX_FILES: usize = 20;

pub(super) fn run(args: &ExplainArgs, session: &Session) -> Result<ExitCode, Report> {
    let subject = if args.name.contains(selection::OPERATORS) {
        Subject::Terms(selection::terms("NAME", &args.name)?.concat())
    } else {
        Subject::Name(args.name.clone())
    };
    let outcome = ops::explain::run(&session.context, &subject, &args.naming.naming()?)?;
    session.printer.result(&text(&outcome));
    Ok(ExitCode::Success)
}

fn text(outcome: &ExplainOutcome<'_>) -> String {
    let (plan, absent, inputs) = match outcome {
        ExplainOutcome::Impossible(error) => {
            let hint = error.hint().map(|hint| format!("\n\n{hint}")).unwrap_or_default();
            return format!("{error}{hint}");
        }
        ExplainOutcome::Found { plan, absent, inputs } => (plan, absent, inputs),
    };
    let matrix = plan.matrix;
    if let (Some(inputs), [target]) = (inputs, &plan.targets[..]) {
        return describe(matrix, target, inputs);
    }
    let found = plan.targets.iter().map(|target| summarize(matrix, target));
    found.chain(absent.iter().map(|absent| describe_absent(matrix, absent))).collect()
}

/// `python 3.11, gpu true, job_type server`
fn values(matrix: &Matrix, variant: &Variant) -> String {
    let axes = matrix.axes.iter().enumerate();
    let values =
        axes.map(|(index, axis)| format!("{} {}", axis.name, matrix.value(variant, index).value));
    values.collect::<Vec<_>>().join(", ")
}

/// Returns a name or a tag of an image, with a placeholder for an unknown version.
fn name(name: &impl ToString) -> String {
    Version::show_any(&name.to_string())
}

/// Describes one of several variants in two lines.
fn summarize(matrix: &Matrix, target: &Target<'_>) -> String {
    format!("{}: {}\n  {}\n", target.id(), values(matrix, target.variant), name(&target.reference))
}

fn describe_absent(matrix: &Matrix, absent: &Absent<'_>) -> String {
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
    let nearest = matrix.nearest_variants(&variant.values).join(", ");
    format!(
        "{} is not in the matrix: {values}\n{reasons}  similar variants: {nearest}\n",
        variant.id
    )
}

/// Describes a variant and the inputs of its image.
fn describe(matrix: &Matrix, target: &Target<'_>, inputs: &ImageInputs) -> String {
    let ImageInputs { context, parents, lock, unpinned, fingerprint, gpu } = inputs;
    let mut text = format!("{}\n", target.id());
    section(&mut text, "axes", &axes(matrix, target.variant));
    section(&mut text, "variables", &facts(matrix, target.variant));
    section(&mut text, "settings", &settings(matrix, target.variant));
    section(&mut text, "packages", &packages(matrix, target.variant));
    section(&mut text, "names", &single(target.references().map(|reference| name(&reference))));
    section(&mut text, "printed aliases", &printed(target));
    section(&mut text, "platforms", &single(target.platforms.iter()));
    let parents = parents.iter().map(|(id, reference)| vec![id.clone(), name(reference)]);
    section(&mut text, "based on images of the matrix", &parents.collect::<Vec<_>>());
    let title = if target.is_mirror { "copy of" } else { "base images" };
    section(&mut text, title, &upstreams(context, lock));
    section(&mut text, "build options", &options(&context.options));
    section(&mut text, "files", &sources(context));
    if let Some(gpu) = gpu {
        describe_gpu(&mut text, gpu);
    }
    let fingerprint = match fingerprint {
        Some(fingerprint) => fingerprint.to_string(),
        None => missing_fingerprint(unpinned),
    };
    section(&mut text, "fingerprint", &[vec![fingerprint]]);
    text
}

/// Lists the aliases that commands print, and the commands.
fn printed(target: &Target<'_>) -> Vec<Vec<String>> {
    let tags = target.printed_tags.iter();
    tags.map(|tag| vec![name(&tag.template()), target.alias_commands[tag.command].clone()])
        .collect()
}

/// Lists the CUDA libraries for each platform, and the GPUs that they support.
fn describe_gpu(text: &mut String, gpu: &GpuFacts) {
    for (platform, libraries) in &gpu.platforms {
        let mut rows =
            vec![row(["library", "version", "size", "machine code, sm_", "PTX, compute_"])];
        rows.extend(libraries.iter().map(|(name, library)| {
            let Library { version, size, sm, ptx } = library;
            row([name, version, &Size(*size).to_string(), &sm.join(" "), &ptx.join(" ")])
        }));
        section(text, &format!("CUDA libraries for {platform}, unpacked"), &rows);
    }
    let supported: Vec<String> = gpu.supported().iter().map(ToString::to_string).collect();
    let mut rows =
        vec![vec!["all libraries support".to_owned(), format!("sm_ {}", supported.join(" "))]];
    if let Some((cuda, driver)) = &gpu.cuda {
        rows.push(vec!["CUDA".to_owned(), cuda.clone()]);
        rows.push(vec!["driver".to_owned(), format!("for CUDA {driver} or newer")]);
    }
    section(text, "GPUs", &rows);
}

fn row(cells: [&str; 5]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Explains why an image has no fingerprint.
fn missing_fingerprint(unpinned: &IndexSet<String>) -> String {
    let names: Vec<&str> = unpinned.iter().map(String::as_str).collect();
    let names = names.join(", ");
    format!("depends on the current digest of {names}; pin it with `basegen update`")
}

/// Lists the values of the axes, and the platforms that they allow.
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
        vec![name.to_owned(), source(matrix, &fact.source), value]
    });
    facts.collect()
}

/// Lists the settings that another table than `[image]` has, as the matrix file writes them.
fn settings(matrix: &Matrix, variant: &Variant) -> Vec<Vec<String>> {
    let settings = matrix.overrides(variant).into_iter().map(|(key, (table, span))| {
        let written = matrix.source.text.get(span).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let more = if line == written { "" } else { " …" };
        vec![key.to_owned(), source(matrix, &table), format!("{line}{more}")]
    });
    settings.collect()
}

/// Lists the packages of a variant by package manager and table.
fn packages(matrix: &Matrix, variant: &Variant) -> Vec<Vec<String>> {
    let contents = matrix.contents(variant);
    let mut rows = Vec::new();
    for manager in PackageManager::ALL {
        for layer in contents.packages(manager) {
            let table = match &layer.source {
                FactSource::Base => "[image]".to_owned(),
                other => source(matrix, other),
            };
            let items: Vec<String> = layer.items.iter().map(ToString::to_string).collect();
            rows.push(vec![manager.key().to_owned(), table, items.join(", ")]);
        }
    }
    rows
}

fn source(matrix: &Matrix, source: &FactSource<'_>) -> String {
    match source {
        FactSource::Base => "[variables]".to_owned(),
        FactSource::Axis(axis) => format!("axis {axis}"),
        FactSource::Set { line, .. } => format!("[[set]] at {}", place(matrix, *line)),
        FactSource::Extra { line } => format!("[[extra]] at {}", place(matrix, *line)),
        FactSource::File { path, line, .. } => format!("{}:{line}", path.display()),
    }
}

fn place(matrix: &Matrix, line: usize) -> String {
    format!("{}:{line}", matrix.source.path.display())
}

fn upstreams(context: &BuildContext, lock: &Lock) -> Vec<Vec<String>> {
    let upstreams = context.upstreams.iter().map(|upstream| {
        let pin = upstream.reference.as_ref().and_then(|name| lock.pins.get(name));
        let source = match &upstream.digest {
            None if upstream.reference.is_none() => "only the engine can resolve it".to_owned(),
            None => "not pinned".to_owned(),
            Some(digest) if pin == Some(digest) => format!("{digest}, pinned in {}", Lock::NAME),
            Some(digest) => format!("{digest}, pinned in its template"),
        };
        vec![upstream.familiar().to_owned(), source]
    });
    upstreams.collect()
}

/// Lists the target, the build arguments and the named contexts of a Dockerfile.
fn options(options: &DockerfileOptions) -> Vec<Vec<String>> {
    let target = options.target.iter().map(|target| ["target", target, ""].map(str::to_owned));
    let arguments = options.arguments.iter();
    let arguments =
        arguments.map(|(name, value)| ["argument".to_owned(), name.clone(), value.clone()]);
    let contexts = options.contexts.iter().map(|(name, context)| {
        let source = match context {
            NamedContext::Files(files) => format!("{} files", files.len()),
            NamedContext::Image(image) => image.familiar().to_owned(),
        };
        ["context".to_owned(), name.clone(), source]
    });
    target.chain(arguments).chain(contexts).map(Vec::from).collect()
}

/// Lists the templates of an image and the files that it copies.
fn sources(context: &BuildContext) -> Vec<Vec<String>> {
    let origin = &context.origin;
    let in_folder = |folder: &str, path: &str| match folder {
        "" => path.to_owned(),
        folder => format!("{folder}/{path}"),
    };
    let templates = origin.templates.keys().map(|path| in_folder(&origin.folder, path));
    let folder = origin.context.as_ref().unwrap_or(&origin.folder);
    let is_copied = |path: &str| !origin.templates.contains_key(&format!("{path}.hbs"));
    let files = context.files.iter().filter(|file| is_copied(&file.path));
    let files: Vec<String> = files.map(|file| in_folder(folder, &file.path)).collect();
    let more = files.len().saturating_sub(MAX_FILES);
    let more = (more > 0).then(|| format!("and {more} more files"));
    single(templates.chain(files.into_iter().take(MAX_FILES)).chain(more))
}

fn single(items: impl IntoIterator<Item = impl ToString>) -> Vec<Vec<String>> {
    items.into_iter().map(|item| vec![item.to_string()]).collect()
}

/// Adds a heading and aligned rows, unless there are none.
fn section(text: &mut String, heading: &str, rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let aligned = |column: usize| {
        // The last cell of a row is not padded.
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
