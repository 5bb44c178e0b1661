//! Computes the edits that update a repository after a release: the version in all its places, the table of the README,
//! and generated files that changed in the working tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain, FileError, Report, one_line};
use crate::files::{Checkout, MAX_TEXT};
use crate::forge::{Base, FileChange, GitHub, GitHubError, TreeEntry};
use crate::git::{self, in_repository};
use crate::matrix::{Matrix, Selection};
use crate::plan::{Lock, Plan, with_readme};
use crate::render::{Rendered, Renderer};
use crate::version::{self, FileEdit, Version};

/// Returns the edits that set the working tree to version `to`.
pub fn of_working_tree(plan: &Plan<'_>, to: &Version) -> Result<Vec<FileEdit>, Report> {
    let matrix = plan.matrix;
    let edits = match &matrix.version {
        Some(table) => version::edits(table, &matrix.checkout, to)?,
        None => Vec::new(),
    };
    Ok(with_readme(plan, &plan.matrix.checkout, edits)?)
}

/// Replaces the paths of `edits`, relative to the folder of the matrix, by the paths that a user would write.
pub fn show_paths_to_caller(matrix: &Matrix, edits: &mut [FileEdit]) {
    for edit in edits {
        edit.path = version::display_path(matrix.folder(), &edit.path);
    }
}

/// The edits of the base branch of a pull request.
pub struct BaseEdits {
    /// The edits, with paths relative to the repository.
    pub edits: Vec<FileEdit>,
    /// The generated files that changed in the working tree.
    pub generated: Vec<Generated>,
    /// The version of the base branch.
    pub version: Version,
    /// The matrix' folder in the repository: empty, or a path that ends with `/`.
    pub prefix: String,
}

/// A generated file, with a path relative to the repository.
pub struct Generated {
    change: FileChange,
    /// The entry of the base branch.
    before: Option<TreeEntry>,
}

impl BaseEdits {
    /// Returns true if the base needs no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.generated.is_empty()
    }

    /// Returns the files to commit.
    #[must_use]
    pub fn changes(&self) -> Vec<FileChange> {
        let edits = self.edits.iter().map(|edit| FileChange {
            path: edit.path.to_string_lossy().into_owned(),
            content: Some(edit.after.clone().into_bytes()),
            executable: None,
        });
        edits.chain(self.generated.iter().map(|file| file.change.clone())).collect()
    }

    /// Returns all changes as one diff, with changed modes. Binary files are only named.
    pub async fn diff(&self, github: &GitHub) -> Result<String, GitHubError> {
        let mut diff = version::diff(&self.edits);
        for file in &self.generated {
            diff += &file.diff(github).await?;
        }
        Ok(diff)
    }
}

impl Generated {
    async fn diff(&self, github: &GitHub) -> Result<String, GitHubError> {
        let FileChange { path, content, .. } = &self.change;
        let before = match &self.before {
            Some(entry) => github.read(path, entry).await?,
            None => Vec::new(),
        };
        let modes = content.as_ref().map_or(String::new(), |_| self.modes());
        let text = |content: Vec<u8>| String::from_utf8(content).ok();
        let after = content.clone().unwrap_or_default();
        let is_same = self.before.is_some() && content.as_ref() == Some(&before);
        Ok(match (text(before), text(after)) {
            _ if is_same => modes,
            (Some(before), Some(after)) => {
                let edit = FileEdit { path: path.into(), before, after };
                format!("{modes}{}", version::diff(&[edit]))
            }
            _ => format!("{modes}Binary files a/{path} and b/{path} differ\n"),
        })
    }

    /// Returns the mode lines of git's format for an executable file or a changed mode.
    fn modes(&self) -> String {
        let path = &self.change.path;
        let mode = self.change.mode(self.before.as_ref());
        let lines = match &self.before {
            Some(before) if before.mode() == mode => return String::new(),
            Some(before) => format!("old mode {}\nnew mode {mode}", before.mode()),
            None if self.change.executable == Some(true) => format!("new file mode {mode}"),
            None => return String::new(),
        };
        format!("diff --git a/{path} b/{path}\n{lines}\n")
    }
}

/// A rendered file is a symbolic link, whose target may be changed by the same pull request.
#[derive(Debug, thiserror::Error)]
#[error("a pull request cannot contain the symbolic link `{}`", path.display())]
struct LinkError {
    path: PathBuf,
}

impl Explain for LinkError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some("copy a file instead of the link, or remove `rendered` from `[generated]`".to_owned())
    }
}

/// A file with the version is outside the repository.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not in the repository of the pull request", path.display())]
struct OutsideError {
    path: PathBuf,
    prefix: String,
}

impl Explain for OutsideError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        let unknown = "the matrix file is not in a git repository: its folder counts as the top of the repository";
        self.prefix.is_empty().then(|| unknown.to_owned())
    }
}

/// The base branch does not fit the matrix.
#[derive(Debug, thiserror::Error)]
#[error("the branch `{branch}` cannot be edited: {problem}")]
struct BaseError {
    branch: String,
    problem: String,
    hint: Option<String>,
    exit_code: ExitCode,
}

impl BaseError {
    /// Turns an error about files of `folder` into one about files of the repository.
    fn new(error: &impl Explain, branch: &str, folder: &Path) -> Self {
        let folder = format!("{}/", folder.display());
        Self {
            branch: branch.to_owned(),
            problem: one_line(error).replace(&folder, ""),
            hint: error.hint().map(|hint| hint.replace(&folder, "")),
            exit_code: error.exit_code(),
        }
    }
}

impl Explain for BaseError {
    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl BaseEdits {
    /// Computes the edits of the files that the base branch has on GitHub, since the working tree may be older. Adds the
    /// uncommitted changes of generated files, such as the lock.
    pub async fn compute(
        plan: &Plan<'_>,
        to: &Version,
        github: &GitHub,
        base: &Base,
    ) -> Result<Self, Report> {
        let matrix = plan.matrix;
        let prefix = git::prefix(matrix.folder()).unwrap_or_default();
        let copy = tempfile::Builder::new().prefix("basegen-base-").tempdir();
        let copy = copy.map_err(FileError::failed_to("prepare the files of the pull request"))?;
        let folder = copy.path().join(&prefix);
        fs_err::create_dir_all(&folder)
            .map_err(FileError::failed_to("prepare the files of the pull request"))?;
        for path in edited_files(matrix) {
            let Some(place) = in_repository(&prefix, &path) else {
                return Err(OutsideError { path, prefix }.into());
            };
            if let Some(text) = github.file(&place, base).await? {
                write(&copy.path().join(place), &text)?;
            }
        }
        let table = matrix.version.as_ref().ok_or(super::NoVersion)?;
        let (branch, copied) = (&base.branch, copy.path());
        let checkout = Checkout::within(copied, &folder);
        let version = version::read(table, &checkout);
        let version = version.map_err(|error| BaseError::new(&error, branch, copied))?;
        let edits = version::edits(table, &checkout, to);
        let edits = edits.map_err(|error| BaseError::new(&error, branch, copied))?;
        let edits = with_readme(plan, &checkout, edits);
        let edits = edits.map_err(|error| BaseError::new(&error, branch, copied))?;
        let edits = edits.into_iter().filter_map(|edit| {
            Some(FileEdit { path: in_repository(&prefix, &edit.path)?.into(), ..edit })
        });
        let edits: Vec<FileEdit> = edits.collect();
        for edit in &edits {
            github.require_file(&edit.path.to_string_lossy(), base).await?;
        }
        let mut generated = Vec::new();
        for change in uncommitted(matrix)? {
            let Some(path) = in_repository(&prefix, Path::new(&change.path)) else { continue };
            if edits.iter().any(|edit| edit.path == Path::new(&path)) {
                continue;
            }
            let before = github.entry(&path, base).await?;
            let change = FileChange { path, ..change };
            if !change.is_applied(before.as_ref()) {
                generated.push(Generated { change, before });
            }
        }
        Ok(Self { edits, generated, version, prefix })
    }
}

/// Returns the files that edits are computed from, relative to the folder of the matrix.
fn edited_files(matrix: &Matrix) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for place in matrix.version.iter().flat_map(crate::matrix::VersionTable::places) {
        let file = PathBuf::from(place.file.get_ref());
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for lock in version::lock_files(name) {
            // Beside the file, or above it, up to the matrix' folder.
            let folders = file.ancestors().skip(1);
            files.extend(folders.map(|folder| folder.join(lock)));
        }
        // The manifests of a workspace inherit its version and depend on each other.
        files.extend(version::cargo_manifests(&place, &matrix.checkout));
        files.push(file);
    }
    let readme = matrix.generated.readme.as_ref();
    files.extend(readme.map(|readme| PathBuf::from(readme.get_ref())));
    files.sort();
    files.dedup();
    files
}

/// Returns the generated files that differ from the newest commit, relative to the folder of the matrix: the lock, and
/// the files that the matrix renders now. A committed file that is no longer rendered is removed.
fn uncommitted(matrix: &Matrix) -> Result<Vec<FileChange>, Report> {
    let change = |path: &Path, content, executable| FileChange {
        path: path.to_string_lossy().into_owned(),
        content,
        executable,
    };
    let mut files = Vec::new();
    for path in git::changed(matrix.folder(), &[Lock::NAME]) {
        let content = matrix.checkout.read(Path::new(&path), MAX_TEXT)?;
        files.push(change(Path::new(&path), Some(content), None));
    }
    let Some(folder) = &matrix.generated.rendered else { return Ok(files) };
    let Some(committed) = git::committed(matrix.folder(), folder.get_ref()) else {
        return Ok(files);
    };
    let mut committed: BTreeMap<PathBuf, git::Committed> =
        committed.into_iter().map(|(path, file)| (PathBuf::from(path), file)).collect();
    let selected = matrix.select(&Selection::default())?;
    let pins = Lock::read(matrix)?.pins;
    let mut renderer = Renderer::new(matrix)?.pinned(pins);
    let contexts = super::render::contexts(&mut renderer, &selected)?;
    // As git writes paths, so that both can be compared.
    let below_matrix = |path: &str| in_repository("", Path::new(path)).unwrap_or_default();
    let folder = PathBuf::from(below_matrix(folder.get_ref()));
    for (path, file) in Rendered::new(&selected, &contexts).files {
        let path = folder.join(path);
        if file.is_link {
            return Err(LinkError { path }.into());
        }
        let is_same = committed.remove(&path).is_some_and(|committed| {
            committed.is_file(file.executable) && *committed.content == *file.content
        });
        if !is_same {
            files.push(change(&path, Some(file.content.to_vec()), Some(file.executable)));
        }
    }
    // If the folder also contains the templates, a file that is not rendered may be a source.
    if !Path::new(&below_matrix(&matrix.image.templates)).starts_with(&folder) {
        files.extend(committed.keys().map(|path| change(path, None, None)));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(path);
    fs_err::create_dir_all(parent)
        .and_then(|()| fs_err::write(path, text))
        .map_err(FileError::failed_to("prepare the files of the pull request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_repository() {
        let path = |prefix: &str, path: &str| in_repository(prefix, Path::new(path));
        assert_eq!(path("", "a/b.py").as_deref(), Some("a/b.py"));
        assert_eq!(path("images/", "./VERSION").as_deref(), Some("images/VERSION"));
        assert_eq!(path("images/gpu/", "../../pyproject.toml").as_deref(), Some("pyproject.toml"));
        assert_eq!(path("images/", "../../pyproject.toml"), None);
        assert_eq!(path("", "/etc/passwd"), None);
    }
}
