//! Reads files of earlier commits, and the state of the working tree, with the `git` program.
//!
//! [`Snapshot`] checks files of one commit out into a temporary folder. [`committed`] and [`changed`] compare the
//! working tree with the newest commit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{ExitCode, Explain};
use crate::files::Checkout;

/// The longest message of git that an error repeats, in characters.
const MAX_MESSAGE: usize = 300;

/// The beginning of git's message outside of a repository.
const NO_REPOSITORY: &str = "not a git repository";

/// A failure of the `git` program, or a file or revision that it does not have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("the program `git` is not installed")]
    NoGit,
    #[error("failed to run `git`")]
    Run(#[source] io::Error),
    #[error("the matrix file is not in a git repository")]
    NoRepository,
    #[error("git has no commit `{0}`")]
    Revision(String),
    #[error("`{path}` is not in git at `{revision}`")]
    NotCommitted { path: String, revision: String },
    #[error("git failed to {action}: {message}")]
    Failed { action: &'static str, message: String },
    #[error("failed to create a temporary folder")]
    Folder(#[source] io::Error),
}

impl Explain for GitError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Revision(_) | Self::NotCommitted { .. } => ExitCode::Usage,
            _ => ExitCode::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoGit => "install git: `--since` and `{{git.sha}}` need it",
            Self::Revision(_) => {
                "name a commit, a branch or a tag; in a shallow clone, fetch it first: `git fetch origin REV`"
            }
            Self::NoRepository => "create one with `git init`, and commit the files",
            Self::NotCommitted { .. } => "choose a later revision, or commit the file",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Files of one commit, in a temporary folder that is removed with this value.
#[derive(Debug)]
pub(crate) struct Snapshot {
    revision: String,
    commit: String,
    /// The root of the working tree.
    top: PathBuf,
    /// The folder that paths are relative to, from `top`.
    prefix: String,
    temporary: tempfile::TempDir,
}

impl Snapshot {
    /// Creates a snapshot of `folder` at `revision`, without files.
    pub(crate) fn new(revision: &str, folder: &Path) -> Result<Self, GitError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let at = git(folder, &["rev-parse", "--show-toplevel", "--show-prefix"], &[])?;
        if !at.status.success() {
            let message = error_line(&at);
            return Err(if message.starts_with(NO_REPOSITORY) {
                GitError::NoRepository
            } else {
                GitError::Failed { action: "find the repository of the matrix file", message }
            });
        }
        let lines = String::from_utf8_lossy(&at.stdout).into_owned();
        let (top, prefix) = lines.split_once('\n').unwrap_or((&lines, ""));
        // A leading dash would be an option of git.
        if revision.starts_with('-') {
            return Err(GitError::Revision(revision.to_owned()));
        }
        let peeled = format!("{revision}^{{commit}}");
        let commit = git(Path::new(top), &["rev-parse", "--verify", "--quiet", &peeled], &[])?;
        if !commit.status.success() {
            return Err(GitError::Revision(revision.to_owned()));
        }
        let temporary = tempfile::Builder::new().prefix("basegen-since-").tempdir();
        let snapshot = Self {
            revision: revision.to_owned(),
            commit: String::from_utf8_lossy(&commit.stdout).trim().to_owned(),
            top: top.into(),
            prefix: prefix.trim_end_matches('\n').to_owned(),
            temporary: temporary.map_err(GitError::Folder)?,
        };
        snapshot.git("read the commit", &["read-tree", &snapshot.commit], &[])?;
        Ok(snapshot)
    }

    /// Returns the full id of the commit.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the place of a fetched `path`, which is relative to the folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.tree().join(&self.prefix).join(path)
    }

    /// Returns the fetched files as a checkout; paths are relative to the folder of the matrix.
    pub(crate) fn checkout(&self) -> Checkout {
        Checkout::within(&self.tree(), &self.path(""))
    }

    /// Returns the folder of all fetched files, as messages contain it.
    pub(crate) fn folder(&self) -> String {
        format!("{}/", self.path("").display()).replace("//", "/")
    }

    /// Fetches a file or a folder. Returns false if the commit has none at `path`.
    pub(crate) fn fetch(&self, path: &str) -> Result<bool, GitError> {
        match in_repository(&self.prefix, Path::new(path)) {
            Some(path) => self.fetch_from_root(&path, &mut BTreeSet::new()),
            None => Ok(false),
        }
    }

    /// Fetches a path from the root of the repository, and the targets of links that stay in the
    /// repository. Skips paths that were `seen`.
    fn fetch_from_root(&self, path: &str, seen: &mut BTreeSet<String>) -> Result<bool, GitError> {
        if !seen.insert(path.to_owned()) {
            return Ok(false);
        }
        let list = |path: &str| {
            self.git("list the files of the commit", &["ls-files", "-z", "--", path], &[])
        };
        // The root itself is not a path for git.
        let listed = list(if path.is_empty() { "." } else { path })?;
        if !listed.is_empty() {
            self.check_out(&listed)?;
            for file in entries(&listed) {
                if let Some(target) = self.target(&file) {
                    self.fetch_from_root(&target, seen)?;
                }
            }
            return Ok(true);
        }
        // A parent folder may be a link; git does not list files below it.
        for above in Path::new(path).ancestors().skip(1) {
            let link = above.to_string_lossy();
            if link.is_empty() {
                continue;
            }
            let listed = list(&link)?;
            if entries(&listed) != [&*link] {
                continue;
            }
            self.check_out(&listed)?;
            let rest = Path::new(path).strip_prefix(above).unwrap_or(Path::new(""));
            let behind = self.target(&link).and_then(|target| in_repository(&target, rest));
            return behind.map_or(Ok(false), |behind| self.fetch_from_root(&behind, seen));
        }
        Ok(false)
    }

    /// Checks files of the index out, with line endings and filters of their attributes.
    fn check_out(&self, listed: &[u8]) -> Result<(), GitError> {
        let tree = format!("--prefix={}/", self.tree().display());
        let arguments = ["checkout-index", "-f", "-z", "--stdin", &tree];
        self.git("write the files of the commit", &arguments, listed).map(drop)
    }

    /// Returns the target of a fetched link, from the root of the repository. Returns `None` if it is
    /// not a link or leads out of the repository.
    fn target(&self, path: &str) -> Option<String> {
        let target = fs_err::read_link(self.tree().join(path)).ok()?;
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        in_repository(&folder.to_string_lossy(), &target)
    }

    /// Fetches a path that must exist.
    pub(crate) fn require(&self, path: &str) -> Result<(), GitError> {
        if self.fetch(path)? {
            return Ok(());
        }
        let path = format!("{}{path}", self.prefix);
        Err(GitError::NotCommitted { path, revision: self.revision.clone() })
    }

    fn tree(&self) -> PathBuf {
        self.temporary.path().join("tree")
    }

    /// Runs git with a separate index, so that the user's does not change.
    fn git(
        &self,
        action: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, GitError> {
        let index = self.temporary.path().join("index");
        let mut command = command(&self.top, arguments);
        command.env("GIT_INDEX_FILE", index);
        let output = run(command, input)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(GitError::Failed { action, message: error_line(&output) })
        }
    }
}

/// Returns the full id of the commit that is checked out in the repository of `folder`.
pub(crate) fn head(folder: &Path) -> Result<String, GitError> {
    let head = git(folder, &["rev-parse", "--verify", "HEAD^{commit}"], &[])?;
    if head.status.success() {
        return Ok(String::from_utf8_lossy(&head.stdout).trim().to_owned());
    }
    let message = error_line(&head);
    Err(if message.starts_with(NO_REPOSITORY) {
        GitError::NoRepository
    } else {
        GitError::Revision("HEAD".to_owned())
    })
}

/// Returns the URL of a remote, if git, the repository and the remote exist.
pub(crate) fn remote(folder: &Path, name: &str) -> Option<String> {
    // This applies `insteadOf`.
    stdout_of(folder, &["remote", "get-url", name])
}

/// Returns the path of `folder` from the root of the repository: empty, or with a trailing `/`.
pub(crate) fn prefix(folder: &Path) -> Option<String> {
    stdout_of(folder, &["rev-parse", "--show-prefix"]).map(|prefix| prefix.trim_end().to_owned())
}

/// Resolves a path relative to the folder `prefix`, from the root of the repository. Returns `None` if it leaves the
/// repository.
pub(crate) fn in_repository(prefix: &str, path: &Path) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(prefix).join(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// A file of a commit.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The mode in git's notation: `100644`.
    mode: String,
    pub(crate) content: Vec<u8>,
}

impl Committed {
    /// Returns true if it is a regular file with this executable bit.
    pub(crate) fn is_file(&self, executable: bool) -> bool {
        self.mode == if executable { "100755" } else { "100644" }
    }
}

/// Returns the files of the newest commit at and below `path`, by paths relative to `folder`. Returns `None` if there
/// is no commit, no repository or no git.
pub(crate) fn committed(folder: &Path, path: &str) -> Option<BTreeMap<String, Committed>> {
    let answer = |arguments: &[&str], input: &[u8]| {
        let output = git(folder, arguments, input).ok()?;
        output.status.success().then_some(output.stdout)
    };
    let listed = answer(&["ls-tree", "-r", "-z", "HEAD", "--", path], &[])?;
    // `mode type id`, a tab, and the path.
    let listed: Vec<(String, String, String)> = entries(&listed)
        .iter()
        .filter_map(|line| {
            let (head, path) = line.split_once('\t')?;
            let mut words = head.split(' ');
            let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
            (kind == "blob").then(|| (path.to_owned(), mode.to_owned(), id.to_owned()))
        })
        .collect();
    let ids: String = listed.iter().map(|(.., id)| format!("{id}\n")).collect();
    let contents = answer(&["cat-file", "--batch"], ids.as_bytes())?;
    let mut rest = &contents[..];
    let mut files = BTreeMap::new();
    for (path, mode, _) in listed {
        // `id type size`, a line break, the content, and a line break.
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        let size: usize = head.rsplit(' ').next()?.parse().ok()?;
        let content = rest.get(end + 1..end + 1 + size)?;
        files.insert(path, Committed { mode, content: content.to_vec() });
        rest = rest.get(end + 2 + size..)?;
    }
    Some(files)
}

/// Returns the files at or below `paths` that differ from the newest commit, without deleted ones; paths are relative
/// to `folder`.
pub(crate) fn changed(folder: &Path, paths_of: &[&str]) -> Vec<String> {
    let listed = |arguments: &[&str]| {
        let output = git(folder, &[arguments, &["--"], paths_of].concat(), &[]).ok();
        let output = output.filter(|output| output.status.success());
        output.map(|output| paths(&output)).unwrap_or_default()
    };
    let mut files = listed(&["diff", "--name-only", "--diff-filter=d", "--relative", "-z", "HEAD"]);
    files.extend(listed(&["ls-files", "--others", "--exclude-standard", "-z"]));
    files.sort();
    files.dedup();
    files
}

fn paths(output: &Output) -> Vec<String> {
    entries(&output.stdout)
}

/// Splits the output of git with `-z`.
fn entries(listed: &[u8]) -> Vec<String> {
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries.map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// Returns the output of git without the line break, or `None` if git fails.
fn stdout_of(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = git(folder, arguments, &[]).ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> Result<Output, GitError> {
    run(command(folder, arguments), input)
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    command.arg("--literal-pathspecs").arg("-C").arg(folder).args(arguments);
    command
}

fn run(mut command: Command, input: &[u8]) -> Result<Output, GitError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitError::NoGit,
        _ => GitError::Run(error),
    })?;
    let mut stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // In a thread, because git may write output before it has read its input.
        scope.spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(input)));
        child.wait_with_output().map_err(GitError::Run)
    })
}

/// Returns the first line of git's error message.
fn error_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("fatal: ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_MESSAGE)
        .collect()
}
