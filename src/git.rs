//! An earlier state of a project, out of git, by the `git` program.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{ExitCode, Explain};
use crate::files::Checkout;

/// How much of what git says is repeated, in characters.
const MAX_SAID: usize = 300;

/// Why an earlier state cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// There is no such program.
    #[error("the program `git` is not installed")]
    NoGit,
    /// It cannot be run.
    #[error("failed to run `git`")]
    Run(#[source] io::Error),
    /// The matrix file is in no repository.
    #[error("the matrix file is in no git repository: {0}")]
    NoRepository(String),
    /// The revision means no commit.
    #[error("git knows no commit `{0}`")]
    Revision(String),
    /// The file is not in git, or was not then.
    #[error("`{path}` is not in git at `{revision}`")]
    NotThere { path: String, revision: String },
    /// Something else.
    #[error("git failed to {doing}: {said}")]
    Failed { doing: &'static str, said: String },
    /// There is no place for it.
    #[error("cannot make a folder for what git has")]
    Folder(#[source] io::Error),
}

impl Explain for GitError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Revision(_) | Self::NotThere { .. } => ExitCode::Usage,
            _ => ExitCode::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoGit => "`--since` asks it what the project was like; install it",
            Self::Revision(_) => {
                "a commit, a branch or a tag; in a shallow clone, fetch it first: `git fetch origin REV`"
            }
            Self::NotThere { .. } => "choose a later revision, or commit the file",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Files as they were in one commit, in a folder of their own that goes with this value.
#[derive(Debug)]
pub(crate) struct Snapshot {
    revision: String,
    commit: String,
    /// The repository's working tree.
    top: PathBuf,
    /// The folder that paths are relative to, below `top`.
    prefix: String,
    temporary: tempfile::TempDir,
}

impl Snapshot {
    /// The state of `folder` at `revision`, still empty.
    pub(crate) fn new(revision: &str, folder: &Path) -> Result<Self, GitError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let at = git(folder, &["rev-parse", "--show-toplevel", "--show-prefix"], &[])?;
        if !at.status.success() {
            return Err(GitError::NoRepository(said(&at)));
        }
        let lines = String::from_utf8_lossy(&at.stdout).into_owned();
        let (top, prefix) = lines.split_once('\n').unwrap_or((&lines, ""));
        // What begins with a dash would be an option of git's.
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

    /// The commit's full id.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    /// Where `path`, relative to the folder, is once it was fetched.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.tree().join(&self.prefix).join(path)
    }

    /// Returns the fetched files as a checkout; paths are relative to the folder of the matrix.
    pub(crate) fn checkout(&self) -> Checkout {
        Checkout::within(&self.tree(), &self.path(""))
    }

    /// The folder that everything fetched is below, as messages would name it.
    pub(crate) fn folder(&self) -> String {
        format!("{}/", self.path("").display()).replace("//", "/")
    }

    /// Brings a file or a folder with all that is in it; whether there was one.
    pub(crate) fn fetch(&self, path: &str) -> Result<bool, GitError> {
        match in_repository(&self.prefix, Path::new(path)) {
            Some(path) => self.bring(&path, &mut BTreeSet::new()),
            None => Ok(false),
        }
    }

    /// The same of a path from the repository's top. What links lead to comes along, as far as
    /// that is in the repository; a path that was `seen` is not looked at again.
    fn bring(&self, path: &str, seen: &mut BTreeSet<String>) -> Result<bool, GitError> {
        if !seen.insert(path.to_owned()) {
            return Ok(false);
        }
        let list = |path: &str| self.git("list its files", &["ls-files", "-z", "--", path], &[]);
        // The top itself is no path to git.
        let listed = list(if path.is_empty() { "." } else { path })?;
        if !listed.is_empty() {
            self.check_out(&listed)?;
            for file in entries(&listed) {
                if let Some(target) = self.target(&file) {
                    self.bring(&target, seen)?;
                }
            }
            return Ok(true);
        }
        // A folder on the way may be a link, of which git knows nothing that is below.
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
            return behind.map_or(Ok(false), |behind| self.bring(&behind, seen));
        }
        Ok(false)
    }

    /// Writes files of the index, as a checkout would: line ends and filters as the attributes say.
    fn check_out(&self, listed: &[u8]) -> Result<(), GitError> {
        let tree = format!("--prefix={}/", self.tree().display());
        let arguments = ["checkout-index", "-f", "-z", "--stdin", &tree];
        self.git("write its files", &arguments, listed).map(drop)
    }

    /// What a link that was brought leads to, from the repository's top; nothing where it is no
    /// link, or leads out of there.
    fn target(&self, path: &str) -> Option<String> {
        let target = fs_err::read_link(self.tree().join(path)).ok()?;
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        in_repository(&folder.to_string_lossy(), &target)
    }

    /// Brings what must be there.
    pub(crate) fn require(&self, path: &str) -> Result<(), GitError> {
        match self.fetch(path)? {
            true => Ok(()),
            false => Err(GitError::NotThere {
                path: format!("{}{path}", self.prefix),
                revision: self.revision.clone(),
            }),
        }
    }

    fn tree(&self) -> PathBuf {
        self.temporary.path().join("tree")
    }

    /// Runs git on an index of our own, so that the user's stays as it is.
    fn git(
        &self,
        doing: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, GitError> {
        let index = self.temporary.path().join("index");
        let mut command = command(&self.top, arguments);
        command.env("GIT_INDEX_FILE", index);
        let output = run(command, input)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(GitError::Failed { doing, said: said(&output) }),
        }
    }
}

/// The URL of a remote; nothing where there is no such one, no repository, or no git.
pub(crate) fn remote(folder: &Path, name: &str) -> Option<String> {
    // As git itself would reach it, `insteadOf` included.
    asked(folder, &["remote", "get-url", name])
}

/// Where `folder` is below the repository's top: nothing, or a path that ends with `/`.
pub(crate) fn prefix(folder: &Path) -> Option<String> {
    asked(folder, &["rev-parse", "--show-prefix"]).map(|prefix| prefix.trim_end().to_owned())
}

/// A path relative to the folder `prefix`, from the repository's top; nothing where it leaves that.
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

/// A file as a commit has it.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Its mode as git writes it: `100644`.
    mode: String,
    pub(crate) content: Vec<u8>,
}

impl Committed {
    /// Whether it is a file that may be executed, or one that may not be, and no link.
    pub(crate) fn is_file(&self, executable: bool) -> bool {
        self.mode == if executable { "100755" } else { "100644" }
    }
}

/// What the newest commit has at and below `path`, by paths relative to `folder`; nothing where
/// there is no commit, no repository, or no git.
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
        // `id type size`, a line end, so many bytes, and a line end.
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        let size: usize = head.rsplit(' ').next()?.parse().ok()?;
        let content = rest.get(end + 1..end + 1 + size)?;
        files.insert(path, Committed { mode, content: content.to_vec() });
        rest = rest.get(end + 2 + size..)?;
    }
    Some(files)
}

/// The files at or below `paths` that are not as the newest commit has them, those that are
/// gone left out; relative to `folder`, as the paths are.
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

/// What git lists with `-z`.
fn entries(listed: &[u8]) -> Vec<String> {
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries.map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// What git answers, in one line; nothing where it fails.
fn asked(folder: &Path, arguments: &[&str]) -> Option<String> {
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
        // On a thread of its own: git may answer before it has read everything.
        scope.spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(input)));
        child.wait_with_output().map_err(GitError::Run)
    })
}

/// What git said was wrong, in one line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("fatal: ").chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}
