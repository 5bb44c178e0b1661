//! `--quiet`: commands that return information print only it, and commands with an effect print nothing.

use serde_json::json;

use crate::harness::project::{Project, committed_project};
use crate::harness::registry::FakeRegistry;
use crate::harness::release_project;

/// Commands with arguments with which they succeed.
const COMMANDS: [&str; 17] = [
    "list --python 3.9",
    "plan --offline --python 3.9",
    "plan --since first --offline",
    "explain 3.9",
    "changed --since first",
    "render --python 3.9 --job-type server",
    "render -o out",
    "render --check out",
    "plan --format json --offline --python 3.9 --job-type server",
    "plan --format github --offline",
    "bump patch --dry-run",
    "bump patch",
    "check --offline",
    "lint",
    "schema",
    "completions bash",
    "man",
];

/// Commands that need a registry, in an order in which they succeed.
const WITH_REGISTRY: [&str; 9] = [
    "release --dry-run",
    "release",
    "release",
    "status",
    "merge --push",
    "prune",
    "auth check",
    "export bake -o exported",
    "use 3.11 --for cerebrium",
];

/// Returns the stdout of a command, which must succeed and print nothing on stderr.
fn quiet(project: &Project, arguments: &str) -> String {
    let output = project.basegen(&format!("-q {arguments}")).output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments} failed:\n{errors}");
    assert_eq!(errors, "", "{arguments}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn quiet_commands_print_only_their_result() {
    let project = committed_project();
    let mut printed = String::new();
    for command in COMMANDS {
        let out = quiet(&project, command);
        let is_long = matches!(command, "schema" | "completions bash" | "man");
        let shown = if is_long { format!("{} …\n", &out[..1]) } else { out };
        printed = format!("{printed}$ basegen -q {command}\n{shown}");
    }
    insta::assert_snapshot!(printed);
}

#[tokio::test]
async fn quiet_commands_with_a_registry_print_results_and_warnings() {
    let project = release_project::Project::new().await;
    project.stage();
    let mut printed = String::new();
    for command in WITH_REGISTRY {
        let output = project.output(project.basegen(&format!("-q {command}"))).await;
        printed = format!("{printed}$ basegen -q {command}\n{output}\n\n");
    }
    // The digest of the release set and the columns depend on the registry's port.
    let filters = [("sha256:[0-9a-f]{64}", "DIGEST"), (" {2,}", "  ")];
    insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(printed) });
}

#[test]
fn quiet_commands_with_an_effect_print_nothing() {
    let registry = FakeRegistry::start_blocking();
    let project = Project::new();
    let dockerfile = format!("FROM {}/python:{{{{python}}}}\n", registry.host());
    project.write("dockerfiles/Dockerfile.hbs", &dockerfile);
    for python in ["3.9", "3.11"] {
        registry.add_image("python", python, &json!({}));
    }
    for command in [
        "update",
        "update --check",
        "export bake --offline -o bake",
        "check --fix --offline",
        "init new",
    ] {
        assert_eq!(quiet(&project, command), "", "{command}");
    }
    assert!(project.path().join("basegen.lock").exists());
    assert!(project.path().join("new/matrix.toml").exists());
    assert!(quiet(&project, "init other --dry-run").contains("would write"));
}

#[test]
fn every_command_has_a_quiet_test() {
    let help = crate::harness::project::stdout(crate::harness::project::basegen("--help"));
    let listed = help.split("basegen builds):\n").nth(1).expect("a list of commands");
    let listed = listed.split("\n\n").next().unwrap_or_default().lines();
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()) {
        let mut commands = COMMANDS.iter().chain(&WITH_REGISTRY);
        let is_tested = commands.any(|command| command.split(' ').next() == Some(name))
            || ["update", "init"].contains(&name);
        assert!(is_tested, "`{name}` has no test with -q");
    }
}
