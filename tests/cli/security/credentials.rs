//! A matrix cannot send credentials of its user to a host of its choice.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;

use crate::harness::project::{MATRIX, Project};
use crate::harness::registry::{Access, Account, FakeRegistry};

const CANARY: &str = "canary-9d41e7";

fn output(mut command: Command, registry: &FakeRegistry) -> String {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&registry.host(), "REGISTRY");
    let printed = format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    assert!(!printed.contains(CANARY), "{printed}");
    printed
}

fn project(host: &str, table: &str) -> Project {
    let project = Project::new();
    let image = format!("[image]\nregistry = \"{host}\"\n");
    let matrix = MATRIX.replace("[image]\n", &image);
    project.write("matrix.toml", &format!("{matrix}\n[registries.\"{host}\"]\n{table}\n"));
    project
}

#[test]
fn well_known_credentials_are_sent_to_no_other_host() {
    let account = Account::new("me", CANARY);
    let registry = FakeRegistry::start_blocking_with(Access::Basic(account));
    let basic = |variable: &str| {
        format!("auth_method = \"BASIC\"\nusername = \"me\"\npassword_secret_name = \"{variable}\"")
    };
    let mut all = Vec::new();
    for (variable, table) in [
        ("AWS_SECRET_ACCESS_KEY", basic("AWS_SECRET_ACCESS_KEY")),
        ("GITHUB_TOKEN", basic("github.token")),
        (
            "CI_JOB_TOKEN",
            "auth_method = \"ACCESS_TOKEN\"\nsecret_name = \"CI_JOB_TOKEN\"".to_owned(),
        ),
        (
            "DOCKER_REGISTRY_ghcr.io",
            "auth_method = \"REGISTRY_SECRET\"\nsecret_name = \"DOCKER_REGISTRY_ghcr.io\""
                .to_owned(),
        ),
        ("GCP_SERVICE_ACCOUNT", "auth_method = \"GCP_SERVICE_ACCOUNT_JSON\"".to_owned()),
        ("AWS_ACCESS_KEY_ID", "auth_method = \"AWS_IAM\"\naws_region = \"eu-west-1\"".to_owned()),
    ] {
        let project = project(&registry.host(), &table);
        for arguments in ["plan", "status", "auth check", "prune"] {
            let mut command = project.basegen(arguments);
            command.env(variable, CANARY).env("AWS_SECRET_ACCESS_KEY", CANARY);
            let printed = output(command, &registry);
            assert!(printed.starts_with("exit status: 3"), "{arguments}: {printed}");
            if arguments == "plan" {
                all.push(printed);
            }
        }
    }
    assert_snapshot!(all.join("\n"));
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn other_variables_are_sent_to_the_host_in_the_matrix() {
    let account = Account::new("me", CANARY);
    let registry = FakeRegistry::start_blocking_with(Access::Basic(account));
    let table = "auth_method = \"BASIC\"\nusername = \"me\"\npassword_secret_name = \"TOKEN\"";
    let project = project(&registry.host(), table);
    let mut command = project.basegen("status");
    command.env("TOKEN", CANARY);
    output(command, &registry);
    assert!(registry.requests().iter().any(|request| request.authorization.is_some()));
}

#[test]
fn only_the_command_line_passes_well_known_credentials_to_build_steps() {
    let registry = FakeRegistry::start_blocking();
    let project = Project::new();
    let secrets = "[build.secrets.token]\nenv = \"GITHUB_TOKEN\"\n\
                   [build.secrets.other]\nenv = \"AWS_SECRET_ACCESS_KEY\"\noptional = true\n";
    project.write("matrix.toml", &format!("{MATRIX}\n{secrets}"));
    let basegen = |arguments: &str| {
        let mut command = project.basegen("--variant 3.9-server");
        command.args(arguments.split_whitespace());
        command.env("GITHUB_TOKEN", CANARY).env("DOCKER_HOST", "unix:///nonexistent");
        command
    };
    assert_snapshot!("build_secret", output(basegen(""), &registry));
    let given = output(basegen("--secret id=token,env=GITHUB_TOKEN"), &registry);
    // The command line allows the secret, and the build fails because there is no engine.
    assert!(given.starts_with("exit status: 5"), "{given}");
}

#[test]
fn credentials_need_tls_or_an_exception() {
    let account = Account::new("me", CANARY);
    let registry = FakeRegistry::start_blocking_with(Access::Basic(account));
    let project = project("registry.example", "plain_http = true");
    let basegen = |arguments: &str| {
        let mut command = project.basegen(arguments);
        // The registry acts as a proxy: requests to a proxy contain the whole URL, which it accepts.
        command.env("http_proxy", registry.origin());
        command
    };
    let signed_in = |arguments: &str| {
        let mut command = basegen(arguments);
        command.env("DOCKER_REGISTRY_registry.example", STANDARD.encode(format!("me:{CANARY}")));
        command
    };
    assert_snapshot!("plain_http", output(signed_in("status"), &registry));
    assert!(registry.requests().iter().all(|request| request.authorization.is_none()));
    // Requests without credentials are sent.
    output(basegen("status"), &registry);
    registry.set_access(Access::Open);
    let anonymous = output(basegen("status"), &registry);
    assert!(anonymous.contains("is not published"), "{anonymous}");
    registry.set_access(Access::Basic(Account::new("me", CANARY)));
    let allowed = "status --allow credentials.plain-http=registry.example";
    let allowed = output(signed_in(allowed), &registry);
    assert!(allowed.contains("is not published"), "{allowed}");
    assert!(registry.requests().iter().any(|request| request.authorization.is_some()));
    assert_snapshot!(
        "unknown_entitlement",
        output(basegen("plan --allow credentials.all=ghcr.io"), &registry)
    );
}
