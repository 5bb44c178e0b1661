//! `basegen plan --since`: the variants that a range of commits affects.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{MATRIX, Project, commit, committed_project, git, stdout};

#[test]
fn unused_files_affect_no_variant() {
    let project = committed_project();
    project.write("VERSION", "v1.3.0\n");
    project.write("README.md", "read me\n");
    project.write("dockerfiles/unused.txt", "unused\n");
    assert_snapshot!(stdout(project.basegen("plan --since first")), @"0 of 6 variants differ from first");
}

#[test]
fn a_file_affects_the_variants_that_copy_it() {
    let project = committed_project();
    project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!(stdout(project.basegen("plan --since first")));
    // Compares the working tree, with or without a commit.
    commit(&project, "second");
    let one = "plan --since first~0 --python 3.9 --no-gpu --format markdown";
    assert_snapshot!(stdout(project.basegen(one)));
    assert_snapshot!(stdout(project.basegen("plan --since second")), @"0 of 6 variants differ from second");
}

#[test]
fn lists_added_and_removed_variants() {
    let project = committed_project();
    let changed = MATRIX
        .replace(r#"python = ["3.9", "3.11"]"#, r#"python = ["3.11", "3.12"]"#)
        .replace("python = \"3.9\", gpu = true", "python = \"3.12\", gpu = true")
        .replace("[version]", "[image.labels]\nvendor = \"acme\"\n[version]");
    project.write("matrix.toml", &changed);
    assert_snapshot!(stdout(project.basegen("plan --since first")));
    // A selection applies to both states. Its values can be new.
    let part = stdout(project.basegen("plan --since first --python 3.12 --job-type server"));
    assert_snapshot!(part);
}

#[test]
fn variables_partials_and_pins_are_reasons() {
    let project = Project::new();
    let cuda = |version: &str| {
        let set = "[[set]]\nwhen = { gpu = true }\nvariables = { cuda = ";
        format!("{MATRIX}\n{set}\"{version}\" }}\n")
    };
    let lock = |digit: char| {
        let digest = digit.to_string().repeat(64);
        format!("schema = 1\n[images]\n\"docker.io/library/python:3.9\" = \"sha256:{digest}\"\n")
    };
    let dockerfile =
        "FROM python:{{python}}\n{{> user}}\n{{#if gpu}}\nENV CUDA={{cuda}}\n{{/if}}\n";
    project.write("dockerfiles/Dockerfile.hbs", dockerfile);
    project.write("dockerfiles/partials/user.hbs", "USER 0\n");
    project.write("matrix.toml", &cuda("12.6"));
    project.write("basegen.lock", &lock('1'));
    git(project.path(), &["init", "--quiet"]);
    commit(&project, "first");
    project.write("matrix.toml", &cuda("12.8"));
    project.write("basegen.lock", &lock('2'));
    assert_snapshot!(stdout(project.basegen("plan --since first --job-type server")));
    project.write("dockerfiles/partials/user.hbs", "USER 1\n");
    let plan = stdout(project.basegen("plan --since first --format json --job-type server"));
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert_snapshot!(serde_json::to_string_pretty(&plan["affected"]).expect("JSON"));
    assert_eq!(
        (&plan["schema"], &plan["since"], &plan["unaffected"]),
        (&1.into(), &"first".into(), &0.into())
    );
    assert_eq!(plan["commit"].as_str().map(str::len), Some(40));
}

#[test]
fn accepts_a_matrix_in_a_subfolder() {
    let project = Project::new();
    git(project.path(), &["init", "--quiet"]);
    for path in ["matrix.toml", "VERSION", "dockerfiles"] {
        fs_err::create_dir_all(project.path().join("images")).expect("a folder");
        let to = project.path().join("images").join(path);
        fs_err::rename(project.path().join(path), to).expect("moved");
    }
    project.write("matrix.toml", "another one");
    project.write(
        "images/dockerfiles/Dockerfile.hbs",
        "FROM scratch\nCOPY --chmod=755 server.txt /\n",
    );
    commit(&project, "first");
    project.write("images/dockerfiles/server.txt", "new\n");
    let plan = stdout(project.basegen("plan -f images/matrix.toml --since HEAD --python 3.9"));
    assert_snapshot!(plan);
}

#[test]
fn follows_links_within_the_repository() {
    let project = Project::new();
    git(project.path(), &["init", "--quiet"]);
    let at = |path: &str| project.path().join(path);
    for (path, real) in [("dockerfiles", "shared/df"), ("VERSION", "shared/version.txt")] {
        fs_err::create_dir_all(at("shared")).expect("a folder");
        fs_err::rename(at(path), at(real)).expect("moved");
        std::os::unix::fs::symlink(real, at(path)).expect("a link");
    }
    // A link in the path of another link, and a link to itself.
    fs_err::create_dir_all(at("real")).expect("a folder");
    fs_err::rename(at("shared"), at("real/shared")).expect("moved");
    std::os::unix::fs::symlink("real/shared", at("shared")).expect("a link");
    std::os::unix::fs::symlink("loop", at("loop")).expect("a link");
    commit(&project, "first");
    assert_snapshot!(stdout(project.basegen("plan --since first")), @"0 of 6 variants differ from first");
    let changed = stdout(project.basegen("changed --since first --format json"));
    assert!(!changed.is_empty());
}

#[test]
fn does_not_change_the_index_of_the_user() {
    let project = committed_project();
    project.write("dockerfiles/server.txt", "staged\n");
    git(project.path(), &["add", "--all"]);
    let index = || fs_err::read(project.path().join(".git/index")).expect("the index");
    let before = index();
    stdout(project.basegen("plan --since first"));
    assert_eq!(index(), before);
}

#[test]
fn rejects_revisions_that_cannot_be_compared() {
    assert_cmd_snapshot!(Project::new().basegen("plan --since HEAD"));
    let project = committed_project();
    assert_cmd_snapshot!(project.basegen("plan --since gone"));
    assert_cmd_snapshot!(project.basegen("plan --since=--help"));
    assert_cmd_snapshot!(project.basegen("plan --since first..HEAD"));
    let mut command = project.basegen("plan --since first");
    command.env("PATH", "/nonexistent");
    assert_cmd_snapshot!(command);
    project.write("other.toml", MATRIX);
    assert_cmd_snapshot!(project.basegen("plan -f other.toml --since first"));
    project.write("matrix.toml", "[axes]\n");
    commit(&project, "broken");
    project.write("matrix.toml", MATRIX);
    assert_cmd_snapshot!(project.basegen("plan --since broken"));
    project.write("dockerfiles/Dockerfile.hbs", "FROM {{pyton}}\n");
    commit(&project, "misspelt");
    project.write("dockerfiles/Dockerfile.hbs", "FROM a\n");
    assert_cmd_snapshot!(project.basegen("plan --since misspelt"));
}
