//! `basegen bump`: writes a new version to each of its places.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, commit, committed_project, git, stdout};
use crate::harness::registry::FakeRegistry;

/// Creates a project whose version is in two files, with a table of images in its README.
fn project() -> Project {
    let project = Project::new();
    let version = "[version]\nfile = \"pyproject.toml\"\nkey = \"project.version\"\nprefix = \"v\"\n\
        [[version.also]]\nfile = \"acme/util.py\"\nconstant = \"BASE_IMAGE_VERSION_TAG\"\n\
        [generated]\nreadme = \"README.md\"\n";
    project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"\n", version));
    project.write("pyproject.toml", "[project]\nname = \"acme\"\nversion = \"1.2.3\"  # kept\n");
    project.write(
        "acme/util.py",
        "\"\"\"Docs.\r\n\r\nThe tag of v1.0.0.\r\n\"\"\"\r\nBASE_IMAGE_VERSION_TAG = 'v1.2.3'\r\n",
    );
    project.write("README.md", "# Acme\n\n<!-- images: -->\n<!-- end of images -->\n");
    project
}

fn read(project: &Project, path: &str) -> String {
    fs_err::read_to_string(project.path().join(path)).expect(path)
}

#[test]
fn updates_all_places_and_the_readme() {
    let project = project();
    let before = ["pyproject.toml", "acme/util.py", "README.md"].map(|path| read(&project, path));
    assert_snapshot!("dry_run", stdout(project.basegen("bump minor --dry-run")));
    assert_eq!(
        before,
        ["pyproject.toml", "acme/util.py", "README.md"].map(|path| read(&project, path))
    );
    assert_cmd_snapshot!("minor", project.basegen("bump minor"));
    assert_eq!(read(&project, "acme/util.py"), before[1].replace("v1.2.3", "v1.3.0"));
    assert!(
        read(&project, "README.md")
            .contains("|  | server | `acme/server-base:<python>-v1.3.0` | 3.9, 3.11 |")
    );
    assert_cmd_snapshot!("again", project.basegen("bump v1.3.0"));
    assert_cmd_snapshot!("prerelease", project.basegen("bump patch --pre beta --format json"));
    assert_snapshot!("places", read(&project, "pyproject.toml") + &read(&project, "acme/util.py"));
    assert_cmd_snapshot!("release", project.basegen("bump patch --format github"));
    assert_cmd_snapshot!("lower", project.basegen("bump 1.2.3"));
    assert_cmd_snapshot!("allowed", project.basegen("bump 1.2.3 --allow-downgrade"));
    assert_eq!(read(&project, "pyproject.toml"), before[0]);
}

#[test]
fn accepts_a_prefix_with_digits_and_rejects_an_epoch() {
    let project = Project::new();
    let version = "file = \"VERSION\"\nprefix = \"base2-\"\n";
    project.write("matrix.toml", &MATRIX.replace("file = \"VERSION\"\n", version));
    project.write("VERSION", "5\n");
    assert_cmd_snapshot!("prefix_with_digits", project.basegen("bump minor"));
    project.write("VERSION", "1!1.2.3\n");
    assert_cmd_snapshot!("epoch", project.basegen("list"));
}

#[test]
fn ambiguous_places_and_versions_are_errors() {
    let project = project();
    let before = read(&project, "pyproject.toml");
    project.write("acme/util.py", "# BASE_IMAGE_VERSION_TAG = 'v1.2.3'\n");
    assert_cmd_snapshot!("commented_out", project.basegen("bump 1.3.0"));
    project.write(
        "acme/util.py",
        "BASE_IMAGE_VERSION_TAG = 'v1.2.3'\nBASE_IMAGE_VERSION_TAG = 'v1.2.3'\n",
    );
    assert_cmd_snapshot!("doubled", project.basegen("bump patch"));
    project.write("acme/util.py", "BASE_IMAGE_VERSION_TAG = 'v1.1.0'\n");
    assert_cmd_snapshot!("disagreeing", project.basegen("bump patch"));
    project.write("README.md", "# Acme\n");
    assert_cmd_snapshot!("no_table", project.basegen("bump 1.3.0"));
    assert_cmd_snapshot!("unknown_level", project.basegen("bump mayor"));
    assert_cmd_snapshot!("other_prefix", project.basegen("bump release-1.3.0"));
    assert_cmd_snapshot!("pre_without_level", project.basegen("bump 1.3.0 --pre rc"));
    assert_cmd_snapshot!(
        "downgrade_without_version",
        project.basegen("bump patch --allow-downgrade")
    );
    assert_cmd_snapshot!("unsupported_prerelease", project.basegen("bump 1.3.0-nightly.1"));
    assert_eq!(read(&project, "pyproject.toml"), before);
    // An explicit version does not depend on the current one.
    project.write("README.md", "<!-- images: -->\n<!-- end of images -->\n");
    assert_cmd_snapshot!("given", project.basegen("bump v1.2.3"));
    project.write(
        "matrix.toml",
        &MATRIX
            .replace("[version]\nfile = \"VERSION\"\n", "")
            .replace("[axes]", "tag = \"x\"\n[axes]"),
    );
    assert_cmd_snapshot!("no_version", project.basegen("bump patch"));
}

#[test]
fn bumps_if_a_range_of_commits_changed_images() {
    let project = committed_project();
    assert_cmd_snapshot!("since_nothing", project.basegen("bump patch --if-changed --since first"));
    project.write("dockerfiles/server.txt", "changed\n");
    assert_cmd_snapshot!(
        "since_something",
        project.basegen("bump patch --if-changed --since first")
    );
    assert_cmd_snapshot!("since_alone", project.basegen("bump patch --since first"));
}

#[test]
fn accepts_a_matrix_in_a_subfolder() {
    let project = Project::new();
    let version = "file = \"../pyproject.toml\"\nkey = \"project.version\"\n\
        [[version.also]]\nfile = \"VERSION\"\n[generated]\nreadme = \"README.md\"";
    project.write("images/matrix.toml", &MATRIX.replace("file = \"VERSION\"", version));
    project.write("images/VERSION", "v1.2.3");
    project.write("images/README.md", "<!-- images: -->\n<!-- end of images -->\n");
    project.write("images/dockerfiles/Dockerfile.hbs", "FROM scratch\nCOPY {{job_type}}.txt /\n");
    for name in ["server", "training"] {
        project.write(&format!("images/dockerfiles/{name}.txt"), name);
    }
    project.write("pyproject.toml", "[project]\nversion = \"1.2.3\"\n");
    git(project.path(), &["init", "--quiet"]);
    commit(&project, "first");
    assert_cmd_snapshot!("below", project.basegen("bump patch -f images/matrix.toml"));
    assert_cmd_snapshot!(
        "below_changed",
        project.basegen("changed -f images/matrix.toml --since first")
    );
    let diff = project.basegen("bump minor -f images/matrix.toml --dry-run");
    project.write("bump.diff", &stdout(diff));
    git(project.path(), &["apply", "bump.diff"]);
    assert_cmd_snapshot!("below_applied", project.basegen("bump 1.3.0 -f images/matrix.toml"));
    project.write("pyproject.toml", "[project]\n");
    assert_cmd_snapshot!("below_check", project.basegen("check --offline -f images/matrix.toml"));
}

#[test]
fn reports_why_a_version_cannot_be_written() {
    let project = project();
    assert_cmd_snapshot!("local_version", project.basegen("bump 1.3.0+cu128"));
    project.write("pyproject.toml", &format!("[project]\nversion = \"1.{}.0\"\n", u64::MAX - 1));
    project.write("acme/util.py", &format!("BASE_IMAGE_VERSION_TAG = 'v1.{}.0'\n", u64::MAX - 1));
    assert_cmd_snapshot!("largest", project.basegen("bump minor --dry-run"));
    fs_err::remove_file(project.path().join("README.md")).expect("removed");
    assert_cmd_snapshot!("no_readme", project.basegen("bump 1.3.0 --allow-downgrade"));
    let project = committed_project();
    let mut command = project.basegen("bump patch --format github");
    command.env("GITHUB_OUTPUT", "gone/outputs");
    assert_cmd_snapshot!("no_outputs", command);
    assert_eq!(read(&project, "VERSION"), "v1.2.3\n");
}

#[test]
fn combines_edits_of_a_file_with_two_paths() {
    let project = project();
    let matrix = read(&project, "matrix.toml").replace("\"README.md\"", "\"./README.md\"");
    let also = "[[version.also]]\nfile = \"README.md\"\npattern = 'pull acme:(?P<version>\\S+)'\n";
    project.write("matrix.toml", &matrix.replace("[generated]", &format!("{also}[generated]")));
    let text = read(&project, "README.md");
    project.write("README.md", &format!("pull acme:v1.2.3\n{text}"));
    assert!(stdout(project.basegen("bump minor")).ends_with("\n  README.md\n"));
    let text = read(&project, "README.md");
    assert!(text.starts_with("pull acme:v1.3.0\n"), "{text}");
    assert!(text.contains("`acme/server-base:<python>-v1.3.0`"), "{text}");
}

#[test]
fn rejects_an_absolute_path() {
    let project = Project::new();
    project.write("matrix.toml", &MATRIX.replace("\"VERSION\"", "\"/etc/version\""));
    assert_cmd_snapshot!("absolute_place", project.basegen("bump patch"));
}

#[test]
fn writes_outputs_to_the_file_of_github() {
    let project = committed_project();
    let file = project.path().join("outputs");
    let mut command = project.basegen("bump patch --format github --dry-run");
    command.env("GITHUB_OUTPUT", &file);
    let outputs =
        "version_changed=true\nversion_before=v1.2.3\nversion=v1.2.4\nfiles=[\"VERSION\"]\n";
    assert_eq!(stdout(command), outputs);
    assert!(!file.exists());
    let mut command = project.basegen("bump patch --format github");
    command.env("GITHUB_OUTPUT", &file);
    assert_eq!(stdout(command), "v1.2.3 → v1.2.4\n  VERSION\n");
    assert_snapshot!(read(&project, "outputs"), @r#"
    version_changed=true
    version_before=v1.2.3
    version=v1.2.4
    files=["VERSION"]
    "#);
}

#[test]
fn keeps_an_unreleased_version() {
    let registry = FakeRegistry::start_blocking();
    let project = Project::new();
    let matrix =
        MATRIX.replace("[image]\n", &format!("[image]\nregistry = \"{}\"\n", registry.host()));
    project.write("matrix.toml", &matrix);
    project
        .write("dockerfiles/Dockerfile.hbs", "FROM scratch\nENV A={{python}}{{gpu}}{{job_type}}\n");
    assert_cmd_snapshot!("unreleased", project.basegen("bump patch --if-changed"));
    assert_eq!(read(&project, "VERSION"), "v1.2.3\n");
}

/// The matrix is in the current folder, whose path is empty.
#[test]
fn updates_the_lock_file_of_a_workspace() {
    let project = Project::new();
    let version = "file = \"Cargo.toml\"\nkey = \"workspace.package.version\"\n";
    project.write("matrix.toml", &MATRIX.replace("file = \"VERSION\"\n", version));
    let workspace = "[workspace]\nmembers = [\"one\"]\n[workspace.package]\nversion = \"1.2.3\"\n";
    project.write("Cargo.toml", workspace);
    project.write("one/Cargo.toml", "[package]\nname = \"one\"\nversion.workspace = true\n");
    project.write("Cargo.lock", "[[package]]\nname = \"one\"\nversion = \"1.2.3\"\n");
    stdout(project.basegen("bump minor"));
    assert_eq!(read(&project, "Cargo.lock"), "[[package]]\nname = \"one\"\nversion = \"1.3.0\"\n");
}
