//! Baseten: Custom Docker containers.

use super::broken_rules;
use crate::init::Import;

fn config(text: &str) -> Import {
    Import::new(&[("config.yaml", text)])
}

const SERVER: &str = "\
base_image:
  image: registry.example.com/acme/server:1.4
docker_server:
  start_command: python -m server --port 8000
  server_port: 8000
  predict_endpoint: /predict
  readiness_endpoint: /ready
  liveness_endpoint: /alive
";

const HARDENED: &str = "\
base_image:
  image: registry.example.com/acme/hardened:1.4
docker_server:
  no_build: true
  server_port: 8080
  predict_endpoint: /predict
  readiness_endpoint: /ready
  liveness_endpoint: /alive
";

#[test]
fn custom_docker_containers() {
    insta::assert_snapshot!(config(SERVER).imported("config.yaml"));
    assert_eq!(broken_rules("baseten", "cmd = \"python -m server --port 8080\""), ["baseten/port"]);
}

#[test]
fn non_root_user() {
    let user = |id: u32| format!("{SERVER}  run_as_user_id: {id}\n");
    insta::assert_snapshot!(config(&user(1000)).imported("config.yaml"));
    for (id, reason) in [(0, "root"), (60000, "the user that Baseten creates")] {
        let printed = config(&user(id)).init("config.yaml");
        assert!(
            printed.contains("docker_server.run_as_user_id  Baseten does not allow"),
            "{reason}: {printed}"
        );
    }
    assert_eq!(broken_rules("baseten", "user = \"1000\""), ["baseten/user"]);
    assert!(broken_rules("baseten", "user = \"1000\"\nbaseten.run_as_user_id = 1000").is_empty());
}

#[test]
fn working_directory() {
    let config = config(
        "docker_server:\n  start_command: sh -c \"cd /srv && ./server\"\n  server_port: 8000\n",
    );
    insta::assert_snapshot!(config.imported("config.yaml"));
}

#[test]
fn secrets() {
    let config = config("secrets:\n  hf_access_token: null\n  api_key: sekret\n");
    let printed = config.imported("config.yaml");
    assert!(!printed.contains("sekret"), "{printed}");
    insta::assert_snapshot!(printed);
}

/// Baseten drops these variables.
#[test]
fn runtime_environment() {
    let variables = "PORT: '1'\n  HOST: a\n  HOSTNAME: a\n  A_SERVICE_HOST: a\n  A_SERVICE_PORT_HTTP: '1'\n  \
                     PATH: /srv/bin\n  MY_SERVER_PORT: '8000'\n";
    let config = config(&format!("environment_variables:\n  {variables}"));
    insta::assert_snapshot!(config.imported("config.yaml"));
    assert_eq!(broken_rules("baseten", "env.PORT = \"8000\""), ["baseten/reserved-env"]);
}

#[test]
fn platform_injected_environment_variables() {
    for name in ["APP_HOME", "HOME", "PYTHON_EXECUTABLE", "BT_MODEL_ID", "BT_MODEL_DEPLOYMENT_ID"] {
        let variable = format!("env.{name} = \"/srv\"");
        assert_eq!(broken_rules("baseten", &variable), ["baseten/injected-env"], "{name}");
    }
}

#[test]
fn base_image_environment_variables() {
    for name in ["UV_EXTRA_INDEX_URL", "PIP_CONSTRAINT"] {
        let variable = format!("env.{name} = \"/srv/list\"");
        assert_eq!(broken_rules("baseten", &variable), ["baseten/inherited-env"], "{name}");
    }
}

#[test]
fn base_image_requirements() {
    assert_eq!(broken_rules("baseten", "base = \"alpine:3.22\""), ["baseten/debian"]);
    assert_eq!(broken_rules("baseten", "base = \"python:3.8-slim\""), ["baseten/python"]);
    assert!(
        broken_rules("baseten-no-build", "base = \"alpine:3.22\"\ncmd = \"server\"").is_empty()
    );
}

#[test]
fn no_build_deployment() {
    insta::assert_snapshot!(config(HARDENED).imported("config.yaml"));
}

#[test]
fn runtime_contract_differences() {
    assert!(broken_rules("baseten-no-build", "cmd = \"python -m server --port 8080\"").is_empty());
}

#[test]
fn constraints() {
    let rules = broken_rules(
        "baseten-no-build",
        "cmd = \"server\"\nuser = \"1000\"\nbaseten.run_as_user_id = 1001",
    );
    assert_eq!(rules, ["baseten-no-build/user"]);
}

#[test]
fn pass_configuration_as_environment_variables() {
    let variables = "environment_variables:\n  MODEL_NAME: small\n  MAX_BATCH_SIZE: \"32\"\n";
    insta::assert_snapshot!(config(&format!("{HARDENED}{variables}")).imported("config.yaml"));
}
