//! Baseten: Private registries. `tests/registry/credentials.rs` logs in with each kind of credential.

use crate::init::Import;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GAR: &str = "europe-west4-docker.pkg.dev";

/// Imports a Truss whose base image is in a registry with a secret `DOCKER_REGISTRY_<host>`, which needs no settings.
fn check_token(host: &str, image: &str) {
    let secret = format!("DOCKER_REGISTRY_{host}");
    let config = format!("base_image:\n  image: {image}\nsecrets:\n  {secret}: null\n");
    let import = Import::new(&[("config.yaml", &config)]);
    let printed = import.init("config.yaml");
    let read = "basegen reads the credential of the registry from a variable of that name";
    assert!(printed.contains(&format!("secrets.{secret}  {read}\n")), "{printed}");
    let matrix = import.matrix();
    assert!(
        matrix.contains(&format!("base = \"{image}\"")) && !matrix.contains("[registries"),
        "{matrix}"
    );
}

/// Imports a Truss whose base image is in a registry. Returns the tables of registries in the new matrix.
fn imported(config: &str) -> String {
    let import = Import::new(&[("config.yaml", config)]);
    import.init("config.yaml");
    let matrix = import.matrix();
    let tables = matrix.split("\n\n").filter(|table| table.contains("[registries."));
    tables.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn aws_iam_service_accounts() {
    let config = |more: &str, names: [&str; 2]| {
        format!(
            "base_image:\n  image: {ECR}/path/to/image:1\n  docker_auth:\n    auth_method: AWS_IAM\n    registry: {ECR}\n\
             {more}secrets:\n  {}: null\n  {}: null\n",
            names[0], names[1]
        )
    };
    let usual = config("", ["aws_access_key_id", "aws_secret_access_key"]);
    insta::assert_snapshot!("usual_names", imported(&usual));
    let names = ["custom_aws_access_key_secret", "custom_aws_secret_key_secret"];
    let more = format!(
        "    aws_access_key_id_secret_name: {}\n    aws_secret_access_key_secret_name: {}\n",
        names[0], names[1]
    );
    insta::assert_snapshot!("other_names", imported(&config(&more, names)));
}

#[test]
fn access_token() {
    for host in [ECR, GAR] {
        check_token(host, &format!("{host}/project/images/image:1"));
    }
}

#[test]
fn service_account() {
    insta::assert_snapshot!(imported(&format!(
        "base_image:\n  image: {GAR}/project/images/image:1\n  docker_auth:\n    auth_method: GCP_SERVICE_ACCOUNT_JSON\n    \
         secret_name: gcp-service-account\n    registry: {GAR}\nsecrets:\n  gcp-service-account: null\n"
    )));
}

#[test]
fn docker_hub() {
    check_token("https://index.docker.io/v1/", "acme/image:1");
}

#[test]
fn github_container_registry_ghcr() {
    check_token("ghcr.io", "ghcr.io/acme/image:1");
}

#[test]
fn nvidia_ngc() {
    check_token("nvcr.io", "nvcr.io/nvidia/pytorch:25.01-py3");
}
