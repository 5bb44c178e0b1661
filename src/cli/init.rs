//! `basegen init`: prints the files of a new repository.

use std::path::Path;

use crate::error::{ExitCode, Report};
use crate::image::Repository;
use crate::init::{Finding, InitError, Outcome};
use crate::matrix::is_invisible;
use crate::ops::{
    self, ArgumentError,
    init::{InitRequest, NewFile},
};
use crate::plan::columns;
use crate::report::Printer;

use super::args::InitArgs;

pub(super) fn run(args: &InitArgs, printer: &Printer) -> Result<ExitCode, Report> {
    let InitArgs { folder, from, context, force, strict, dry_run, .. } = args.clone();
    let (registry, repository) = names(args)?;
    let is_guess = registry.is_none() || repository.is_none();
    // Printed paths do not begin with a dot.
    let folder = folder.strip_prefix(".").map(Path::to_owned).unwrap_or(folder);
    let request = InitRequest {
        folder: folder.clone(),
        from,
        context,
        registry,
        repository,
        force,
        strict,
        dry_run,
    };
    let outcome = ops::init::run(&request)?;
    for NewFile { path, is_unchanged } in &outcome.files {
        let action = match (is_unchanged, dry_run) {
            (true, _) => "unchanged",
            (false, true) => "would write",
            (false, false) => "wrote",
        };
        let line = format!("{action} {}", path.display());
        if dry_run { printer.result(&line) } else { printer.done(&line) }
    }
    // A file can have several images.
    for imports in outcome.imports.chunk_by(|one, other| one.origin == other.origin) {
        let findings = imports.iter().flat_map(|import| &import.image.findings);
        printer.result(&list_findings(&imports[0].origin, findings));
    }
    if strict && outcome.left_out > 0 {
        return Err(InitError::LeftOut(outcome.left_out).into());
    }
    if !dry_run {
        printer.done(&next_steps(&folder, is_guess, outcome.needs_action));
    }
    for path in &outcome.importable {
        printer.note(&import_note(&folder, path, dry_run));
    }
    Ok(ExitCode::Success)
}

/// Returns the registry and the repository of the arguments.
fn names(args: &InitArgs) -> Result<(Option<String>, Option<String>), ArgumentError> {
    let registry = args.registry.as_deref().map(|host| {
        let parsed = Repository::new(host, "a").map(|name| name.registry().to_owned());
        parsed.map_err(|error| ArgumentError::new("--registry", host, &error))
    });
    let repository = args.repository.as_deref().map(|path| {
        let parsed = Repository::new("", path).map(|_| path.to_owned());
        parsed.map_err(|error| ArgumentError::new("--repository", path, &error))
    });
    Ok((registry.transpose()?, repository.transpose()?))
}

/// Describes how to import the file at `path`, which `init` did not read.
fn import_note(folder: &Path, path: &Path, dry_run: bool) -> String {
    let file = path.display();
    let folder =
        if folder == Path::new("") { String::new() } else { format!(" {}", folder.display()) };
    let force = if dry_run { "" } else { " --force" };
    format!("note: found {file}: `basegen init{folder} --from {file}{force}` imports it")
}

/// Lists the imported keys of a file, those that do not describe an image, and those that were left out.
fn list_findings<'a>(origin: &str, findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut findings: Vec<&Finding> = findings.collect();
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    let mut lists = [
        ("imported", Vec::new()),
        ("not about the image, and not imported", Vec::new()),
        ("left out", Vec::new()),
    ];
    for Finding { line, what, outcome } in findings {
        let (list, text) = match outcome {
            Outcome::Imported(text) => (0, text),
            Outcome::Unrelated(text) => (1, text),
            Outcome::LeftOut(text) => (2, text),
        };
        let place = format!("  {origin}:{line}");
        lists[list].1.push([&place, what, text].map(|cell| escape_invisible(cell)).to_vec());
    }
    let lists = lists.into_iter().filter(|(_, rows)| !rows.is_empty());
    lists.map(|(title, rows)| format!("\n{title} from {origin}:\n{}", columns(&rows))).collect()
}

fn escape_invisible(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if is_invisible(c) {
            escaped.extend(c.escape_debug());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn next_steps(folder: &Path, is_guess: bool, needs_action: bool) -> String {
    let file = if folder == Path::new("") {
        String::new()
    } else {
        format!(" -f {}", folder.join("matrix.toml").display())
    };
    let action = if needs_action {
        "  in .github/workflows/base-images.yml, name the action that installs basegen: this basegen\n  \
         is not the binary of a release\n"
    } else {
        ""
    };
    let names = if is_guess {
        "  check `[image]` in matrix.toml: the registry and the repository are a guess\n"
    } else {
        ""
    };
    format!(
        "\nnext:\n{names}  \
         basegen plan{file}    list the images\n  \
         basegen{file}         build and check the images, and load them into the engine\n  \
         basegen update{file}  pin the base images\n{action}"
    )
}
