//! The arguments in the documentation of <https://github.com/basetenlabs/truss>'s base images. `basegen` accepts all of them
//! unchanged, with the matrix of this repository.

use crate::harness::project::{MATRIX, Project, basegen, stdout};

fn names(arguments: &str) -> Vec<String> {
    let printed = stdout(basegen(&format!("{arguments} --dry-run")));
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn lists_the_name_of_the_documented_image() {
    let arguments =
        "--live-reload y --use-gpu y --python-version 3.9 --version-tag v0.2.2 --job-type server";
    assert_eq!(names(arguments), ["baseten/truss-server-base:3.9-gpu-reload-v0.2.2"]);
}

#[test]
fn lists_all_images_without_a_selection() {
    let all = names("--version-tag v0.2.2 --push");
    assert_eq!(all.len(), 48);
    let mut expected = Vec::new();
    for python in ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"] {
        for parts in ["", "-reload", "-gpu", "-gpu-reload"] {
            for job_type in ["server", "training"] {
                expected.push(format!("baseten/truss-{job_type}-base:{python}{parts}-v0.2.2"));
            }
        }
    }
    assert_eq!(all, expected);
}

#[test]
fn accepts_the_options_of_the_earlier_script() {
    let same = |older: &str, newer: &str| assert_eq!(names(older), names(newer), "{older}");
    same("--python-version 3.9 --use-gpu n", "--python 3.9 --no-gpu");
    same("--python-version all --use-gpu both --live-reload both --job-type all", "");
    same("--live-reload n --use-gpu y --skip-login --no-push", "--no-live-reload --gpu");
    same("--live-reload", "--live-reload y");
    // Flags of argparse have a negation, and an optional value.
    same("--use-gpu --python 3.9", "--gpu --python 3.9");
    same("--python 3.9 --use-gpu --no-skip-login", "--python 3.9 --gpu");
    same("--no-dry-run", "");
    same("--version-tag --push", "--push");
    same("--python 3.9 --version-tag", "--python 3.9");
    // The last flag wins. The error about a missing engine shows that this is not a dry run.
    let mut command = basegen("--dry-run --no-dry-run --python 3.9 --job-type server");
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.output().expect("basegen runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && printed.contains("/nonexistent/docker.sock"), "{printed}");
}

#[test]
fn locates_url_schemes_in_image_names() {
    let project = Project::new();
    let with = |key: &str, value: &str| {
        let line = MATRIX.lines().find(|line| line.starts_with("repository")).expect("a key");
        let text = match key {
            "repository" => MATRIX.replace(line, &format!("repository = \"{value}\"")),
            key => MATRIX.replace(line, &format!("{key} = \"{value}\"\n{line}")),
        };
        project.write("matrix.toml", &text);
    };
    with("registry", "https://ghcr.io");
    insta_cmd::assert_cmd_snapshot!(project.basegen("list"));
    with("repository", "http://ghcr.io/acme/base");
    insta_cmd::assert_cmd_snapshot!(project.basegen("list"));
    project.write("matrix.toml", MATRIX);
    for flag in ["--registry https://ghcr.io", "--repository https://ghcr.io/acme/base"] {
        insta_cmd::assert_cmd_snapshot!(project.basegen(&format!("list {flag}")));
    }
    project.write("dockerfiles/Dockerfile.hbs", "# One\nFROM https://ghcr.io/python:{{python}}\n");
    insta_cmd::assert_cmd_snapshot!(project.basegen("render --python 3.9 --job-type server"));
}

/// A script whose variable is empty must not release under the matrix' own version.
#[test]
fn rejects_an_empty_version() {
    for arguments in [vec!["list", "--version-tag="], vec!["list", "--version-tag", ""]] {
        let output = basegen("").args(&arguments).output().expect("basegen runs");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
    }
}

#[test]
fn documented_selections_select_the_documented_images() {
    assert_eq!(names("--python 3.11 --gpu --push").len(), 4);
    assert_eq!(names("--python 3.9 --no-gpu --job-type server").len(), 2);
    assert_eq!(names("--python >=3.10,<3.13").len(), 24);
    assert_eq!(names("--python 3.9,>=3.13,<3.14").len(), 16);
    assert_eq!(names("--python 3.9 --python 3.14").len(), 16);
    assert_eq!(names("--only python=3.11 --only gpu=true --only job_type=server").len(), 2);
    assert_eq!(names("--exclude gpu=true --exclude python<3.14").len(), 4);
    assert_eq!(names("--only python=3.11,3.13").len(), 16);
    assert_eq!(names("--exclude gpu=true,python=3.9,3.10").len(), 40);
    assert_eq!(names("--gpu --no-gpu").len(), 48);
    assert_eq!(names("--python 3.9,3.14 --only gpu=true,live-reload=false").len(), 4);
}

#[test]
fn empty_parts_of_a_tag_leave_no_separator() {
    let project = Project::new();
    let keys = "tag = \"{{python}}-{{gpu}}-{{version}}\"\naliases = [\"{{python}}_{{gpu}}\"]";
    project.write("matrix.toml", &MATRIX.replace("aliases = [\"{{variant}}-latest\"]", keys));
    let listed = stdout(project.basegen("list --job-type server"));
    let tags: Vec<&str> = listed.lines().filter_map(|name| name.split(':').nth(1)).collect();
    assert_eq!(tags, ["3.9-v1.2.3", "3.11-v1.2.3", "3.11-gpu-v1.2.3"]);
    let plan = stdout(project.basegen("plan --offline --format json"));
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let alias = |at: usize| plan["targets"][at]["aliases"][0].as_str();
    assert_eq!(alias(0), Some("acme/server-base:3.9"));
    assert_eq!(alias(5), Some("acme/training-base:3.11_gpu"));
}

#[test]
fn ignores_a_duplicate_platform() {
    let arguments = "plan --offline --format json --platform linux/amd64 --platform linux/x86_64";
    let plan = stdout(Project::new().basegen(arguments));
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["targets"][0]["platforms"], serde_json::json!(["linux/amd64"]));
}

#[test]
fn names_contain_the_version_registry_and_repository() {
    let one = "--python 3.11 --gpu --live-reload --job-type server";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(names(one), [format!("baseten/truss-server-base:3.11-gpu-reload-v{version}")]);
    let elsewhere = format!(
        "{one} --registry 127.0.0.1:5000 --repository acme/{{{{job_type}}}} --version-tag my-test"
    );
    assert_eq!(names(&elsewhere), ["127.0.0.1:5000/acme/server:3.11-gpu-reload-my-test"]);
}
