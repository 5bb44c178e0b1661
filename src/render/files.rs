//! Finds and reads the files that Dockerfiles copy from the folder of the templates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::context::ContextFile;
use super::copied::{Source, normalized};
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::links::first_link;
use super::templates::PARTIALS;
use super::wildcard::Wildcard;
use crate::files;
use crate::matrix::nearest_spelling;

/// The maximum size of a context, in MiB. Contexts are held in memory.
pub const MAX_CONTEXT: u64 = 64;

/// The extension of files that are rendered before they are copied.
const TEMPLATE: &str = ".hbs";

/// The path of the rendered Dockerfile in a context that is written to a folder.
const DOCKERFILE: &str = "Dockerfile";

/// The folder of the templates, with a cache of its files.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// Paths that a copied folder does not include: partials and Dockerfile templates.
    excluded: BTreeSet<String>,
    /// The private files that copied folders have not included so far.
    private: Mutex<BTreeSet<String>>,
    read: Mutex<HashMap<String, Arc<[u8]>>>,
}

/// A file of a context.
#[derive(Debug)]
pub(super) struct Found {
    /// The path in the context.
    path: String,
    /// The path in the folder: with `.hbs` for a template.
    on_disk: String,
    /// The size of the file or template, in bytes.
    size: u64,
    executable: bool,
}

impl Files {
    /// Opens a `folder` that contains the Dockerfile templates `dockerfiles`.
    pub(super) fn new(folder: &Path, dockerfiles: impl Iterator<Item = String>) -> Self {
        let mut excluded: BTreeSet<String> = dockerfiles.map(|path| normalized(&path)).collect();
        excluded.insert(PARTIALS.to_owned());
        let (private, read) = (Mutex::default(), Mutex::default());
        Self { folder: folder.to_owned(), excluded, private, read }
    }

    /// Returns the private files and folders that copied folders have not included so far.
    pub(super) fn private(&self) -> BTreeSet<String> {
        self.private.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds the files of a `source`: a file, a template, a folder or a wildcard.
    pub(super) fn find(&self, source: &Source) -> Result<Vec<Found>, Misuse> {
        let path = &source.path;
        let refuse = |what| Misuse { line: source.line, what };
        let found = if Wildcard::is_wildcard(path) {
            self.matching(path, source.parents)
        } else {
            self.named(path)
        };
        let found = found.map_err(refuse)?;
        if found.iter().any(Found::hides_dockerfile) {
            return Err(refuse(format!(
                "`{DOCKERFILE}` is reserved for the rendered file; rename it"
            )));
        }
        Ok(found)
    }

    fn matching(&self, path: &str, parents: bool) -> Result<Vec<Found>, String> {
        let wildcard = Wildcard::new(path, parents)
            .ok_or_else(|| format!("`{path}` is not a valid wildcard"))?;
        let mut found = Vec::new();
        self.walk("", &mut found)?;
        // A folder that matches includes its files.
        found.retain(|file| wildcard.matches(&file.path));
        if found.is_empty() {
            return Err(format!("no file matches `{path}` in `{}`", self.folder.display()));
        }
        Ok(found)
    }

    fn named(&self, path: &str) -> Result<Vec<Found>, String> {
        if path.ends_with(TEMPLATE) {
            return Err(format!("`{path}` is rendered before it is copied; remove `.hbs` here"));
        }
        if let Some(part) = path.split('/').find(|part| is_private(part)) {
            return Err(format!(
                "`{path}` cannot be copied, because `{part}` may contain credentials; rename it"
            ));
        }
        if let Some(link) = first_link(&self.folder, Path::new(path)) {
            return Err(refused_link(&link.to_string_lossy()));
        }
        let mut found = Vec::new();
        let template = format!("{path}{TEMPLATE}");
        if self.exists(path) {
            self.add(path, &mut found)?;
        } else if self.exists(&template) {
            self.add(&template, &mut found)?;
        } else {
            let near = self.nearest(path).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "there is no `{path}` in `{}`{}",
                self.folder.display(),
                near.unwrap_or_default()
            ));
        }
        // A context has no empty folders, so Docker would not find it. The context itself may be empty.
        if found.is_empty() && !path.is_empty() {
            return Err(format!("the folder `{path}` contains no files to copy"));
        }
        Ok(found)
    }

    /// Returns the path in the same folder that `path` most likely misspells.
    fn nearest(&self, path: &str) -> Option<String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = fs_err::read_dir(self.folder.join(parent)).ok()?;
        let names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !is_private(name) && (!parent.is_empty() || name != PARTIALS))
            .map(|name| name.strip_suffix(TEMPLATE).map_or(name.clone(), str::to_owned))
            .collect();
        let near = nearest_spelling(name, names.iter().map(String::as_str))?;
        Some(if parent.is_empty() { near.to_owned() } else { format!("{parent}/{near}") })
    }

    fn exists(&self, path: &str) -> bool {
        self.folder.join(path).symlink_metadata().is_ok()
    }

    fn walk(&self, path: &str, found: &mut Vec<Found>) -> Result<(), String> {
        let unreadable = |error: std::io::Error| error.to_string();
        let entries = fs_err::read_dir(self.folder.join(path)).map_err(unreadable)?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(unreadable)?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| format!("`{}` is not UTF-8", name.display()))?;
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if is_private(name) {
                self.private.lock().unwrap_or_else(PoisonError::into_inner).insert(inner);
            } else if !self.excluded.contains(&inner) {
                self.add(&inner, found)?;
            }
        }
        Ok(())
    }

    fn add(&self, path: &str, found: &mut Vec<Found>) -> Result<(), String> {
        let metadata = fs_err::symlink_metadata(self.folder.join(path));
        let metadata = metadata.map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.walk(path, found);
        }
        if kind.is_symlink() {
            return Err(refused_link(path));
        }
        if !kind.is_file() {
            return Err(format!("`{path}` is neither a file nor a folder"));
        }
        let rendered = path.strip_suffix(TEMPLATE).unwrap_or(path);
        let twin = if rendered == path { format!("{path}{TEMPLATE}") } else { rendered.to_owned() };
        if !self.excluded.contains(&twin) && self.exists(&twin) {
            return Err(format!(
                "`{rendered}` and `{rendered}{TEMPLATE}` both exist; remove one of them"
            ));
        }
        found.push(Found {
            path: rendered.to_owned(),
            on_disk: path.to_owned(),
            size: metadata.len(),
            executable: metadata.permissions().mode() & 0o100 != 0,
        });
        Ok(())
    }

    /// Reads the files, each once. The result is sorted by path.
    pub(super) fn read(
        &self,
        found: Vec<Found>,
        variant: &str,
        mut render: impl FnMut(&Path) -> Result<String, RenderError>,
    ) -> Result<Vec<ContextFile>, RenderError> {
        let found: BTreeMap<String, Found> =
            found.into_iter().map(|file| (file.path.clone(), file)).collect();
        check_size(&found, variant)?;
        let mut files = Vec::with_capacity(found.len());
        for (path, file) in found {
            let content = if file.on_disk == path {
                self.content(&path)?
            } else {
                render(Path::new(&file.on_disk))?.into_bytes().into()
            };
            files.push(ContextFile { path, executable: file.executable, content });
        }
        Ok(files)
    }

    fn content(&self, path: &str) -> Result<Arc<[u8]>, RenderError> {
        let lock = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(path) {
            return Ok(Arc::clone(known));
        }
        let content = files::read(&self.folder.join(path), MAX_CONTEXT << 20)?;
        // If another thread was faster, all share its content.
        Ok(Arc::clone(lock().entry(path.to_owned()).or_insert(content.into())))
    }
}

impl Found {
    /// Returns true if the path collides with the rendered Dockerfile.
    fn hides_dockerfile(&self) -> bool {
        self.path.split('/').next() == Some(DOCKERFILE)
    }
}

/// Returns true if files or folders with this name often contain credentials: `.git`, `.env` and its variants. No
/// context contains them.
pub(crate) fn is_private(name: &str) -> bool {
    name == ".git" || name == ".envrc" || name == ".env" || name.starts_with(".env.")
}

fn refused_link(path: &str) -> String {
    format!("`{path}` is a symbolic link; contexts contain regular files only")
}

fn check_size(found: &BTreeMap<String, Found>, variant: &str) -> Result<(), RenderError> {
    let sizes = found.iter().map(|(path, file)| (path.clone(), file.size));
    let mut sizes: Vec<(String, u64)> = sizes.collect();
    if sizes.iter().map(|(_, size)| size).sum::<u64>() <= MAX_CONTEXT << 20 {
        return Ok(());
    }
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    sizes.truncate(3);
    Err(RenderError::TooLarge { variant: variant.to_owned(), limit: MAX_CONTEXT, largest: sizes })
}
