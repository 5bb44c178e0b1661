//! `basegen auth check` with registries that require credentials.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;

use crate::harness::auth::cloud::Cloud;
use crate::harness::auth::ecr::EcrApi;
use crate::harness::auth::proxy::{AuthScheme, ProtectedRegistry, RegistryProxy};

/// A secret that must not be in any output.
const CANARY: &str = "canary-71ab";

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

const MATRIX: &str = r#"[image]
registry = "ghcr.io"
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]

[axes]
python = ["3.11"]

[registries."ghcr.io"]
plain_http = true

[registries."nvcr.io"]
plain_http = true

[registries."docker.io"]
plain_http = true
"#;

/// A token of GitHub in place of the user name.
const USER: &str = "ghp_canary71ab";

/// A matrix that pushes to `ghcr.io` and pulls from `nvcr.io`, and a proxy with these registries.
struct Project {
    folder: tempfile::TempDir,
    proxy: RegistryProxy,
    variables: Vec<(String, String)>,
}

impl Project {
    async fn new() -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
            proxy: RegistryProxy::start().await,
            variables: Vec::new(),
        };
        project.write("matrix.toml", MATRIX);
        project.write("dockerfiles/Dockerfile.hbs", "FROM nvcr.io/acme/base:1\n");
        project
            .proxy
            .add_registry("ghcr.io", ProtectedRegistry::new(AuthScheme::Token, "me", CANARY));
        project.proxy.add_registry(
            "nvcr.io",
            ProtectedRegistry::new(AuthScheme::Token, "$oauthtoken", CANARY),
        );
        project
    }

    /// Creates a project with credentials for both registries.
    async fn with_credentials() -> Self {
        let mut project = Self::new().await;
        project.pair("DOCKER_REGISTRY_ghcr.io", &format!("me:{CANARY}"));
        project.write(
            "docker/config.json",
            &format!(
                r#"{{"auths": {{"nvcr.io": {{"auth": "{}"}}}}}}"#,
                STANDARD.encode(format!("$oauthtoken:{CANARY}"))
            ),
        );
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }

    fn pair(&mut self, variable: &str, pair: &str) {
        self.variables.push((variable.to_owned(), STANDARD.encode(pair)));
    }

    fn variable(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    /// Returns the exit status and the output of the command, and asserts that it contains no secret.
    fn check(&self, arguments: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
        command.args(["auth", "check"]).args(arguments.split_whitespace());
        for host in ["ghcr.io", "nvcr.io", "docker.io", ECR, "api.ecr.eu-west-1.amazonaws.com"] {
            command.args(["--allow", &format!("credentials.plain-http={host}")]);
        }
        command.env_clear().current_dir(self.folder.path());
        command.env("HOME", "/nonexistent").env("DOCKER_CONFIG", "docker");
        command.env("http_proxy", &self.proxy.url);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("the command runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (out, err) = (text(output.stdout), text(output.stderr));
        let printed = format!("{}\n{out}\n{err}", output.status);
        let secrets = self.variables.iter().map(|(_, value)| value.as_str());
        for secret in secrets.filter(|value| !value.starts_with("http")).chain([CANARY]) {
            assert!(!printed.contains(secret), "{printed}");
        }
        printed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_credentials_for_push_and_pull() {
    let project = Project::with_credentials().await;
    assert_snapshot!(project.check(""));
    assert_snapshot!(project.check("nvcr.io --format json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_missing_credentials() {
    assert_snapshot!(Project::new().await.check(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_wrong_password() {
    let mut project = Project::new().await;
    project.pair("DOCKER_REGISTRY_GHCR_IO", &format!("me:{CANARY}x"));
    assert_snapshot!(project.check("ghcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_an_identity_token_that_the_registry_does_not_support() {
    let project = Project::new().await;
    project.proxy.add_registry("ghcr.io", ProtectedRegistry::new(AuthScheme::Basic, "me", CANARY));
    let config = format!(r#"{{"auths": {{"ghcr.io": {{"identitytoken": "{CANARY}"}}}}}}"#);
    project.write("docker/config.json", &config);
    assert_snapshot!(project.check("ghcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_missing_permission_to_push() {
    let project = Project::with_credentials().await;
    let registry = ProtectedRegistry {
        allowed_actions: &["pull"],
        ..ProtectedRegistry::new(AuthScheme::Basic, "me", CANARY)
    };
    project.proxy.add_registry("ghcr.io", registry);
    assert_snapshot!(project.check("ghcr.io"));
    assert_snapshot!(project.check("ghcr.io --format json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_an_invalid_variable() {
    let mut project = Project::with_credentials().await;
    project.variables.clear();
    project.variable("DOCKER_REGISTRY_ghcr.io", &format!("me:{CANARY}"));
    assert_snapshot!(project.check("ghcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_an_unreachable_registry() {
    let mut project = Project::with_credentials().await;
    // No server listens on this port.
    project.variable("http_proxy", "http://127.0.0.1:1");
    assert_snapshot!(project.check("ghcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_missing_base_image() {
    let project = Project::with_credentials().await;
    project.write("dockerfiles/Dockerfile.hbs", "FROM nvcr.io/acme/base:2\n");
    assert_snapshot!(project.check("nvcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_base_images_by_digest() {
    let project = Project::with_credentials().await;
    let from = |digit: &str| format!("FROM nvcr.io/acme/base@sha256:{}\n", digit.repeat(64));
    project.write("dockerfiles/Dockerfile.hbs", &from("0"));
    assert!(project.check("nvcr.io").starts_with("exit status: 0"));
    project.write("dockerfiles/Dockerfile.hbs", &from("1"));
    let printed = project.check("nvcr.io");
    assert!(
        printed.starts_with("exit status: 9") && printed.contains("base@sha256:111"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hides_a_token_in_place_of_the_user_name() {
    let mut project = Project::new().await;
    project
        .proxy
        .add_registry("ghcr.io", ProtectedRegistry::new(AuthScheme::Token, USER, "x-oauth-basic"));
    project.pair("DOCKER_REGISTRY_ghcr.io", &format!("{USER}:x-oauth-basic"));
    assert_snapshot!(project.check("ghcr.io"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_the_authentication_method_of_aws_keys() {
    let mut project = Project::new().await;
    let table = format!("\n[registries.\"{ECR}\"]\nauth_method = \"AWS_IAM\"\nplain_http = true\n");
    project.write("matrix.toml", &format!("{MATRIX}{table}"));
    project.proxy.add_registry(ECR, ProtectedRegistry::new(AuthScheme::Basic, "AWS", "none yet"));
    project.variable("AWS_ENDPOINT_URL", "http://api.ecr.eu-west-1.amazonaws.com");
    assert_snapshot!(project.check(&format!("--registry {ECR} {ECR}")));
    project.variable("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    project.variable("AWS_SECRET_ACCESS_KEY", CANARY);
    project.proxy.set_ecr_api(EcrApi::new("AKIAIOSFODNN7EXAMPLE", CANARY));
    assert_snapshot!(project.check(&format!("--registry {ECR} {ECR}")));
    project.proxy.set_ecr_api(EcrApi::new("AKIAIOSFODNN7EXAMPLE", "another"));
    assert_snapshot!(project.check(&format!("--registry {ECR} {ECR}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_aws_profile() {
    let mut project = Project::new().await;
    let cloud = Cloud::start().await;
    project.write("matrix.toml", &format!("{MATRIX}\n[registries.\"{ECR}\"]\nplain_http = true\n"));
    project
        .proxy
        .add_registry(ECR, ProtectedRegistry::new(AuthScheme::Basic, "AWS", "password of ASIASSO"));
    project.write(
        ".aws/config",
        "[default]\nsso_session = admin\nsso_account_id = 123456789012\nsso_role_name = publisher\n\
         [sso-session admin]\nsso_region = eu-west-1\n",
    );
    // The cached token is named after the SHA-1 of the session's name.
    project.write(
        ".aws/sso/cache/d033e22ae348aeb5660fc2140aec35850c4da997.json",
        r#"{"accessToken": "sso token", "expiresAt": "2999-01-01T00:00:00Z"}"#,
    );
    let home = project.folder.path().display().to_string();
    project.variable("HOME", &home);
    project.variable("AWS_ENDPOINT_URL", &cloud.url);
    project.variable("AWS_ENDPOINT_URL_SSO", &cloud.url);
    let printed = project.check(&format!("--registry {ECR} {ECR}"));
    assert!(printed.starts_with("exit status: 0"), "{printed}");
    assert!(printed.contains("AWS profile `default` via SSO  AWS"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_registry_that_the_matrix_does_not_use() {
    assert_snapshot!(Project::with_credentials().await.check("gcr.io"));
}
