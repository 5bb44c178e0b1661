use std::path::Path;

use super::super::{Matrix, parse};
use super::*;
use crate::error::Report;

const BASE: &str = r#"[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]

[axes]
python = ["3.11"]
"#;

/// A secret that no message may contain.
const CANARY: &str = "canary-9f";

fn matrix(more: &str) -> Matrix {
    match parse(Path::new("matrix.toml"), &format!("{BASE}{more}")) {
        Ok(matrix) => matrix,
        Err(error) => panic!("{error}"),
    }
}

fn error(more: &str) -> String {
    let error = parse(Path::new("matrix.toml"), &format!("{BASE}{more}")).expect_err("a mistake");
    let debug = format!("{error:?}");
    let shown = Report::from(error).to_string();
    assert!(!shown.contains(CANARY) && !debug.contains(CANARY), "{shown}\n{debug}");
    shown
}

#[test]
fn every_method_uses_its_keys() {
    let matrix = matrix(
        r#"
[registries."123456789012.dkr.ecr.eu-west-1.amazonaws.com"]
auth_method = "AWS_IAM"
aws_access_key_id_secret_name = "custom_aws_access_key_secret"
aws_secret_access_key_secret_name = "custom_aws_secret_key_secret"

[registries."europe-docker.pkg.dev"]
auth_method = "GCP_SERVICE_ACCOUNT_JSON"

[registries."gcr.io"]
auth_method = "ACCESS_TOKEN"
secret_name = "gcp-token"

[registries."quay.io"]
auth_method = "BASIC"
username = "acme+robot"
password_secret_name = "QUAY_PASSWORD"

[registries."https://index.docker.io/v1/"]
auth_method = "REGISTRY_SECRET"
secret_name = "DOCKER_REGISTRY_https://index.docker.io/v1/"

[registries."registry.local:5000"]
plain_http = true
immutable_tags = true
concurrency = 2
requests_per_second = 0.5
"#,
    );
    let auth = |host: &str| matrix.registries[host].auth.clone().map(Spanned::into_inner);
    assert_eq!(
        auth("123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
        Some(AuthMethod::AwsIam {
            access_key_id: "custom_aws_access_key_secret".to_owned(),
            secret_access_key: "custom_aws_secret_key_secret".to_owned(),
            session_token: "aws_session_token".to_owned(),
            region: None,
        })
    );
    let variable = "gcp-service-account".to_owned();
    let google = AuthMethod::GcpServiceAccountJson { variable };
    assert_eq!(auth("europe-docker.pkg.dev"), Some(google));
    let token = AuthMethod::AccessToken { username: None, variable: "gcp-token".to_owned() };
    assert_eq!(auth("gcr.io"), Some(token));
    let (username, variable) = ("acme+robot".to_owned(), "QUAY_PASSWORD".to_owned());
    assert_eq!(auth("quay.io"), Some(AuthMethod::Basic { username, variable }));
    let variable = "DOCKER_REGISTRY_https://index.docker.io/v1/".to_owned();
    assert_eq!(auth("docker.io"), Some(AuthMethod::RegistrySecret { variable }));
    let local = RegistrySettings {
        auth: None,
        variables: Vec::new(),
        plain_http: Some(true),
        immutable_tags: true,
        concurrency: Some(2),
        requests_per_second: Some(0.5),
    };
    assert_eq!(matrix.registries["registry.local:5000"], local);
}

#[test]
fn keys_of_other_methods_are_refused() {
    insta::assert_snapshot!(error(
        r#"
[registries."ghcr.io"]
username = "me"

[registries."quay.io"]
auth_method = "BASIC"
aws_region = "eu-west-1"

[registries."https://index.docker.io/v1/"]
auth_method = "ACCESS_TOKEN"

[registries."docker.io"]

[registries."https://gcr.io"]
concurrency = 0
requests_per_second = 0
"#
    ));
}

#[test]
fn unknown_methods_list_the_known_ones() {
    insta::assert_snapshot!(error("[registries.\"ghcr.io\"]\nauth_method = \"AWS_SSO\"\n"));
}

#[test]
fn secrets_in_place_of_names_are_refused_and_hidden() {
    let table = "[registries.\"gcr.io\"]\nauth_method = \"GCP_SERVICE_ACCOUNT_JSON\"\n";
    insta::assert_snapshot!(error(&format!(
        "{table}secret_name = '{{\"type\": \"service_account\", \"private_key\": \"{CANARY}\"}}'\n"
    )));
    // A secret of several lines, and one without a known format.
    error(&format!("{table}secret_name = '''\n{{\n\"private_key\": \"{CANARY}\"\n}}'''\n"));
    error(&format!("{table}secret_name = \"{CANARY} {CANARY}\"\n"));
    error(&format!("{table}password_secret_name = \"ghp_{CANARY}\"\n"));
    error(&format!("{table}username = \"{CANARY}\"\n"));
}

#[test]
fn unknown_keys_are_refused_without_their_values() {
    let table = "[registries.\"ghcr.io\"]\nauth_method = \"BASIC\"\nusername = \"me\"\n";
    insta::assert_snapshot!(error(&format!("{table}password = \"{CANARY}\"\n")));
    error(&format!("{table}password = \"{CANARY}\n"));
    error(&format!("{table}password = {{ value = \"{CANARY}\" }}\n"));
    error(&format!("registries = {{ \"ghcr.io\" = {{ password = \"{CANARY}\" }} }}\n"));
}
