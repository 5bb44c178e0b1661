//! Imports a file: the images that it describes, and the files that these copy.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::InitError;
use super::{ImportedImage, MAX_ORIGIN, NewFile, read};
use crate::files::{Wildcard, read_text};
use crate::matrix::SourceFile;
use crate::render::{MAX_CONTEXT, first_link, is_private};

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
    /// Reads the file at `path` and the files that its images copy. These are in `context`, or in the folder of the file.
    pub(crate) fn load(path: &Path, context: Option<&Path>) -> Result<Vec<Self>, InitError> {
        let text = read_text(path, MAX_ORIGIN)?;
        let source = SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text));
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let images = read::read(&source, &read::name_of(&absolute))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let imports = images.into_iter().map(|image| {
            let own = || beside.join(image.context.as_deref().unwrap_or(Path::new("")));
            let from = context.map_or_else(own, Path::to_owned);
            let origin = path.display().to_string();
            let files = copied_files(&origin, &from, &image)?;
            Ok(Self { origin, image, files })
        });
        imports.collect()
    }
}

/// Returns the folder of the files that an image copies, below that of the templates, with a final slash. A Dockerfile has
/// the paths of its files in its text.
pub(super) fn folder_of(image: &ImportedImage) -> String {
    if image.template.is_some() { String::new() } else { format!("{}/", image.name) }
}

/// Reads the files in `folder` that an image copies.
fn copied_files(
    origin: &str,
    folder: &Path,
    image: &ImportedImage,
) -> Result<Vec<NewFile>, InitError> {
    let mut files: Vec<NewFile> = Vec::new();
    let mut size = 0;
    for from in &image.copies {
        let refused = |path: &str, reason: &str| InitError::Refused {
            origin: origin.to_owned(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let failed = |path: &str| {
            let (origin, path) = (origin.to_owned(), path.to_owned());
            move |source| InitError::Copied { origin, path, source }
        };
        let found = find_files(folder, from).map_err(failed(from))?;
        if found.is_empty() {
            return Err(refused(from, "matches no file"));
        }
        for path in found {
            let to = format!("{}{path}", folder_of(image));
            if files.iter().any(|file| file.path == format!("{TEMPLATES}/{to}")) {
                continue;
            }
            if first_link(folder, Path::new(&path)).is_some() {
                return Err(refused(&path, "is a symbolic link"));
            }
            let on_disk = folder.join(&path);
            let metadata = fs_err::metadata(&on_disk).map_err(failed(&path))?;
            if !metadata.is_file() {
                return Err(refused(&path, "is not a regular file"));
            }
            if let Some(role) = template_role(&to) {
                return Err(InitError::Template { origin: origin.to_owned(), path, role });
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
