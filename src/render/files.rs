//! Finds and reads the files that Dockerfiles copy from a folder: that of the templates, or another context.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copied::{Source, normalized, within};
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::links::first_link;
use super::options::ContextFile;
use super::templates::PARTIALS;
use crate::files::{self, IgnoreRule, IgnoreRules, Inherited, Wildcard};
use crate::matrix::nearest_spelling;

/// The maximum size of a context, in MiB. Contexts are held in memory.
pub const MAX_CONTEXT: u64 = 64;

/// The number of symbolic links that a path can lead through, as in Linux.
const MAX_LINKS: usize = 40;

/// The extension of files that are rendered before they are copied.
const TEMPLATE: &str = ".hbs";

/// The path of the rendered Dockerfile in a context that is written to a folder.
const DOCKERFILE: &str = "Dockerfile";

/// The name of the file with the patterns of a context.
pub(super) const IGNORE_FILE: &str = ".dockerignore";

/// The files of a path, or the reason why it has none.
type FoundFiles = Result<Arc<[Found]>, String>;

/// A folder that images copy files from, with a cache of its files.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    role: Role,
    ignored: IgnoreRules,
    /// The private files that copied folders have not included so far.
    private: Mutex<BTreeSet<String>>,
    /// The files of a path, and whether parent folders are copied too. Variants often copy the same paths.
    found: Mutex<HashMap<(String, bool), FoundFiles>>,
    read: Mutex<HashMap<String, Arc<[u8]>>>,
}

/// The content of a folder besides files to copy.
#[derive(Debug, Clone)]
pub(super) enum Role {
    /// Templates: `.hbs` files are rendered. Copied folders do not include these paths: the partials, and the Dockerfiles
    /// with their patterns.
    Templates(BTreeSet<String>),
    /// Nothing else.
    Context,
}

/// A file of a context.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The path in the context.
    path: String,
    /// The path in the folder: with `.hbs` for a template.
    on_disk: String,
    /// The size of the file or template, in bytes.
    size: u64,
    executable: bool,
    /// The path that a symbolic link points to.
    target: Option<String>,
}

/// The search for the files of one path.
struct Search {
    wanted: Wanted,
    found: Vec<Found>,
    /// The first path that a pattern ignores, with the pattern.
    ignored: Option<String>,
}

/// The files that a search is for.
enum Wanted {
    All,
    /// The files that match a wildcard, and those below a folder that does.
    Matching {
        whole: Wildcard,
        /// The folders above such files, by their depth. `None` are all folders, for `**`.
        above: Option<Vec<Wildcard>>,
    },
}

impl Wanted {
    fn matching(path: &str, parents: bool) -> Option<Self> {
        let whole = Wildcard::new(path, parents)?;
        let above = path.match_indices('/').map(|(end, _)| Wildcard::new(&path[..end], false));
        let above = if parents { None } else { above.collect() };
        Some(Self::Matching { whole, above })
    }

    fn includes(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching { whole, .. } => whole.matches(path),
        }
    }

    /// Returns true if the folder at `path` may contain wanted files.
    fn reaches(&self, path: &str) -> bool {
        match self {
            Self::All | Self::Matching { above: None, .. } => true,
            Self::Matching { whole, above: Some(above) } => {
                let above = above.get(path.matches('/').count());
                above.is_some_and(|above| above.matches(path)) || whole.matches(path)
            }
        }
    }
}

impl Search {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, found: Vec::new(), ignored: None }
    }
}

impl Role {
    /// Returns the role of a folder that contains the Dockerfile templates `dockerfiles`.
    pub(super) fn templates(dockerfiles: impl Iterator<Item = String>) -> Self {
        let of_dockerfiles = dockerfiles.flat_map(|path| {
            let path = normalized(&path);
            [ignore_file_beside(&path), path]
        });
        Self::Templates(of_dockerfiles.chain([PARTIALS.to_owned()]).collect())
    }
}

impl Files {
    pub(super) fn new(folder: &Path, role: Role, ignored: IgnoreRules) -> Self {
        let (private, found, read) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { folder: folder.to_owned(), role, ignored, private, found, read }
    }

    /// Returns the private files and folders that copied folders have not included so far.
    pub(super) fn private(&self) -> BTreeSet<String> {
        lock(&self.private).clone()
    }

    /// Finds the files of a `source`: a file, a template, a folder or a wildcard.
    pub(super) fn find(&self, source: &Source) -> Result<Arc<[Found]>, Misuse> {
        let key = (source.path.clone(), source.parents);
        let known = lock(&self.found).get(&key).cloned();
        let found = known.unwrap_or_else(|| {
            let found = self.search(&source.path, source.parents);
            lock(&self.found).entry(key).or_insert(found).clone()
        });
        found.map_err(|what| Misuse { line: source.line, what })
    }

    fn search(&self, path: &str, parents: bool) -> Result<Arc<[Found]>, String> {
        let found = if Wildcard::is_wildcard(path) {
            self.matching(path, parents)?
        } else {
            self.named(path, 0)?
        };
        let hides_dockerfile = |found: &Found| found.path.split('/').next() == Some(DOCKERFILE);
        if self.is_template_folder() && found.iter().any(hides_dockerfile) {
            return Err(format!("`{DOCKERFILE}` is reserved for the rendered file; rename it"));
        }
        Ok(found.into())
    }

    fn matching(&self, path: &str, parents: bool) -> Result<Vec<Found>, String> {
        let wanted = Wanted::matching(path, parents);
        let wanted = wanted.ok_or_else(|| format!("`{path}` is not a valid wildcard"))?;
        let mut search = Search::new(wanted);
        self.walk("", &Inherited::default(), &mut search)?;
        if search.found.is_empty() {
            let ignored = search.ignored.map(|ignored| format!("; {ignored}"));
            return Err(format!(
                "no file matches `{path}` in `{}`{}",
                self.folder.display(),
                ignored.unwrap_or_default()
            ));
        }
        Ok(search.found)
    }

    /// Finds the files at `path`, which `links` symbolic links lead to.
    fn named(&self, path: &str, links: usize) -> Result<Vec<Found>, String> {
        if self.is_template_folder() && path.ends_with(TEMPLATE) {
            return Err(format!("`{path}` is rendered before it is copied; remove `.hbs` here"));
        }
        if let Some(part) = path.split('/').find(|part| is_private(part)) {
            return Err(format!(
                "`{path}` cannot be copied, because `{part}` may contain credentials; rename it"
            ));
        }
        if let Some(link) = first_link(&self.folder, Path::new(path)) {
            return self.linked(path, &link.to_string_lossy(), links);
        }
        let template = format!("{path}{TEMPLATE}");
        let has_template = self.is_template_folder() && self.exists(&template);
        if !self.exists(path) && !has_template {
            let near = self.nearest(path).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "there is no `{path}` in `{}`{}",
                self.folder.display(),
                near.unwrap_or_default()
            ));
        }
        let mut search = Search::new(Wanted::All);
        let on_disk = if self.exists(path) { path } else { &template };
        let kind = fs_err::symlink_metadata(self.folder.join(on_disk))
            .map_err(|error| error.to_string())?
            .file_type();
        let (rule, inherited) = self.ignored.at(path);
        if kind.is_dir() {
            self.walk(path, &inherited, &mut search)?;
        } else if let Some(rule) = rule {
            search.ignored = Some(ignored_by(path, rule));
        } else {
            search.found.push(self.file(on_disk, has_template && on_disk == path)?);
        }
        match search {
            // A context has no empty folders, so Docker would not find it. The context itself may be empty.
            Search { found, .. } if !found.is_empty() || path.is_empty() => Ok(found),
            Search { ignored: Some(ignored), .. } if kind.is_dir() => {
                Err(format!("the folder `{path}` contains no files to copy: {ignored}"))
            }
            Search { ignored: Some(ignored), .. } => {
                Err(format!("{ignored}, so it cannot be copied"))
            }
            _ => Err(format!("the folder `{path}` contains no files to copy")),
        }
    }

    /// Finds the files at `path`, which leads through the symbolic link `link`: this link, and the files at its target. As in
    /// Docker, the root of the target is that of the context, so it is never outside.
    fn linked(&self, path: &str, link: &str, links: usize) -> Result<Vec<Found>, String> {
        if links == MAX_LINKS {
            return Err(format!("`{path}` leads through more than {MAX_LINKS} symbolic links"));
        }
        if let (Some(rule), _) = self.ignored.at(link) {
            return Err(format!("{}, so it cannot be copied", ignored_by(link, rule)));
        }
        let found = self.file(link, self.exists(&format!("{link}{TEMPLATE}")))?;
        let target = found.target.clone().unwrap_or_default();
        let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
        let begin = if target.starts_with('/') { "" } else { parent };
        let whole = within(&format!("{begin}/{target}{}", &path[link.len()..]));
        let all = self.named(&whole, links + 1).map_err(|error| match links {
            0 => format!("`{link}` is a symbolic link to `{target}`: {error}"),
            _ => error,
        });
        let mut all = all?;
        all.push(found);
        Ok(all)
    }

    fn is_template_folder(&self) -> bool {
        matches!(self.role, Role::Templates(_))
    }

    /// Returns the path in the same folder that `path` most likely misspells.
    fn nearest(&self, path: &str) -> Option<String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = fs_err::read_dir(self.folder.join(parent)).ok()?;
        let names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !is_private(name) && (!parent.is_empty() || !self.is_left_out(name)))
            .map(|name| self.path_in_context(&name, false).to_owned())
            .collect();
        let near = nearest_spelling(name, names.iter().map(String::as_str))?;
        Some(if parent.is_empty() { near.to_owned() } else { format!("{parent}/{near}") })
    }

    fn exists(&self, path: &str) -> bool {
        self.folder.join(path).symlink_metadata().is_ok()
    }

    /// Adds the wanted files below the folder at `path` to `search`.
    fn walk(&self, path: &str, inherited: &Inherited, search: &mut Search) -> Result<(), String> {
        let mut entries = Vec::new();
        for entry in fs_err::read_dir(self.folder.join(path)).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            entries
                .push((entry.file_name(), entry.file_type().map_err(|error| error.to_string())?));
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let names: HashSet<&OsString> = entries.iter().map(|(name, _)| name).collect();
        for (name, kind) in &entries {
            let name = name.to_str().ok_or_else(|| format!("`{}` is not UTF-8", name.display()))?;
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if is_private(name) {
                lock(&self.private).insert(inner);
                continue;
            }
            let copied = self.path_in_context(&inner, kind.is_dir());
            let wanted = if kind.is_dir() {
                search.wanted.reaches(copied)
            } else {
                search.wanted.includes(copied)
            };
            if !wanted || self.is_left_out(&inner) {
                continue;
            }
            let (rule, inherited) = self.ignored.entry(copied, inherited);
            if let Some(rule) = rule {
                search.ignored.get_or_insert_with(|| ignored_by(copied, rule));
            }
            if kind.is_dir() {
                if rule.is_none() || self.ignored.has_exceptions() {
                    self.walk(&inner, &inherited, search)?;
                }
            } else if rule.is_none() {
                let rendered = name.strip_suffix(TEMPLATE);
                let twin = rendered.map_or_else(|| format!("{name}{TEMPLATE}"), str::to_owned);
                search.found.push(self.file(&inner, names.contains(&OsString::from(twin)))?);
                // A step follows the links that a wildcard matches. Those within copied folders stay links.
                let is_matched = matches!(search.wanted, Wanted::Matching { .. })
                    && !search.wanted.includes(path);
                if kind.is_symlink() && is_matched {
                    search.found.extend(self.named(&inner, 0).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Returns true for a path that copied folders do not include: a template, or the `.dockerignore` of the context.
    fn is_left_out(&self, path: &str) -> bool {
        match &self.role {
            Role::Templates(templates) => path == IGNORE_FILE || templates.contains(path),
            Role::Context => path == IGNORE_FILE,
        }
    }

    /// Returns the path of a file in the context: without the extension of a template.
    fn path_in_context<'p>(&self, path: &'p str, is_folder: bool) -> &'p str {
        let rendered = path.strip_suffix(TEMPLATE);
        rendered.filter(|_| self.is_template_folder() && !is_folder).unwrap_or(path)
    }

    /// Reads the metadata of a file. `has_twin` is whether the template of the same name exists, or the file of the
    /// same name as the template.
    fn file(&self, path: &str, has_twin: bool) -> Result<Found, String> {
        let metadata =
            fs_err::symlink_metadata(self.folder.join(path)).map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return Err(format!("`{path}` is neither a file nor a folder"));
        }
        let rendered = self.path_in_context(path, false);
        if kind.is_symlink() && rendered != path {
            return Err(format!("`{path}` is a symbolic link; templates must be regular files"));
        }
        let template = format!("{rendered}{TEMPLATE}");
        let is_copied = |path: &str| !self.is_left_out(path);
        if self.is_template_folder() && has_twin && is_copied(rendered) && is_copied(&template) {
            return Err(format!("`{rendered}` and `{template}` both exist; remove one of them"));
        }
        Ok(Found {
            path: rendered.to_owned(),
            on_disk: path.to_owned(),
            size: metadata.len(),
            executable: kind.is_file() && metadata.permissions().mode() & 0o100 != 0,
            target: if kind.is_symlink() { Some(self.target(path)?) } else { None },
        })
    }

    /// Returns the path that a symbolic link points to.
    fn target(&self, path: &str) -> Result<String, String> {
        let target =
            fs_err::read_link(self.folder.join(path)).map_err(|error| error.to_string())?;
        let target = target.into_os_string().into_string();
        target.map_err(|target| {
            format!("`{path}` points to `{}`, which is not UTF-8", target.display())
        })
    }

    /// Reads the files, each once, and calls `render` with the path of each template. The result is sorted by path.
    pub(super) fn read(
        &self,
        found: Vec<Found>,
        variant: &str,
        render: &mut dyn FnMut(&Path) -> Result<String, RenderError>,
    ) -> Result<Vec<ContextFile>, RenderError> {
        let found: BTreeMap<String, Found> =
            found.into_iter().map(|file| (file.path.clone(), file)).collect();
        check_size(&found, variant)?;
        let mut files = Vec::with_capacity(found.len());
        for (path, file) in found {
            let is_link = file.target.is_some();
            let content = if let Some(target) = file.target {
                target.into_bytes().into()
            } else if file.on_disk == path {
                self.content(&path)?
            } else {
                render(Path::new(&file.on_disk))?.into_bytes().into()
            };
            files.push(ContextFile { path, executable: file.executable, is_link, content });
        }
        Ok(files)
    }

    fn content(&self, path: &str) -> Result<Arc<[u8]>, RenderError> {
        if let Some(known) = lock(&self.read).get(path) {
            return Ok(Arc::clone(known));
        }
        // It is a regular file: `file` has read its metadata.
        let content = files::read_stream(&self.folder.join(path), MAX_CONTEXT << 20)?;
        // If another thread was faster, all share its content.
        Ok(Arc::clone(lock(&self.read).entry(path.to_owned()).or_insert(content.into())))
    }
}

/// Refuses a `source` that Docker would not find in the context at `folder`. The context's patterns do not count.
pub(crate) fn check_source(folder: &Path, source: &Source) -> Result<(), Misuse> {
    Files::new(folder, Role::Context, IgnoreRules::default()).find(source).map(drop)
}

/// Refuses the path of a file that a context at `folder` does not have. The error is the reason.
pub(crate) fn check_path(folder: &Path, path: &str) -> Result<(), String> {
    Files::new(folder, Role::Context, IgnoreRules::default()).named(path, 0).map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ignored_by(path: &str, rule: &IgnoreRule) -> String {
    format!("`{path}` is ignored by `{}` ({})", rule.pattern, rule.place)
}

/// Returns true if files or folders with this name often contain credentials: `.git`, `.env` and its variants. No
/// context contains them.
pub(crate) fn is_private(name: &str) -> bool {
    name == ".git" || name == ".envrc" || name == ".env" || name.starts_with(".env.")
}

/// Returns the path of the file with the patterns for one Dockerfile template.
pub(super) fn ignore_file_beside(dockerfile: &str) -> String {
    format!("{}{IGNORE_FILE}", dockerfile.strip_suffix(TEMPLATE).unwrap_or(dockerfile))
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
