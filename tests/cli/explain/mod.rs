//! `basegen explain`: why a variant is, or is not, in the matrix.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, stdout};

/// The usual matrix, with a rule of every kind.
fn project() -> Project {
    let project = Project::new();
    let more = r#"
[variables]
user = "root"

[[set]]
when = { gpu = true }
variables = { cuda = "12.8" }

[[extra]]
axes = { python = "3.14", gpu = true, job_type = "server" }
variables = { cuda = "13.0" }
"#;
    let gpu = r#"gpu = [false, { value = true, platforms = ["linux/amd64"] }]"#;
    project.write("matrix.toml", &format!("{}{more}", MATRIX.replace("gpu = [false, true]", gpu)));
    project
}

#[test]
fn a_variant_is_told_in_full() {
    assert_snapshot!(stdout(project().basegen("explain 3.11-gpu-server")));
    assert_snapshot!(stdout(project().basegen("explain acme/server-base:3.14-gpu-v1.2.3")));
}

#[test]
fn settings_name_the_table_that_sets_them() {
    let project = Project::new();
    let gpu = r#"gpu = [false, { value = true, compression = "gzip", max_size = "2 GB" }]"#;
    let sets = "[[set]]\nwhen = { gpu = true }\nmax_size = \"3 GB\"\ntag = '{{python}}-{{replace cuda \".\" \"\"}}-{{version}}'\n\
                variables = { cuda = \"12.8\" }\n[set.labels]\ngpu = \"yes\"\nvendor = \"acme\"\n";
    project
        .write("matrix.toml", &format!("{}\n{sets}", MATRIX.replace("gpu = [false, true]", gpu)));
    let told = stdout(project.basegen("explain 3.11-gpu-server"));
    let end = told.find("base images").expect("the base images");
    assert_snapshot!(&told[..end]);
}

#[test]
fn pins_and_the_fingerprint_are_told() {
    let project = project();
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let lock = format!("schema = 1\n[images]\n\"docker.io/library/python:3.11\" = \"{digest}\"\n");
    project.write("basegen.lock", &lock);
    let told = stdout(project.basegen("explain 3.11-training"));
    let end = told.find("base images").expect("the base images");
    assert_snapshot!(&told[end..]);
}

#[test]
fn several_are_told_briefly() {
    assert_snapshot!(stdout(project().basegen("explain 3.11-gpu")));
    assert_snapshot!(stdout(project().basegen("explain python=3.11,gpu=false")));
}

#[test]
fn what_is_not_there_is_told_with_the_reason() {
    assert_cmd_snapshot!(project().basegen("explain 3.9-gpu-server"));
    assert_cmd_snapshot!(project().basegen("explain python=3.9,gpu=true"));
    assert_cmd_snapshot!(project().basegen("explain 3.14-server"));
}

#[test]
fn what_cannot_be_named_is_in_nobodys_way() {
    let project = Project::new();
    let matrix = MATRIX
        .replace("{{job_type}}-base", "{{job_type}}-{{gpu}}")
        .replace("python = \"3.9\", gpu = true", "gpu = false");
    project.write("matrix.toml", &matrix);
    assert_snapshot!(stdout(project.basegen("explain 3.9-gpu")));
}

#[test]
fn names_that_mean_nothing_are_refused() {
    assert_cmd_snapshot!(project().basegen("explain 3.8-gpu"));
    assert_cmd_snapshot!(project().basegen("explain python=3.8"));
    assert_cmd_snapshot!(project().basegen("explain nothing"));
}
