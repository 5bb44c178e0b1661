//! `basegen init`: the files of a new repository, in a folder that has none of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain, Report};
use crate::init::{self, Finding, NewFile, Origin, Outcome, Project, Wish};
use crate::matrix::{self, is_invisible};
use crate::plan::columns;
use crate::render::{MAX_CONTEXT, Renderer, first_link};
use crate::report::Printer;

use super::args::InitArgs;
use super::compare;
use super::render::{RenderedFile, write};

/// The largest file that a repository is begun from, in bytes.
const MAX_ORIGIN: u64 = 1 << 20;

/// Why a repository cannot be begun.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("`{}` cannot be read", .0.display())]
    Origin(PathBuf, #[source] io::Error),
    #[error(
        "`{path}` is {size} bytes long, and nothing that basegen knows: the bound is {MAX_ORIGIN}"
    )]
    Size { path: String, size: u64 },
    #[error("`{origin}` copies `{path}`, which cannot be read")]
    Copied {
        origin: String,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{origin}` copies `{path}`, {reason}")]
    Refused { origin: String, path: String, reason: String },
    #[error("two files would be `{0}`, and they differ")]
    Twice(String),
    #[error("{}", there(.0))]
    There(Vec<PathBuf>),
    #[error("what would be written is no matrix that can be built")]
    Unsound(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a temporary folder cannot be used")]
    Temporary(#[source] io::Error),
}

fn there(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| format!("\n  {}", path.display())).collect();
    let files = if paths.len() == 1 { "a file is" } else { "some files are" };
    format!("{files} there already:{}", names.concat())
}

impl Explain for InitError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Copied { .. } | Self::Refused { .. } => {
                Some("nothing was written; paths are relative to the folder of the file that names them".to_owned())
            }
            Self::There(_) => {
                Some("nothing was written; `--force` writes over them".to_owned())
            }
            Self::Unsound(_) => {
                Some("nothing was written; take what cannot be rendered out of the file that it comes from".to_owned())
            }
            _ => None,
        }
    }
}

pub(super) fn run(args: &InitArgs, printer: &Printer) -> Result<ExitCode, Report> {
    // Paths are told without a dot before them.
    let folder = args.folder.strip_prefix(".").unwrap_or(&args.folder);
    let mut images = Vec::new();
    let mut copied = Vec::new();
    for path in &args.from {
        let origin = Origin { path: path.clone(), text: text(path)? };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut wish = init::read(&origin, &init::name_of(&absolute))?;
        wish.findings.extend(ignore_file(path, &wish));
        copied.extend(copies(path, &wish)?);
        images.push((path.display().to_string(), wish));
    }
    let mut files = init::compose(&project(folder), &images)?;
    files.extend(copied);
    let files = by_path(files)?;
    check_sound(&files)?;
    let mut rows = Vec::new();
    for (path, file) in &files {
        rows.push((folder.join(path), compare::difference(folder, path, file)));
    }
    let mut there = rows.iter().filter(|(path, _)| path.symlink_metadata().is_ok());
    let there = there.by_ref().filter(|(_, difference)| !matches!(difference, Ok(None)));
    let there: Vec<PathBuf> = there.map(|(path, _)| path.clone()).collect();
    if !there.is_empty() && !args.force {
        return Err(InitError::There(there).into());
    }
    if !args.dry_run {
        write(folder, &files)?;
    }
    for (path, difference) in &rows {
        let done = match (difference, args.dry_run) {
            (Ok(None), _) => "there already:",
            (_, true) => "would write",
            (_, false) => "wrote",
        };
        printer.result(&format!("{done} {}", path.display()));
    }
    for (origin, wish) in &images {
        printer.result(&told(origin, &wish.findings));
    }
    if !args.dry_run {
        printer.result(&next(folder));
    }
    Ok(ExitCode::Success)
}

fn text(path: &Path) -> Result<String, InitError> {
    let failed = |error| InitError::Origin(path.to_owned(), error);
    let metadata = fs_err::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    if metadata.len() > MAX_ORIGIN {
        return Err(InitError::Size { path: path.display().to_string(), size: metadata.len() });
    }
    fs_err::read_to_string(path).map_err(failed)
}

/// A word on the `.dockerignore` that a Dockerfile's folder has.
fn ignore_file(origin: &Path, wish: &Wish) -> Option<Finding> {
    let path = origin.parent().unwrap_or(Path::new("")).join(".dockerignore");
    let reason =
        "what a Dockerfile names is copied whole; take out of dockerfiles/ what it left out";
    (path.exists() && !wish.copies.is_empty()).then(|| Finding {
        line: 1,
        what: ".dockerignore".to_owned(),
        outcome: Outcome::Left(reason.to_owned()),
    })
}

/// What `folder`, which need not be there yet, says of its project.
fn project(folder: &Path) -> Project {
    // An empty path has no absolute one.
    let absolute = std::path::absolute(Path::new(".").join(folder));
    let absolute = absolute.unwrap_or_else(|_| folder.to_owned());
    // Without the dots that `absolute` leaves at its end.
    let absolute: PathBuf = absolute.components().collect();
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
    let read = |path: &str| text(&folder.join(path)).ok();
    let mut project = Project::look(&name.unwrap_or_default(), read);
    let mut above = absolute.ancestors().skip(1);
    let is_root = folder.join(".git").exists();
    project.takes_workflows = is_root || !above.any(|path| path.join(".git").exists());
    project
}

/// The files that an image copies, as files of the templates' folder.
fn copies(origin: &Path, wish: &Wish) -> Result<Vec<NewFile>, InitError> {
    let folder = origin.parent().unwrap_or(Path::new(""));
    let name = origin.display().to_string();
    let mut files = Vec::new();
    let mut size = 0;
    for (from, to) in &wish.copies {
        let refused = |path: &str, reason: &str| InitError::Refused {
            origin: name.clone(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let found = found(folder, from).map_err(|source| InitError::Copied {
            origin: name.clone(),
            path: from.clone(),
            source,
        })?;
        if found.is_empty() {
            return Err(refused(from, "and nothing is called so"));
        }
        for path in found {
            if first_link(folder, Path::new(&path)).is_some() {
                return Err(refused(&path, "which is a symbolic link"));
            }
            let failed =
                |source| InitError::Copied { origin: name.clone(), path: path.clone(), source };
            let on_disk = folder.join(&path);
            let metadata = fs_err::metadata(&on_disk).map_err(failed)?;
            if !metadata.is_file() {
                return Err(refused(&path, "which is no file"));
            }
            size += metadata.len();
            if size > MAX_CONTEXT << 20 {
                let reason = format!("and all that it copies is larger than {MAX_CONTEXT} MiB");
                return Err(refused(&path, &reason));
            }
            let content = fs_err::read(&on_disk).map_err(failed)?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let to = match path.strip_prefix(from.as_str()) {
                Some(below) => format!("{to}{below}"),
                // It matches a pattern, which keeps its names.
                None => path.clone(),
            };
            files.push(NewFile { path: format!("dockerfiles/{to}"), content, executable });
        }
    }
    Ok(files)
}

/// The files at `path`, in it, or matching it, relative to `folder`.
fn found(folder: &Path, path: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    if path.contains(['*', '?', '[']) {
        let pattern = glob::Pattern::new(path).map_err(io::Error::other)?;
        let options =
            glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        walk(folder, "", &mut |file| {
            let mut above = Path::new(file).ancestors();
            if above.any(|path| path != Path::new("") && pattern.matches_path_with(path, options)) {
                found.push(file.to_owned());
            }
        })?;
    } else if fs_err::symlink_metadata(folder.join(path))?.is_dir() {
        walk(folder, path, &mut |file| found.push(file.to_owned()))?;
    } else {
        found.push(path.to_owned());
    }
    Ok(found)
}

/// Gives everything below `path` that is no folder, in the order of names.
fn walk(folder: &Path, path: &str, give: &mut impl FnMut(&str)) -> io::Result<()> {
    let mut entries: Vec<_> = fs_err::read_dir(folder.join(path))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other("a name is not UTF-8"))?;
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match entry.file_type()?.is_dir() {
            true if name == ".git" => {}
            true => walk(folder, &inner, give)?,
            false => give(&inner),
        }
    }
    Ok(())
}

fn by_path(files: Vec<NewFile>) -> Result<BTreeMap<PathBuf, RenderedFile>, InitError> {
    let mut all: BTreeMap<PathBuf, RenderedFile> = BTreeMap::new();
    for NewFile { path, content, executable } in files {
        let known = all.get(Path::new(&path));
        if known.is_some_and(|known| known.content != content) {
            return Err(InitError::Twice(path));
        }
        all.insert(path.into(), RenderedFile { executable, content });
    }
    Ok(all)
}

/// Makes sure that what would be written can be loaded and rendered, all of it.
fn check_sound(files: &BTreeMap<PathBuf, RenderedFile>) -> Result<(), Report> {
    let folder = tempfile::tempdir().map_err(InitError::Temporary)?;
    write(folder.path(), files)?;
    let unsound = |error: Box<dyn std::error::Error + Send + Sync>| InitError::Unsound(error);
    let matrix = matrix::load(&folder.path().join("matrix.toml")).map_err(|e| unsound(e.into()))?;
    let variants: Vec<_> = matrix.variants.iter().collect();
    let mut renderer = Renderer::new(&matrix).map_err(|error| unsound(error.into()))?;
    renderer.render_all(&variants).map_err(|error| unsound(error.into()))?;
    Ok(())
}

/// The two lists of an origin.
fn told(origin: &str, findings: &[Finding]) -> String {
    let (taken, left): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| matches!(finding.outcome, Outcome::Taken(_)));
    let mut text = String::new();
    for (title, findings) in [("taken over", taken), ("not taken over", left)] {
        let rows = findings.into_iter().map(|finding| {
            let (Outcome::Taken(text) | Outcome::Left(text)) = &finding.outcome;
            let place = format!("  {origin}:{}", finding.line);
            [&place, &finding.what, text].map(|cell| visible(cell)).to_vec()
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

/// `text` without what a terminal would not show as itself.
fn visible(text: &str) -> String {
    let shown = |c: char| match is_invisible(c) {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn next(folder: &Path) -> String {
    let file = match folder == Path::new("") {
        true => String::new(),
        false => format!(" -f {}", folder.join("matrix.toml").display()),
    };
    format!(
        "\nnext:\n  \
         look through matrix.toml: what the images are called is a guess\n  \
         basegen plan{file}    what would be built\n  \
         basegen{file}         build and check it, into the engine\n  \
         basegen update{file}  pin what it is built on\n"
    )
}
