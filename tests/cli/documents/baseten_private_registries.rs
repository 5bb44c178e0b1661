//! Baseten: Private registries. `tests/registry/credentials.rs` tests the secrets `DOCKER_REGISTRY_<host>`, which need no settings.

use super::Import;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GAR: &str = "europe-west4-docker.pkg.dev";

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
fn google_service_account() {
    insta::assert_snapshot!(imported(&format!(
        "base_image:\n  image: {GAR}/project/images/image:1\n  docker_auth:\n    auth_method: GCP_SERVICE_ACCOUNT_JSON\n    \
         secret_name: gcp-service-account\n    registry: {GAR}\nsecrets:\n  gcp-service-account: null\n"
    )));
}
