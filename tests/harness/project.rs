//! A folder with a small matrix, and the commands `basegen` and `git` in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with a small matrix, alone in a temporary parent folder.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    path: PathBuf,
}

pub(crate) const MATRIX: &str = r#"[image]
repository = "acme/{{job_type}}-base"
aliases = ["{{variant}}-latest"]
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]

[axes]
python = ["3.9", "3.11"]
gpu = [false, true]
job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]

[version]
file = "VERSION"

[[exclude]]
when = { python = "3.9", gpu = true }
reason = "CUDA 12.8 needs Python 3.10"
"#;

/// Writes a file below `folder`. Creates missing parent folders.
pub(crate) fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs_err::write(path, text).expect("a file");
}

/// Copies a folder recursively. Follows links. Creates the target folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a folder");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(path, target).expect("a copy");
        }
    }
}

/// Returns the folder of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

impl Project {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("project");
        let project = Self { folder, path };
        project.write("matrix.toml", MATRIX);
        project.write("VERSION", "v1.2.3\n");
        project.write(
            "dockerfiles/Dockerfile.hbs",
            "FROM python:{{python}}\n{{#if gpu}}\nENV GPU=1\n{{/if}}\nCOPY {{job_type}}.txt /\n",
        );
        project.write("dockerfiles/server.txt", "server\n");
        project.write("dockerfiles/training.txt", "training\n");
        project
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of other entries of the parent folder.
    pub(crate) fn siblings(&self) -> Vec<OsString> {
        let entries = fs_err::read_dir(self.folder.path()).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name != "project").collect()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        write(self.path(), path, text);
    }

    pub(crate) fn basegen(&self, arguments: &str) -> Command {
        let mut command = basegen(arguments);
        // Commands without an engine must not write to the home folder.
        command.current_dir(self.path()).env("HOME", "/nonexistent");
        command
    }
}

/// Returns a command with `arguments`, split at whitespace, in this repository and with an empty environment.
pub(crate) fn basegen(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
    command.args(arguments.split_whitespace()).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs a command that must succeed, and returns its stdout.
pub(crate) fn stdout(mut command: Command) -> String {
    let output = command.output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command and returns its stdout, stderr and exit code as one text.
pub(crate) fn output(mut command: Command) -> String {
    let output = command.output().expect("the command runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().expect("an exit code");
    format!("{out}{err}exit code {code}")
}

/// Runs git in `folder`, without the user's and the system's configuration.
pub(crate) fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
    command.env_clear().env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.current_dir(folder).output().expect("git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Turns a folder into a git repository with one commit that contains all files.
pub(crate) fn init_repository(folder: &Path) {
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", "first"]);
}

/// Commits all files and tags the commit.
pub(crate) fn commit(project: &Project, tag: &str) {
    git(project.path(), &["add", "--all"]);
    git(project.path(), &["commit", "--quiet", "--message", tag]);
    git(project.path(), &["tag", tag]);
}

/// Returns a project in a git repository with one commit, tagged `first`.
pub(crate) fn committed_project() -> Project {
    let project = Project::new();
    git(project.path(), &["init", "--quiet"]);
    commit(&project, "first");
    project
}
