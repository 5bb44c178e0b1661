//! `basegen changed`: reports whether the version changed, and which images must be built.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, commit, committed_project};

#[test]
fn distinguishes_changes_of_the_version_and_of_images() {
    let project = committed_project();
    assert_cmd_snapshot!("nothing", project.basegen("changed --since first --exit-code"));
    project.write("VERSION", "v1.3.0\n");
    assert_cmd_snapshot!("version", project.basegen("changed --since first --exit-code"));
    assert_cmd_snapshot!(
        "version_github",
        project.basegen("changed --since first --format github")
    );
    project.write("dockerfiles/server.txt", "changed\n");
    assert_cmd_snapshot!("both", project.basegen("changed --since first"));
    let mut json = project.basegen("changed --since first --format json");
    let document = json.output().expect("the command runs").stdout;
    let mut document: serde_json::Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!(document["commit"].take().as_str().map(str::len), Some(40));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&document).expect("JSON"));
    assert_cmd_snapshot!("both_github", project.basegen("changed --since first --format github"));
    commit(&project, "second");
    assert_cmd_snapshot!("second", project.basegen("changed --since second"));
}

#[test]
fn reads_the_earlier_version_from_its_earlier_place() {
    let project = committed_project();
    project.write(
        "matrix.toml",
        &MATRIX.replace("file = \"VERSION\"", "file = \"v.toml\"\nkey = \"a.'b.c'\""),
    );
    project.write("v.toml", "[a]\n\"b.c\" = \"v1.2.4\"\n");
    assert_cmd_snapshot!("moved", project.basegen("changed --since first"));
    commit(&project, "second");
    project.write("matrix.toml", MATRIX);
    project.write("VERSION", "v1.2.4\n");
    assert_cmd_snapshot!("moved_back", project.basegen("changed --since second"));
}

#[test]
fn reports_an_earlier_version_that_cannot_be_read() {
    let project = committed_project();
    project.write("VERSION", "one\ntwo\n");
    commit(&project, "broken");
    project.write("VERSION", "v1.2.3\n");
    assert_cmd_snapshot!("broken", project.basegen("changed --since broken"));
    assert_cmd_snapshot!("no_revision", project.basegen("changed"));
    assert_cmd_snapshot!("gone", project.basegen("changed --since gone"));
}

#[test]
fn removed_variants_are_not_built() {
    let project = committed_project();
    let fewer = MATRIX.replace(r#"python = ["3.9", "3.11"]"#, r#"python = ["3.11"]"#);
    let fewer = fewer.split("[[exclude]]").next().expect("a matrix").to_owned();
    project.write("matrix.toml", &fewer);
    assert_cmd_snapshot!("removed", project.basegen("changed --since first --format github"));
}
