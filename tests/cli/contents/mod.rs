//! Commands with a matrix without a Dockerfile.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, stdout};

const MATRIX: &str = r#"[image]
repository = "acme/app"
apt = "packages.txt"
pip = { fastapi = "==0.115.0", numpy = "latest" }
files = ["app"]
cmd = ["python", "-m", "app"]

[axes]
python = ["3.12", { value = "3.13", pip = { numpy = ">=2" } }]
gpu = [false, { value = true, pip = { torch = "==2.8.0" } }]

[[set]]
when = { gpu = true, python = "3.13" }
shell_commands = ["python -m app.warm_up"]

[version]
file = "VERSION"
"#;

/// Creates a project with the files that its images copy next to the matrix.
fn project() -> Project {
    let project = Project::new();
    fs_err::remove_dir_all(project.path().join("dockerfiles")).expect("removed");
    project.write("matrix.toml", MATRIX);
    project.write("packages.txt", "curl ffmpeg\n");
    project.write("app/__main__.py", "");
    project
}

#[test]
fn render_prints_and_writes_the_generated_dockerfile() {
    let project = project();
    assert_snapshot!(stdout(project.basegen("render --python 3.13 --gpu")));
    stdout(project.basegen("render -o rendered"));
    assert!(project.path().join("rendered/3.12/app/__main__.py").exists());
    assert!(!project.path().join("rendered/3.12/packages.txt").exists());
    stdout(project.basegen("render --check rendered"));
}

#[test]
fn plan_reports_that_the_dockerfile_is_generated() {
    assert_snapshot!(stdout(project().basegen("plan --offline")));
    let template = "dockerfile = \"Dockerfile.hbs\"\nshell_commands";
    let mixed = project();
    mixed.write("matrix.toml", &MATRIX.replace("shell_commands", template));
    mixed.write("dockerfiles/Dockerfile.hbs", "FROM a:1\n");
    mixed.write("dockerfiles/packages.txt", "curl\n");
    mixed.write("dockerfiles/app/__main__.py", "");
    assert_snapshot!(stdout(mixed.basegen("plan --offline")));
}

#[test]
fn explain_lists_packages_with_their_tables() {
    let explained = stdout(project().basegen("explain 3.13-gpu"));
    let end = explained.find("names").expect("the names");
    assert_snapshot!(&explained[..end]);
}

#[test]
fn lint_locates_packages_without_a_version_in_the_matrix() {
    assert_cmd_snapshot!(project().basegen("lint"));
}

#[test]
fn a_changed_package_changes_the_variants_that_have_it() {
    let project = project();
    let fingerprints = || {
        let lock = "schema = 1\n[images]\n";
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let images = ["python:3.12", "python:3.13"]
            .map(|name| format!("\"docker.io/library/{name}-slim-bookworm\" = \"{digest}\"\n"));
        project.write("basegen.lock", &format!("{lock}{}", images.concat()));
        ["3.12", "3.12-gpu", "3.13", "3.13-gpu"].map(|variant| {
            let explained = stdout(project.basegen(&format!("explain {variant}")));
            explained.lines().last().expect("a fingerprint").to_owned()
        })
    };
    let before = fingerprints();
    assert!(before[0].contains("sha256:"), "{before:?}");
    let changed = |from: &str, to: &str| {
        project.write("matrix.toml", &MATRIX.replace(from, to));
        let now = fingerprints();
        let changed = before.iter().zip(&now).map(|(before, now)| before != now);
        changed.collect::<Vec<_>>()
    };
    assert_eq!(changed("==2.8.0", "==2.8.1"), [false, true, false, true]);
    assert_eq!(changed(">=2", ">=2.1"), [false, false, true, true]);
    assert_eq!(changed("warm_up", "warm"), [false, false, false, true]);
    // A comment in a file with Debian packages changes nothing.
    project.write("packages.txt", "# tools\ncurl\nffmpeg\n");
    assert_eq!(changed("", ""), [false; 4]);
    project.write("packages.txt", "curl\n");
    assert_eq!(changed("", ""), [true; 4]);
}

#[test]
fn export_bake_contains_the_generated_dockerfiles() {
    let project = project();
    stdout(project.basegen("export bake --offline -o bake"));
    let file =
        fs_err::read_to_string(project.path().join("bake/docker-bake.json")).expect("a file");
    let rendered = stdout(project.basegen("render --python 3.12 --no-gpu"));
    let rendered = serde_json::to_string(&rendered).expect("JSON");
    assert!(file.contains(&rendered), "{file}");
}
