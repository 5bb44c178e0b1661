//! The files of the templates' folder that contexts are made of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::context::ContextFile;
use super::copied::Source;
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::links::first_link;
use super::templates::PARTIALS;
use super::wildcard::Wildcard;
use crate::files;

/// The largest context, in MiB. Contexts are held in memory, and what is larger belongs into
/// a build step that fetches it.
pub const MAX_CONTEXT: u64 = 64;

/// The ending of a file that is rendered before it is copied.
const TEMPLATE: &str = ".hbs";

/// Where the rendered Dockerfile is in a context that is written to a folder.
const DOCKERFILE: &str = "Dockerfile";

/// A folder, and what has been read of it.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// What a copied folder does not bring: partials and the Dockerfiles' templates.
    left_out: BTreeSet<String>,
    /// Whether a copied folder brings what [`is_private`] too.
    with_private: bool,
    /// What [`is_private`] and was left out so far.
    private: Mutex<BTreeSet<String>>,
    read: Mutex<HashMap<String, Arc<[u8]>>>,
}

/// A file that a context needs.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path in the context.
    path: String,
    /// Where it is below the folder: the same, and `.hbs` when it is a template.
    on_disk: String,
    /// Its size in bytes, or its template's.
    size: u64,
    executable: bool,
}

/// What a source means.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Found>,
    /// The folders without a file in them.
    pub(super) empty: Vec<String>,
}

impl Files {
    /// The files of `folder`, in which `dockerfiles` are the templates of Dockerfiles.
    pub(super) fn new(folder: &Path, dockerfiles: impl Iterator<Item = String>) -> Self {
        let mut left_out: BTreeSet<String> = dockerfiles.map(|path| normalized(&path)).collect();
        left_out.insert(PARTIALS.to_owned());
        let (private, read) = (Mutex::default(), Mutex::default());
        Self { folder: folder.to_owned(), left_out, with_private: false, private, read }
    }

    /// The same folder, of which nothing is left out.
    pub(super) fn with_everything(self) -> Self {
        Self { left_out: BTreeSet::new(), with_private: true, ..self }
    }

    /// The private files and folders that copied folders have left out so far.
    pub(super) fn private(&self) -> BTreeSet<String> {
        self.private.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files that `source` means: itself, its template, everything in it, or all that match.
    pub(super) fn find(&self, source: &Source) -> Result<Vec<Found>, Misuse> {
        let found = self.all(source)?.files;
        match found.iter().any(Found::hides_dockerfile) {
            true => {
                let what = format!(
                    "`{DOCKERFILE}` is what the rendered Dockerfile is called; call the file otherwise"
                );
                Err(Misuse { line: source.line, what })
            }
            false => Ok(found),
        }
    }

    /// The same, whatever the files are called, and the folders that are not sent.
    pub(super) fn all(&self, source: &Source) -> Result<Listing, Misuse> {
        let path = &source.path;
        let found = match Wildcard::is(path) {
            true => self.matching(path, source.parents),
            false => self.named(path),
        };
        found.map_err(|what| Misuse { line: source.line, what })
    }

    fn matching(&self, path: &str, parents: bool) -> Result<Listing, String> {
        let wildcard = match parents {
            true => Wildcard::through_folders(path),
            false => Wildcard::new(path),
        };
        let wildcard = wildcard
            .ok_or_else(|| format!("`{path}` is not a wildcard that Docker understands"))?;
        let mut found = Listing::default();
        self.walk("", &mut found)?;
        // A folder that matches brings what is in it.
        found.files.retain(|file| wildcard.means(&file.path));
        found.empty.retain(|folder| wildcard.means(folder));
        match found.files.is_empty() {
            true => Err(format!("nothing matches `{path}` in `{}`", self.folder.display())),
            false => Ok(found),
        }
    }

    fn named(&self, path: &str) -> Result<Listing, String> {
        if path.ends_with(TEMPLATE) {
            return Err(format!("`{path}` is rendered before it is copied: leave `.hbs` out here"));
        }
        if let Some(part) = path.split('/').find(|part| is_private(part)) {
            return Err(format!(
                "`{path}` is not copied: a file or folder called `{part}` may hold credentials; give it another name"
            ));
        }
        if let Some(link) = first_link(&self.folder, Path::new(path)) {
            return Err(refused_link(&link.to_string_lossy()));
        }
        let mut found = Listing::default();
        let template = format!("{path}{TEMPLATE}");
        if self.exists(path) {
            self.add(path, &mut found)?;
        } else if self.exists(&template) {
            self.add(&template, &mut found)?;
        } else {
            return Err(format!("there is no `{path}` in `{}`", self.folder.display()));
        }
        // Docker would not find it: an empty folder is in no context. The context itself it finds.
        if found.files.is_empty() && !path.is_empty() {
            return Err(format!("the folder `{path}` holds no file that could be copied"));
        }
        Ok(found)
    }

    fn exists(&self, path: &str) -> bool {
        self.folder.join(path).symlink_metadata().is_ok()
    }

    fn walk(&self, path: &str, found: &mut Listing) -> Result<(), String> {
        let unreadable = |error: std::io::Error| error.to_string();
        let entries = fs_err::read_dir(self.folder.join(path)).map_err(unreadable)?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(unreadable)?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| format!("`{}` is not UTF-8", name.display()))?;
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if is_private(name) && !self.with_private {
                self.private.lock().unwrap_or_else(PoisonError::into_inner).insert(inner);
            } else if !self.left_out.contains(&inner) {
                self.add(&inner, found)?;
            }
        }
        Ok(())
    }

    fn add(&self, path: &str, found: &mut Listing) -> Result<(), String> {
        let metadata = fs_err::symlink_metadata(self.folder.join(path));
        let metadata = metadata.map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            let before = found.files.len();
            self.walk(path, found)?;
            if found.files.len() == before {
                found.empty.push(path.to_owned());
            }
            return Ok(());
        }
        if kind.is_symlink() {
            return Err(refused_link(path));
        }
        if !kind.is_file() {
            return Err(format!("`{path}` is neither a file nor a folder"));
        }
        let rendered = path.strip_suffix(TEMPLATE).unwrap_or(path);
        let twin = if rendered == path { format!("{path}{TEMPLATE}") } else { rendered.to_owned() };
        if !self.left_out.contains(&twin) && self.exists(&twin) {
            return Err(format!("`{rendered}` and `{rendered}{TEMPLATE}` are both there"));
        }
        found.files.push(Found {
            path: rendered.to_owned(),
            on_disk: path.to_owned(),
            size: metadata.len(),
            executable: metadata.permissions().mode() & 0o100 != 0,
        });
        Ok(())
    }

    /// Reads what was found, each file once, sorted by path.
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
            let content = match file.on_disk == path {
                true => self.content(&file.on_disk)?,
                false => render(Path::new(&file.on_disk))?.into_bytes().into(),
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
        // Another thread may have been quicker: all of them share what came first.
        Ok(Arc::clone(lock().entry(path.to_owned()).or_insert(content.into())))
    }
}

impl Found {
    /// Where it is below the folder.
    pub(super) fn on_disk(&self) -> &str {
        &self.on_disk
    }

    /// Whether it would take the rendered Dockerfile's place in a folder.
    fn hides_dockerfile(&self) -> bool {
        self.path.split('/').next() == Some(DOCKERFILE)
    }
}

/// Returns true if a file or folder of this name often holds credentials: git's folder, and `.env` with its variants. No
/// context has them.
pub(crate) fn is_private(name: &str) -> bool {
    name == ".git" || name == ".envrc" || name == ".env" || name.starts_with(".env.")
}

fn refused_link(path: &str) -> String {
    format!("`{path}` is a symbolic link; a context holds files only")
}

/// A path without `.` and doubled `/`, as the walk through a folder makes it.
pub(super) fn normalized(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
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
