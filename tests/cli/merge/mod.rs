//! Division of a plan into jobs, and `basegen merge`, without a registry and an engine.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;
use serde_json::{Value, json};

use crate::harness::project::{Project, committed_project, stdout};

/// Creates a project with pinned upstream images.
fn pinned() -> Project {
    let project = Project::new();
    let pin = |python: &str, digit: &str| {
        format!("\"docker.io/library/python:{python}\" = \"sha256:{}\"\n", digit.repeat(64))
    };
    let pins = pin("3.9", "9") + &pin("3.11", "b");
    project.write("basegen.lock", &format!("schema = 1\n\n[images]\n{pins}"));
    project
}

/// Without a lock, jobs on several machines could use different base images.
#[test]
fn staging_and_merging_need_a_lock() {
    let project = Project::new();
    assert_cmd_snapshot!("stage_without_lock", project.basegen("--stage"));
    assert_cmd_snapshot!("merge_without_lock", project.basegen("merge --push"));
}

/// Writes the metadata of a job that has staged the variants of `selection`.
fn job_file(project: &Project, name: &str, selection: &str) {
    let plan = stdout(project.basegen(&format!("plan --offline --format json {selection}")));
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let targets = plan["targets"].as_array().expect("targets").iter().map(|target| {
        let id = target["id"].as_str().expect("an id").to_owned();
        let explained = stdout(project.basegen(&format!("explain {id}")));
        let fingerprint = explained.split_whitespace().rfind(|word| word.starts_with("sha256:"));
        let digest = basegen::image::Digest::of(id.as_bytes());
        let image = json!({
            "digest": digest, "references": {}, "cached": false, "kept": false,
            "fingerprint": fingerprint, "platforms": ["linux/amd64"], "size": 1_234_567,
        });
        (id, image)
    });
    let targets: serde_json::Map<String, Value> = targets.collect();
    let document = json!({
        "schema": 1, "version": plan["version"], "whole": false, "staged": true,
        "targets": targets, "failed": [], "cancelled": [], "set": null,
    });
    project.write(name, &document.to_string());
}

#[test]
fn plan_sets_the_jobs_as_outputs_of_a_step() {
    let project = Project::new();
    assert_snapshot!(stdout(project.basegen("plan --offline --format github --shards 2")));
    let one = stdout(project.basegen("plan --offline --format github --python 3.9"));
    assert_snapshot!(one);
    // In a step, the outputs are in its file, and the log has a table.
    let file = project.path().join("output");
    fs_err::write(&file, "before=1\n").expect("a file");
    let mut command = project.basegen("plan --offline --format github --shards 2");
    let summary = project.path().join("summary");
    command.env("GITHUB_OUTPUT", &file);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    assert_snapshot!(stdout(command));
    assert_snapshot!(fs_err::read_to_string(&summary).expect("a summary"));
    let written = fs_err::read_to_string(&file).expect("outputs");
    assert!(written.starts_with("before=1\nmatrix={\"include\":[{"), "{written}");
}

/// Pull requests compare commits, independent of the registry.
#[test]
fn jobs_contain_only_variants_that_changed_since_a_revision() {
    let project = committed_project();
    let plan = "plan --format github --since first";
    assert_snapshot!(stdout(project.basegen(plan)), @r#"
    matrix={"include":[]}
    count=0
    empty=true
    version=v1.2.3
    "#);
    project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!(stdout(project.basegen(plan)), @r#"
    matrix={"include":[{"shard":"1","name":"3.9-server and 2 more","runner":"ubuntu-24.04","args":"--variant=3.9-server,3.11-server,3.11-gpu-server","variants":["3.9-server","3.11-server","3.11-gpu-server"]}]}
    count=3
    empty=false
    version=v1.2.3
    "#);
}

/// Returns the runner and the arguments of each job.
fn runners(project: &Project, arguments: &str) -> Vec<String> {
    let outputs = stdout(project.basegen(&format!("plan --offline --format github {arguments}")));
    let matrix = outputs.lines().find_map(|line| line.strip_prefix("matrix=")).expect("jobs");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    let jobs = matrix["include"].as_array().expect("jobs").iter().map(|job| {
        let text = |key: &str| job[key].as_str().expect("text").to_owned();
        format!("{}: {} {}", text("shard"), text("runner"), text("args"))
    });
    jobs.collect()
}

#[test]
fn each_platform_is_built_on_a_runner_of_its_kind() {
    let project = Project::new();
    let matrix = r#"[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]

[axes]
python = ["3.9", "3.11"]
machine = [{ value = "x", platforms = ["linux/amd64"] }, { value = "arm", platforms = ["linux/arm64"] }, "both"]

[version]
file = "VERSION"
"#;
    project.write("matrix.toml", matrix);
    project.write("dockerfiles/Dockerfile.hbs", "FROM python:{{python}}\n");
    // Different platforms are in different jobs, even if fewer jobs are requested.
    for arguments in ["", "--shards 1"] {
        let expected = [
            "1: ubuntu-24.04 --only-platform=linux/amd64 --variant=3.9-x,3.9-both,3.11-x,3.11-both",
            "2: ubuntu-24.04-arm --only-platform=linux/arm64 --variant=3.9-arm,3.9-both,3.11-arm,3.11-both",
        ];
        assert_eq!(runners(&project, arguments), expected, "{arguments}");
    }
    // One runner for both platforms emulates one of them.
    let same = "--shards 1 --runner linux/arm64=ubuntu-24.04";
    let all = "3.9-x,3.9-arm,3.9-both,3.11-x,3.11-arm,3.11-both";
    assert_eq!(runners(&project, same), [format!("1: ubuntu-24.04 --variant={all}")]);
    assert_eq!(runners(&project, "--shards 3").len(), 3);
    // A mirrored image needs no runner of its own.
    let mirror = "\"both\", { value = \"copy\", mirror = \"quay.io/acme/copy:1\" }]";
    project.write("matrix.toml", &matrix.replace("\"both\"]", mirror));
    assert_eq!(runners(&project, "--shards 1").len(), 2);
    project.write("matrix.toml", matrix);
    assert_eq!(runners(&project, "--shards 6").len(), 6);
    let own = "--shards 2 --only machine=arm --runner linux/arm64=big-arm --runner linux/amd64=x";
    assert_eq!(
        runners(&project, own),
        ["1: big-arm --variant=3.9-arm", "2: big-arm --variant=3.11-arm"]
    );
    assert_cmd_snapshot!(project.basegen("plan --format github --runner linux/arm64"));
    assert_cmd_snapshot!(project.basegen("plan --format github --runner arm64=big"));
    assert_cmd_snapshot!(project.basegen("plan --offline --runner linux/arm64=big"));
}

#[test]
fn the_arguments_of_a_job_select_its_variants() {
    let project = Project::new();
    let outputs = stdout(project.basegen("plan --offline --format github --shards 3"));
    let matrix = outputs.lines().find_map(|line| line.strip_prefix("matrix=")).expect("jobs");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    let mut names = Vec::new();
    for job in matrix["include"].as_array().expect("jobs") {
        let args = job["args"].as_str().expect("arguments");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-=._+,".contains(c);
        assert!(args.chars().all(is_plain), "{args}");
        names.push(stdout(project.basegen(&format!("list {args}"))));
    }
    let mut names: Vec<String> = names.concat().lines().map(str::to_owned).collect();
    let mut all: Vec<String> = stdout(project.basegen("list")).lines().map(str::to_owned).collect();
    names.sort();
    all.sort();
    assert_eq!(names, all);
}

#[test]
fn rejects_unknown_variants() {
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.9-serve"));
    assert_cmd_snapshot!(Project::new().basegen("list --variant 3.9-server,"));
    assert_cmd_snapshot!(Project::new().basegen("list --python 3.11 --variant 3.9-server"));
}

#[test]
fn rejects_options_of_other_commands_and_formats() {
    assert_cmd_snapshot!(Project::new().basegen("plan --offline --shards 2"));
    assert_cmd_snapshot!(Project::new().basegen("plan --format github --shards 257"));
    assert_cmd_snapshot!(Project::new().basegen("--stage --push"));
    assert_cmd_snapshot!(Project::new().basegen("merge a.json --overwrite"));
}

#[test]
fn merges_metadata_of_jobs_without_a_registry() {
    let project = pinned();
    job_file(&project, "one.json", "--python 3.9");
    job_file(&project, "two.json", "--python 3.11");
    let merge = "merge one.json two.json --metadata-file all.json --quiet";
    assert_snapshot!(stdout(project.basegen(merge)));
    let all = fs_err::read_to_string(project.path().join("all.json")).expect("metadata");
    assert_snapshot!(all);
    // In a step, the command also sets outputs.
    let mut step = project.basegen("merge all.json --quiet");
    let outputs = project.path().join("outputs");
    step.env("GITHUB_ACTIONS", "true").env("GITHUB_OUTPUT", &outputs);
    stdout(step);
    let outputs = fs_err::read_to_string(outputs).expect("outputs");
    assert!(
        outputs.starts_with("version=v1.2.3\nwhole=false\nset=\nimages={\"3.9-server\":{"),
        "{outputs}"
    );
    // Merged metadata can be merged again.
    stdout(project.basegen("merge all.json one.json --quiet"));
}

#[test]
fn rejects_jobs_of_another_commit_and_names_their_variants() {
    let project = pinned();
    job_file(&project, "one.json", "--python 3.9");
    job_file(&project, "two.json", "--python 3.11");
    project.write("dockerfiles/server.txt", "changed since\n");
    assert_cmd_snapshot!(project.basegen("merge one.json two.json"));
    project.write("dockerfiles/server.txt", "server\n");
    project.write("VERSION", "v1.2.4\n");
    assert_cmd_snapshot!(project.basegen("merge one.json two.json"));
    // The selection does not contain all variants of the jobs.
    project.write("VERSION", "v1.2.3\n");
    assert_cmd_snapshot!(project.basegen("merge one.json two.json --python 3.11 --gpu"));
}

#[test]
fn rejects_files_that_are_not_metadata_of_jobs() {
    let project = pinned();
    assert_cmd_snapshot!(project.basegen("merge gone.json"));
    project.write("cut.json", "{\"schema\": 1, \"version\": \"v1");
    assert_cmd_snapshot!(project.basegen("merge cut.json"));
    project.write("newer.json", "{\"schema\": 2}");
    assert_cmd_snapshot!(project.basegen("merge newer.json"));
    project.write("other.json", "{\"schema\": 1,\n \"staged\": true, \"targets\": [1]}");
    assert_cmd_snapshot!(project.basegen("merge other.json"));
}

/// The annotation contains the whole error on one line.
#[test]
fn errors_are_annotations_in_github_actions() {
    let project = Project::new();
    let mut command = project.basegen("list --python 3.8");
    command.env("GITHUB_ACTIONS", "true");
    assert_cmd_snapshot!(command);
}
