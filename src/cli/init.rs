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
use crate::render::{MAX_CONTEXT, RenderedFile, Renderer, Wildcard, first_link, is_private, write};
use crate::report::Printer;

use super::args::InitArgs;

/// The largest file that a repository is begun from, in bytes.
const MAX_ORIGIN: u64 = 1 << 20;

/// The folder of the templates, which what they copy is in, too.
const TEMPLATES: &str = "dockerfiles";

/// The ending of a file in it that is rendered.
const TEMPLATE: &str = ".hbs";

/// Why a repository cannot be begun.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("failed to read `{}`", .0.display())]
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
    #[error("`{origin}` copies `{path}`, {reason}")]
    Template { origin: String, path: String, reason: &'static str },
    #[error("`{first}` and `{second}` both bring `{path}`, and these files differ")]
    Twice { first: String, second: String, path: String },
    #[error("{}", there(.0))]
    There(Vec<PathBuf>),
    #[error("what would be written is no matrix that can be built")]
    Unsound(#[source] Told),
    #[error("a temporary folder cannot be used")]
    Temporary(#[source] io::Error),
    #[error("what would be written cannot be tried out")]
    Trial(#[source] Told),
}

/// What an error and its causes say, without the folder that they speak of: it is a temporary one.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Told {
    text: String,
    source: Option<Box<Told>>,
}

impl Told {
    fn new(error: &dyn std::error::Error, folder: &Path) -> Self {
        let text = error.to_string().replace(&format!("{}/", folder.display()), "");
        let source = error.source().map(|source| Box::new(Self::new(source, folder)));
        Self { text, source }
    }
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
            Self::Template { .. } => {
                Some("nothing was written; copy it under another name, and let a step move it".to_owned())
            }
            Self::Twice { .. } => {
                Some("nothing was written; rename one of them, also where it is copied, or begin a folder for each image".to_owned())
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
    let mut copied: Vec<(String, NewFile)> = Vec::new();
    for path in &args.from {
        let origin = Origin { path: path.clone(), text: text(path)? };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut wish = init::read(&origin, &init::name_of(&absolute))?;
        wish.findings.extend(ignore_file(path, &wish));
        let name = path.display().to_string();
        let files = copies(path, &wish)?;
        let named = beside(&wish, &files);
        wish.findings.extend(named);
        wish.findings.sort_by_key(|finding| finding.line);
        copied.extend(files.into_iter().map(|file| (name.clone(), file)));
        images.push((name, wish));
    }
    let made = init::compose(&project(folder), &images)?;
    let made = made.into_iter().map(|file| (maker(&images, &file.path), file));
    let files = by_path(made.chain(copied))?;
    check_sound(&files)?;
    let rows: Vec<(PathBuf, bool)> = files
        .iter()
        .map(|(path, file)| {
            let is_same = matches!(file.compare(folder, path), Ok(None));
            (folder.join(path), is_same)
        })
        .collect();
    let mut other =
        rows.iter().filter(|(path, is_same)| !is_same && path.symlink_metadata().is_ok());
    if !args.force
        && let Some((first, _)) = other.next()
    {
        let rest = other.map(|(path, _)| path.clone());
        return Err(InitError::There(std::iter::once(first.clone()).chain(rest).collect()).into());
    }
    if !args.dry_run {
        write(folder, &files)?;
    }
    for (path, is_same) in &rows {
        let done = match (is_same, args.dry_run) {
            (true, _) => "there already:",
            (false, true) => "would write",
            (false, false) => "wrote",
        };
        let line = format!("{done} {}", path.display());
        if args.dry_run { printer.result(&line) } else { printer.done(&line) }
    }
    for (origin, wish) in &images {
        printer.result(&told(origin, &wish.findings));
    }
    if !args.dry_run {
        let has_workflow = files.keys().any(|path| path.starts_with(".github"));
        printer.done(&next(folder, has_workflow && init::needs_action()));
    }
    Ok(ExitCode::Success)
}

fn text(path: &Path) -> Result<String, InitError> {
    let failed = |error| InitError::Origin(path.to_owned(), error);
    let metadata = fs_err::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("not a file")));
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

/// What the lists of pip among the copied `files` name, which is not copied with them.
fn beside(wish: &Wish, files: &[NewFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, list) in &wish.lists {
        let path = format!("{TEMPLATES}/{list}");
        let Some(file) = files.iter().find(|file| file.path == path) else { continue };
        for (number, text) in init::references(&String::from_utf8_lossy(&file.content)) {
            let reason =
                format!("`{text}` names what is not copied: take it out of {path}, or pip fails");
            let what = format!("{list}:{number}");
            findings.push(Finding { line: *line, what, outcome: Outcome::Left(reason) });
        }
    }
    findings
}

/// The origin that a file was made for.
fn maker(images: &[(String, Wish)], path: &str) -> String {
    let made = path.strip_prefix(TEMPLATES).and_then(|path| path.strip_prefix('/'));
    let is_of = |(_, wish): &&(String, Wish)| {
        wish.files.iter().any(|(file, _)| made == Some(file.as_str()))
    };
    images.iter().find(is_of).map_or_else(|| "basegen".to_owned(), |(origin, _)| origin.clone())
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
            let to = match path.strip_prefix(from.as_str()) {
                Some(below) => format!("{to}{below}"),
                // It matches a pattern, which keeps its names.
                None => path.clone(),
            };
            if let Some(reason) = template(&to) {
                return Err(InitError::Template { origin: name, path, reason });
            }
            size += metadata.len();
            if size > MAX_CONTEXT << 20 {
                let reason = format!("and all that it copies is larger than {MAX_CONTEXT} MiB");
                return Err(refused(&path, &reason));
            }
            let content = fs_err::read(&on_disk).map_err(failed)?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            files.push(NewFile { path: format!("{TEMPLATES}/{to}"), content, executable });
        }
    }
    Ok(files)
}

/// Why a file at `path` below the templates' folder would not be copied as it is.
fn template(path: &str) -> Option<&'static str> {
    if path.ends_with(TEMPLATE) {
        Some("which would be a template in dockerfiles/, and be rendered")
    } else if path.starts_with("partials/") {
        Some("which would be among the partials of the templates, in dockerfiles/partials/")
    } else {
        None
    }
}

/// The files at `path`, in it, or matching it, relative to `folder`.
fn found(folder: &Path, path: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    if Wildcard::is(path) {
        let malformed = || io::Error::other("it is not a wildcard that Docker understands");
        let wildcard = Wildcard::new(path).ok_or_else(malformed)?;
        walk(folder, "", &mut |file| {
            if wildcard.means(file) {
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
        let name = name.to_str().ok_or_else(|| {
            let path = entry.path();
            io::Error::other(format!("the name of `{}` is not UTF-8", path.display()))
        })?;
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match entry.file_type()?.is_dir() {
            _ if is_private(name) => {}
            true => walk(folder, &inner, give)?,
            false => give(&inner),
        }
    }
    Ok(())
}

/// The files by their paths, each given with the origin that brings it.
fn by_path(
    files: impl Iterator<Item = (String, NewFile)>,
) -> Result<BTreeMap<PathBuf, RenderedFile>, InitError> {
    let mut all: BTreeMap<PathBuf, (String, RenderedFile)> = BTreeMap::new();
    for (second, NewFile { path, content, executable }) in files {
        if let Some((first, known)) = all.get(Path::new(&path))
            && known.content != content
        {
            return Err(InitError::Twice { first: first.clone(), second, path });
        }
        all.insert(path.into(), (second, RenderedFile { content, executable }));
    }
    Ok(all.into_iter().map(|(path, (_, file))| (path, file)).collect())
}

/// Makes sure that what would be written can be loaded and rendered, all of it.
fn check_sound(files: &BTreeMap<PathBuf, RenderedFile>) -> Result<(), Report> {
    let temporary = tempfile::tempdir().map_err(InitError::Temporary)?;
    let folder = temporary.path();
    write(folder, files).map_err(|error| InitError::Trial(Told::new(&error, folder)))?;
    let unsound = |error: &dyn std::error::Error| InitError::Unsound(Told::new(error, folder));
    let matrix = matrix::load(&folder.join("matrix.toml")).map_err(|error| unsound(&error))?;
    let variants: Vec<_> = matrix.variants.iter().collect();
    let mut renderer = Renderer::new(&matrix).map_err(|error| unsound(&error))?;
    renderer.render_all(&variants).map_err(|error| unsound(&error))?;
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

fn next(folder: &Path, needs_action: bool) -> String {
    let file = match folder == Path::new("") {
        true => String::new(),
        false => format!(" -f {}", folder.join("matrix.toml").display()),
    };
    let action = if needs_action {
        "  name the action that installs basegen in .github/workflows/base-images.yml: this build of basegen\n  \
         belongs to no release\n"
    } else {
        ""
    };
    format!(
        "\nnext:\n  \
         look through matrix.toml: what the images are called is a guess\n  \
         basegen plan{file}    what would be built\n  \
         basegen{file}         build and check it, into the engine\n  \
         basegen update{file}  pin what it is built on\n{action}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_not_told() {
        let cause = io::Error::other("`/tmp/x/dockerfiles/a` and /tmp/x/b");
        let told = Told::new(&InitError::Temporary(cause), Path::new("/tmp/x"));
        assert_eq!(told.to_string(), "a temporary folder cannot be used");
        let source = std::error::Error::source(&told).expect("a cause");
        assert_eq!(source.to_string(), "`dockerfiles/a` and b");
    }

    #[test]
    fn templates_are_not_copied() {
        for path in ["a.hbs", "a/b.hbs", "partials/a"] {
            assert!(template(path).is_some(), "{path}");
        }
        for path in ["a", "a.hbs.txt", "a/partials/b", "partials.txt"] {
            assert!(template(path).is_none(), "{path}");
        }
    }
}
