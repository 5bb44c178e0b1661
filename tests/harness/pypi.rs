//! Packages from PyPI, each in an environment of its own in the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Returns the folder of a Python environment with these requirements, which it installs once.
pub(crate) fn environment(requirements: &[&str]) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let script = "for file in tests/testbed/common.sh tests/testbed/packages.sh scripts/tools.sh; do . $file; done
        pypi_environment \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bash"]).args(requirements);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").trim())
}

/// The release of Truss whose requirements the images have.
pub(crate) fn truss() -> String {
    pinned("server/truss.in")
}

/// The uv that the images have.
pub(crate) fn uv() -> String {
    pinned("uv/requirements.txt")
}

/// Returns the one requirement of a file of the images.
fn pinned(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dockerfiles").join(path);
    let text = fs_err::read_to_string(path).expect("a pinned release");
    let line = text.lines().find(|line| line.contains("==")).expect("a requirement");
    line.trim_end_matches([' ', '\\']).to_owned()
}

/// Runs a script with `arguments` in an environment, below `folder`, and returns the JSON that it prints.
pub(crate) fn run(
    environment: &Path,
    folder: &Path,
    script: &str,
    arguments: &[String],
) -> serde_json::Value {
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-c", script]).args(arguments).current_dir(folder).env("HOME", folder);
    let output = command.output().expect("Python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{errors}"))
}
