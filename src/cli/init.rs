//! `basegen init`: the files of a new repository, in a folder that has none of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Report};
use crate::init::{self, Finding, Import, InitError, Outcome, Project};
use crate::matrix::is_invisible;
use crate::plan::columns;
use crate::render::{self, RenderedFile};
use crate::report::Printer;

use super::args::InitArgs;

/// A file of the new repository.
struct NewFile {
    path: PathBuf,
    /// Whether the same file exists already.
    is_unchanged: bool,
}

pub(super) fn run(args: &InitArgs, printer: &Printer) -> Result<ExitCode, Report> {
    // Printed paths do not begin with a dot.
    let folder = args.folder.strip_prefix(".").unwrap_or(&args.folder);
    let imports: Vec<Import> =
        args.from.iter().map(|path| Import::load(path)).collect::<Result<_, _>>()?;
    let files = init::assemble(&project(folder), &imports)?;
    let new = compare(folder, &files, args.force)?;
    if !args.dry_run {
        render::write(folder, &files)?;
    }
    for NewFile { path, is_unchanged } in new {
        let path = path.display();
        match (is_unchanged, args.dry_run) {
            (true, true) => printer.result(&format!("unchanged {path}")),
            (true, false) => printer.done(&format!("unchanged {path}")),
            (false, true) => printer.result(&format!("would write {path}")),
            (false, false) => printer.done(&format!("wrote {path}")),
        }
    }
    for import in &imports {
        printer.result(&list_findings(&import.origin, &import.image.findings));
    }
    if !args.dry_run {
        let has_workflow = files.keys().any(|path| path.starts_with(".github"));
        printer.done(&next_steps(folder, has_workflow && init::needs_action()));
    }
    Ok(ExitCode::Success)
}

/// Compares `files` with those in `folder`. Refuses to replace others unless `force` is set.
fn compare(
    folder: &Path,
    files: &BTreeMap<PathBuf, RenderedFile>,
    force: bool,
) -> Result<Vec<NewFile>, InitError> {
    let new: Vec<NewFile> = files
        .iter()
        .map(|(path, file)| NewFile {
            path: folder.join(path),
            is_unchanged: matches!(file.compare(folder, path), Ok(None)),
        })
        .collect();
    let other =
        new.iter().filter(|file| !file.is_unchanged && file.path.symlink_metadata().is_ok());
    let other: Vec<PathBuf> = other.map(|file| file.path.clone()).collect();
    if force || other.is_empty() { Ok(new) } else { Err(InitError::Exists(other)) }
}

/// Describes the project in `folder`, which may not exist yet.
fn project(folder: &Path) -> Project {
    // An empty path has no absolute one.
    let absolute = std::path::absolute(Path::new(".").join(folder));
    let absolute = absolute.unwrap_or_else(|_| folder.to_owned());
    // Removes the dots that `absolute` keeps at the end.
    let absolute: PathBuf = absolute.components().collect();
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
    let read = |path: &str| init::read_text(&folder.join(path)).ok();
    let mut project = Project::look(&name.unwrap_or_default(), read);
    let mut above = absolute.ancestors().skip(1);
    let is_root = folder.join(".git").exists();
    project.takes_workflows = is_root || !above.any(|path| path.join(".git").exists());
    project
}

/// Lists what was imported from an origin, and what was not.
fn list_findings(origin: &str, findings: &[Finding]) -> String {
    let (taken, left): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| matches!(finding.outcome, Outcome::Taken(_)));
    let mut text = String::new();
    for (title, findings) in [("imported", taken), ("not imported", left)] {
        let rows = findings.into_iter().map(|finding| {
            let (Outcome::Taken(text) | Outcome::Left(text)) = &finding.outcome;
            let place = format!("  {origin}:{}", finding.line);
            [&place, &finding.what, text].map(|cell| escape_invisible(cell)).to_vec()
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if !rows.is_empty() {
            let list = columns(&rows);
            write!(text, "\n{title} from {origin}:\n{list}")
                .expect("writing to memory does not fail");
        }
    }
    text
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

fn next_steps(folder: &Path, needs_action: bool) -> String {
    let file = if folder == Path::new("") {
        String::new()
    } else {
        format!(" -f {}", folder.join("matrix.toml").display())
    };
    let action = if needs_action {
        "  in .github/workflows/base-images.yml, name the action that installs basegen: this build of\n  \
         basegen is not from a release\n"
    } else {
        ""
    };
    format!(
        "\nnext:\n  \
         check matrix.toml: the names of the images are a guess\n  \
         basegen plan{file}    list the images\n  \
         basegen{file}         build and check them, into the engine\n  \
         basegen update{file}  pin their base images\n{action}"
    )
}
