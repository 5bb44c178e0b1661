//! Imports a configuration or a Dockerfile: the image that it describes, and the files that this image copies.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::InitError;
use super::{Finding, ImportedImage, NewFile, Origin, Outcome, read};
use crate::files::read_text;
use crate::render::{MAX_CONTEXT, Wildcard, first_link, is_private};

/// The largest file that can be imported, in bytes.
const MAX_ORIGIN: u64 = 1 << 20;

/// The folder of the templates and of the files that they copy.
pub(super) const TEMPLATES: &str = "dockerfiles";

/// The file extension of templates.
const TEMPLATE: &str = ".hbs";

/// An image and the files that it copies.
#[derive(Debug)]
pub(crate) struct Import {
    /// The path of the imported file, as the user wrote it.
    pub(crate) origin: String,
    pub(crate) image: ImportedImage,
    pub(super) files: Vec<NewFile>,
}

impl Import {
    /// Reads the file at `path` and the files that its image copies.
    pub(crate) fn load(path: &Path) -> Result<Self, InitError> {
        let text = read_text(path, MAX_ORIGIN)?;
        let origin = Origin { path: path.to_owned(), text };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut image = read::read(&origin, &read::name_of(&absolute))?;
        let files = copied_files(path, &image)?;
        image.findings.extend(ignore_file(path, &image));
        image.findings.sort_by_key(|finding| finding.line);
        Ok(Self { origin: path.display().to_string(), image, files })
    }
}

/// Reports a `.dockerignore` beside the origin, which has no effect any more.
fn ignore_file(origin: &Path, image: &ImportedImage) -> Option<Finding> {
    let path = origin.parent().unwrap_or(Path::new("")).join(".dockerignore");
    let reason = "copied folders are copied whole; remove the ignored files from dockerfiles/";
    (path.exists() && !image.copies.is_empty()).then(|| Finding {
        line: 1,
        what: ".dockerignore".to_owned(),
        outcome: Outcome::Skipped(reason.to_owned()),
    })
}

/// Reads the files that an image copies, as files of the templates' folder.
fn copied_files(origin: &Path, image: &ImportedImage) -> Result<Vec<NewFile>, InitError> {
    let folder = origin.parent().unwrap_or(Path::new(""));
    let name = origin.display().to_string();
    let mut files = Vec::new();
    let mut size = 0;
    for (from, to) in &image.copies {
        let refused = |path: &str, reason: &str| InitError::Refused {
            origin: name.clone(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let failed = |path: &str| {
            let (origin, path) = (name.clone(), path.to_owned());
            move |source| InitError::Copied { origin, path, source }
        };
        let found = find_files(folder, from).map_err(failed(from))?;
        if found.is_empty() {
            return Err(refused(from, "matches no file"));
        }
        for path in found {
            if first_link(folder, Path::new(&path)).is_some() {
                return Err(refused(&path, "is a symbolic link"));
            }
            let on_disk = folder.join(&path);
            let metadata = fs_err::metadata(&on_disk).map_err(failed(&path))?;
            if !metadata.is_file() {
                return Err(refused(&path, "is not a regular file"));
            }
            let to = match path.strip_prefix(from.as_str()) {
                Some(below) => format!("{to}{below}"),
                // Files that match a pattern keep their names.
                None => path.clone(),
            };
            if let Some(role) = template_role(&to) {
                return Err(InitError::Template { origin: name, path, role });
            }
            size += metadata.len();
            if size > MAX_CONTEXT << 20 {
                let reason = format!("makes its files larger than {MAX_CONTEXT} MiB together");
                return Err(refused(&path, &reason));
            }
            let content = fs_err::read(&on_disk).map_err(failed(&path))?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            files.push(NewFile { path: format!("{TEMPLATES}/{to}"), content, executable });
        }
    }
    Ok(files)
}

/// Returns the role of a file at `path` in the templates' folder, or `None` for a file without one.
fn template_role(path: &str) -> Option<&'static str> {
    if path.ends_with(TEMPLATE) {
        Some("a template in dockerfiles/")
    } else if path.starts_with("partials/") {
        Some("a partial in dockerfiles/partials/")
    } else {
        None
    }
}

/// Returns the files at `path`, below it, or matching it as a pattern, relative to `folder`.
fn find_files(folder: &Path, path: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    if Wildcard::is_wildcard(path) {
        let malformed = || io::Error::other("it is not a valid pattern of Docker");
        let wildcard = Wildcard::new(path, false).ok_or_else(malformed)?;
        walk(folder, "", &mut |file| {
            if wildcard.matches(file) {
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

/// Calls `visit` with every file below `path`, sorted by name, without private ones such as `.git`.
fn walk(folder: &Path, path: &str, visit: &mut impl FnMut(&str)) -> io::Result<()> {
    let mut entries: Vec<_> = fs_err::read_dir(folder.join(path))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            let path = entry.path();
            io::Error::other(format!("the name of `{}` is not UTF-8", path.display()))
        })?;
        if is_private(name) {
            continue;
        }
        let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(folder, &inner, visit)?;
        } else {
            visit(&inner);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_not_copied() {
        for path in ["a.hbs", "a/b.hbs", "partials/a"] {
            assert!(template_role(path).is_some(), "{path}");
        }
        for path in ["a", "a.hbs.txt", "a/partials/b", "partials.txt"] {
            assert!(template_role(path).is_none(), "{path}");
        }
    }
}
