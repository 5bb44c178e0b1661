//! `basegen explain`: the properties of a variant, and why it is or is not in the matrix.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, stdout};

/// Creates a project whose matrix has a rule of every kind.
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
fn explains_all_properties_of_a_variant() {
    assert_snapshot!(stdout(project().basegen("explain 3.11-gpu-server")));
    assert_snapshot!(stdout(project().basegen("explain acme/server-base:3.14-gpu-v1.2.3")));
}

#[test]
fn names_the_table_of_each_setting() {
    let project = Project::new();
    let gpu = r#"gpu = [false, { value = true, compression = "gzip", max_size = "2 GB" }]"#;
    let sets = "[[set]]\nwhen = { gpu = true }\nmax_size = \"3 GB\"\ntag = '{{python}}-{{replace cuda \".\" \"\"}}-{{version}}'\n\
                variables = { cuda = \"12.8\" }\n[set.labels]\ngpu = \"yes\"\nvendor = \"acme\"\n";
    project
        .write("matrix.toml", &format!("{}\n{sets}", MATRIX.replace("gpu = [false, true]", gpu)));
    let explained = stdout(project.basegen("explain 3.11-gpu-server"));
    let end = explained.find("base images").expect("the base images");
    assert_snapshot!(&explained[..end]);
}

#[test]
fn needs_no_version() {
    let project = Project::new();
    let alias = "[[alias]]\nrun = \"python --version\"\ntag = \"{{output}}-{{version}}\"\n";
    let matrix = MATRIX.replace("[version]\nfile = \"VERSION\"", alias);
    project.write("matrix.toml", &matrix);
    let told = stdout(project.basegen("explain 3.11-gpu-server"));
    let (names, platforms) = (told.find("names"), told.find("platforms"));
    assert_snapshot!(&told[names.expect("the names")..platforms.expect("the platforms")]);
    assert_snapshot!(stdout(project.basegen("explain 3.11-gpu")));
}

#[test]
fn lists_pins_and_the_fingerprint() {
    let project = project();
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let lock = format!("schema = 1\n[images]\n\"docker.io/library/python:3.11\" = \"{digest}\"\n");
    project.write("basegen.lock", &lock);
    let explained = stdout(project.basegen("explain 3.11-training"));
    let end = explained.find("base images").expect("the base images");
    assert_snapshot!(&explained[end..]);
}

#[test]
fn summarizes_several_variants() {
    assert_snapshot!(stdout(project().basegen("explain 3.11-gpu")));
    assert_snapshot!(stdout(project().basegen("explain python=3.11,gpu=false")));
}

#[test]
fn explains_why_variants_do_not_exist() {
    assert_cmd_snapshot!(project().basegen("explain 3.9-gpu-server"));
    assert_cmd_snapshot!(project().basegen("explain python=3.9,gpu=true"));
    assert_cmd_snapshot!(project().basegen("explain 3.14-server"));
}

#[test]
fn explains_an_excluded_variant_without_a_valid_name() {
    let project = Project::new();
    let matrix = MATRIX
        .replace("{{job_type}}-base", "{{job_type}}-{{gpu}}")
        .replace("python = \"3.9\", gpu = true", "gpu = false");
    project.write("matrix.toml", &matrix);
    assert_snapshot!(stdout(project.basegen("explain 3.9-gpu")));
}

#[test]
fn rejects_unknown_names() {
    assert_cmd_snapshot!(project().basegen("explain 3.8-gpu"));
    assert_cmd_snapshot!(project().basegen("explain python=3.8"));
    assert_cmd_snapshot!(project().basegen("explain nothing"));
}
