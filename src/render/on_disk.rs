use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

/// The entries of a folder and of those below it. Each folder is listed once, when it is first needed.
pub(super) struct OnDisk<'a> {
    root: &'a Path,
    folders: HashMap<PathBuf, Folder>,
}

/// The listing of a folder.
enum Folder {
    Missing,
    /// The path leads through this symbolic link.
    Link(PathBuf),
    Entries(HashMap<OsString, FileType>),
}

/// What exists at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing, also if a file has the path of a parent folder.
    Missing,
    File,
    /// A folder, a socket or the like.
    Other,
    /// The path is or leads through this symbolic link, relative to the root.
    Link(PathBuf),
}

impl<'a> OnDisk<'a> {
    /// Looks into `root`, which need not exist, and can itself be a link.
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, folders: HashMap::new() }
    }

    /// Returns what exists at `path`, relative to the root.
    pub(super) fn entry(&mut self, path: &Path) -> io::Result<Entry> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let entries = match self.folder(parent)? {
            Folder::Missing => return Ok(Entry::Missing),
            Folder::Link(link) => return Ok(Entry::Link(link.clone())),
            Folder::Entries(entries) => entries,
        };
        let kind = path.file_name().and_then(|name| entries.get(name));
        Ok(match kind {
            None => Entry::Missing,
            Some(kind) if kind.is_symlink() => Entry::Link(path.to_owned()),
            Some(kind) if kind.is_file() => Entry::File,
            Some(_) => Entry::Other,
        })
    }

    fn folder(&mut self, path: &Path) -> io::Result<&Folder> {
        if !self.folders.contains_key(path) {
            let folder = if path.as_os_str().is_empty() {
                list(self.root)?
            } else {
                match self.entry(path)? {
                    Entry::Missing | Entry::File => Folder::Missing,
                    Entry::Link(link) => Folder::Link(link),
                    Entry::Other => list(&self.root.join(path))?,
                }
            };
            self.folders.insert(path.to_owned(), folder);
        }
        Ok(&self.folders[path])
    }
}

fn list(folder: &Path) -> io::Result<Folder> {
    use io::ErrorKind::{NotADirectory, NotFound};
    // The empty path is the working directory.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match fs_err::read_dir(folder) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {
            return Ok(Folder::Missing);
        }
        entries => entries?,
    };
    let entries = entries.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name(), entry.file_type()?))
    });
    entries.collect::<io::Result<_>>().map(Folder::Entries)
}
