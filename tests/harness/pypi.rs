//! Python environments with packages from PyPI, in the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Returns the folder of a Python environment with these requirements. The first call installs it.
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

/// Returns the requirement `truss==…` of the images.
pub(crate) fn truss_requirement() -> String {
    requirement("server/truss.in")
}

/// Returns the requirement `uv==…` of the images.
pub(crate) fn uv_requirement() -> String {
    requirement("uv/requirements.txt")
}

/// Returns the first pinned requirement of a file in `dockerfiles/`.
fn requirement(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dockerfiles").join(path);
    let text = fs_err::read_to_string(path).expect("a pinned release");
    let line = text.lines().find(|line| line.contains("==")).expect("a requirement");
    line.trim_end_matches([' ', '\\']).to_owned()
}

/// Runs a Python script in an environment, in `folder`, and returns the JSON that it prints.
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
