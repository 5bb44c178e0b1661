//! Each source of cloud credentials, on a machine that has only this source.

use std::time::{Duration, Instant};

use basegen::error::{Explain as _, one_line};
use basegen::matrix::AuthMethod;
use basegen::registry::{Credential, CredentialSources, Credentials, DockerConfig};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::auth::cloud::{ACCOUNT, CANARY, Cloud, PROVIDER, ROLE};
use crate::harness::auth::credential_cases::ECR;

const GOOGLE: &str = "europe-docker.pkg.dev";

/// The start of a profile's SSO configuration, and the name of the cached token: the SHA-1 of the session's
/// name, or of the start URL.
const SSO: &str = "sso_account_id = 123456789012\nsso_role_name = publisher\n";
const SESSION_TOKEN: &str = "d033e22ae348aeb5660fc2140aec35850c4da997.json";
const START_URL_TOKEN: &str = "40169cea58ca6cbf23fb27b2542923fb5f524af0.json";

/// A machine with a home directory and environment variables.
struct Machine {
    home: tempfile::TempDir,
    cloud: Cloud,
    sources: CredentialSources,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// A machine without credentials, outside of all clouds.
    async fn new() -> Self {
        let (home, cloud) = (tempfile::tempdir().expect("a folder"), Cloud::start().await);
        let mut machine =
            Self { home, cloud, sources: CredentialSources::default(), variables: Vec::new() };
        let url = machine.cloud.url.clone();
        let home = machine.home.path().display().to_string();
        machine.sources.docker = DockerConfig {
            folder: Some(home.clone().into()),
            search_path: Some(format!("{home}:/usr/bin:/bin").into()),
        };
        machine
            .with_variable("HOME", &home)
            .with_variable("AWS_ENDPOINT_URL", &url)
            .with_variable("AWS_ENDPOINT_URL_SSO", &url)
            .with_variable("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", &url)
            .with_variable("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", &url)
            // No server listens on this port.
            .with_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
            .with_variable("GCE_METADATA_HOST", "127.0.0.1:1")
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the variable to a URL of the fake cloud.
    fn with_cloud_url(self, name: &str, prefix: &str, path: &str) -> Self {
        let url = self.cloud.url.trim_start_matches("http://").to_owned();
        self.with_variable(name, &format!("{prefix}{url}{path}"))
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.home.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs_err::write(path, text.replace("$URL", &self.cloud.url)).expect("a file");
        self
    }

    fn with_aws_keys(self) -> Self {
        self.with_variable("AWS_ACCESS_KEY_ID", "AKIAENV")
            .with_variable("AWS_SECRET_ACCESS_KEY", "s")
    }

    fn with_sso_token(self, name: &str) -> Self {
        let token = json!({ "accessToken": "sso token", "expiresAt": "2999-01-01T00:00:00Z" });
        self.with_file(&format!(".aws/sso/cache/{name}"), &token.to_string())
    }

    fn with_github_actions(self) -> Self {
        self.with_cloud_url(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "http://",
            "/actions/token?api-version=2",
        )
        .with_variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "actions token")
    }

    fn with_method(mut self, host: &str, method: AuthMethod) -> Self {
        self.sources.methods.insert(host.to_owned(), method);
        self
    }

    fn credentials(&self) -> Credentials {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, text)| (name.clone(), Some(text.as_str().into())));
        let sources = CredentialSources { variables: variables.collect(), ..self.sources.clone() };
        Credentials::load(sources).expect("credentials")
    }

    /// Returns the username, the password and their source for `host`. In the source, `~` replaces the home directory.
    async fn find(&self, host: &str) -> Option<(String, String, String)> {
        let result = self.credentials().find(host).await;
        let resolved = result.unwrap_or_else(|error| panic!("{}", one_line(&*error)))?;
        let source = resolved.source.describe(None).replace(&self.path(""), "~/");
        match resolved.credential {
            Credential::Password { username, password } => {
                Some((username, password.expose_secret().to_owned(), source))
            }
            Credential::IdentityToken(_) => panic!("no cloud issues identity tokens"),
        }
    }

    /// Asserts that the password of ECR is issued for the key `id` from `source`.
    async fn assert_key(self, id: &str, source: &str) {
        let expected = ("AWS".to_owned(), format!("password of {id}"), source.to_owned());
        assert_eq!(self.find(ECR).await, Some(expected), "{:?}", self.cloud.requests());
    }

    /// Asserts that `token` from `source` is used for Google's registry.
    async fn assert_token(self, token: &str, source: &str) {
        let expected = ("oauth2accesstoken".to_owned(), token.to_owned(), source.to_owned());
        assert_eq!(self.find(GOOGLE).await, Some(expected), "{:?}", self.cloud.requests());
    }

    async fn failure(&self, host: &str) -> String {
        let error = self.credentials().get(host).await.expect_err("a failure");
        let text = format!("{} {:?} {error:?}", one_line(&*error), error.hint());
        assert!(!text.contains(CANARY), "{text}");
        text
    }
}

#[tokio::test]
async fn uses_aws_keys_of_variables() {
    let source = "environment variable `AWS_ACCESS_KEY_ID`";
    Machine::new().await.with_aws_keys().assert_key("AKIAENV", source).await;
    let temporary = Machine::new().await.with_variable("AWS_ACCESS_KEY_ID", "ASIAENV");
    let temporary = temporary
        .with_variable("AWS_SECRET_ACCESS_KEY", "s")
        .with_variable("AWS_SESSION_TOKEN", "t");
    temporary.assert_key("ASIAENV", source).await;
}

#[tokio::test]
async fn uses_aws_keys_of_profiles() {
    let keys = "aws_access_key_id = AKIAFILE\naws_secret_access_key = s\n";
    let machine = Machine::new().await.with_file(".aws/credentials", &format!("[default]\n{keys}"));
    machine.assert_key("AKIAFILE", "AWS profile `default`").await;
    let machine = Machine::new().await.with_variable("AWS_PROFILE", "ci");
    let machine = machine.with_file(".aws/config", &format!("[profile ci]\n{keys}"));
    machine.assert_key("AKIAFILE", "AWS profile `ci`").await;
    let machine = Machine::new().await.with_variable("AWS_PROFILE", "ci");
    let machine = machine.with_file("elsewhere", &format!("[ci]\n{keys}aws_session_token = t\n"));
    let path = machine.path("elsewhere");
    machine
        .with_variable("AWS_SHARED_CREDENTIALS_FILE", &path)
        .assert_key("AKIAFILE", "AWS profile `ci`")
        .await;
}

#[tokio::test]
async fn an_aws_profile_that_does_not_exist_is_an_error() {
    let machine = Machine::new().await.with_variable("AWS_PROFILE", "gone");
    let text = machine.failure(ECR).await;
    assert!(text.contains("AWS profile `gone`: it is in no file of AWS"), "{text}");
}

#[tokio::test]
async fn uses_sso_of_aws_profiles() {
    let session = format!(
        "[profile ci]\nsso_session = admin\n{SSO}[sso-session admin]\nsso_region = eu-west-1\n\
         sso_start_url = https://acme.awsapps.com/start\n"
    );
    let machine =
        Machine::new().await.with_variable("AWS_PROFILE", "ci").with_file(".aws/config", &session);
    machine.with_sso_token(SESSION_TOKEN).assert_key("ASIASSO", "AWS profile `ci` via SSO").await;
    let legacy = format!(
        "[default]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n{SSO}"
    );
    let machine = Machine::new().await.with_file(".aws/config", &legacy);
    let text = machine.failure(ECR).await;
    assert!(
        text.contains("AWS profile `default` via SSO") && text.contains("aws sso login"),
        "{text}"
    );
    machine
        .with_sso_token(START_URL_TOKEN)
        .assert_key("ASIASSO", "AWS profile `default` via SSO")
        .await;
}

#[tokio::test]
async fn assumes_roles_of_aws_profiles() {
    let config = format!("[profile ci]\nrole_arn = {ROLE}\nsource_profile = default\n");
    let keys = "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n";
    let machine = Machine::new().await.with_variable("AWS_PROFILE", "ci");
    let machine = machine.with_file(".aws/config", &config).with_file(".aws/credentials", keys);
    machine.assert_key("ASIAROLEASIAROLE", &format!("AWS profile `ci` via role `{ROLE}`")).await;
    let machine = Machine::new().await.with_file("token", "identity of a pod\n");
    let config = format!(
        "[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {}\n",
        machine.path("token")
    );
    let machine = machine.with_file(".aws/config", &config);
    machine.assert_key("ASIAWEB", "AWS profile `default` via web identity").await;
}

#[tokio::test]
async fn runs_the_credential_process_of_an_aws_profile() {
    let script = "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIAPROCESS\", \"SecretAccessKey\": \"s\"}'\n";
    let process = |text: &str| {
        let text = text.to_owned();
        async move {
            let machine = Machine::new().await.with_file("process", &text);
            let path = machine.path("process");
            let mode =
                <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            fs_err::set_permissions(&path, mode).expect("a mode");
            machine.with_file(
                ".aws/config",
                &format!("[default]\ncredential_process = {path} --now\n"),
            )
        }
    };
    let source = "AWS profile `default` via credential_process";
    process(script).await.assert_key("AKIAPROCESS", source).await;
    for output in [format!("echo {CANARY}"), format!("echo {CANARY} >&2; exit 3")] {
        let text = process(&format!("#!/bin/sh\n{output}\n")).await.failure(ECR).await;
        assert!(text.contains(source), "{text}");
    }
}

#[tokio::test]
async fn uses_the_web_identity_of_a_pod() {
    let machine = Machine::new().await.with_file("token", "identity of a pod");
    let token = machine.path("token");
    let machine = machine
        .with_variable("AWS_ROLE_ARN", ROLE)
        .with_variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
    let text = {
        machine.cloud.reject("AssumeRoleWithWebIdentity");
        machine.failure(ECR).await
    };
    assert!(text.contains("AccessDenied: Not authorized to perform it"), "{text}");
    machine.cloud.reject("nothing");
    machine.assert_key("ASIAWEB", &format!("AWS web identity, role `{ROLE}`")).await;
}

fn aws_oidc() -> AuthMethod {
    AuthMethod::AwsOidc { role_arn: ROLE.to_owned(), region: Some("eu-west-1".to_owned()) }
}

#[tokio::test]
async fn aws_oidc_uses_the_identity_of_github_actions_or_of_a_pod() {
    let source = format!("[registries.\"{ECR}\"] AWS_OIDC");
    let machine = Machine::new().await.with_method(ECR, aws_oidc());
    let text = machine.failure(ECR).await;
    assert!(text.contains("no identity token") && text.contains("id-token: write"), "{text}");
    machine.with_github_actions().assert_key("ASIAWEB", &source).await;
    let machine =
        Machine::new().await.with_method(ECR, aws_oidc()).with_file("token", "identity of a pod");
    let token = machine.path("token");
    machine
        .with_variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .assert_key("ASIAWEB", &source)
        .await;
}

#[tokio::test]
async fn uses_the_role_of_an_aws_container() {
    let container = |machine: Machine| {
        machine
            .with_cloud_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://", "/ecs")
            .with_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container token")
    };
    let machine = container(Machine::new().await);
    machine.assert_key("ASIAECS", "AWS container credentials").await;
    let machine = container(Machine::new().await);
    machine.cloud.reject("/ecs");
    let text = machine.failure(ECR).await;
    assert!(text.contains("AWS container credentials"), "{text}");
}

#[tokio::test]
async fn uses_the_role_of_an_aws_instance() {
    let instance = |machine: Machine| {
        machine.with_cloud_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://", "")
    };
    let machine = instance(Machine::new().await);
    assert_eq!(machine.find(ECR).await.expect("a password").1, "password of ASIAIMDS");
    let metadata = "/latest/meta-data/iam/security-credentials/";
    let expected = [
        "PUT /latest/api/token".to_owned(),
        format!("GET {metadata}"),
        format!("GET {metadata}publisher"),
        "POST /".to_owned(),
    ];
    assert_eq!(machine.cloud.requests(), expected);
    let machine = instance(Machine::new().await);
    machine.assert_key("ASIAIMDS", "AWS instance metadata").await;
    let disabled =
        instance(Machine::new().await).with_variable("AWS_EC2_METADATA_DISABLED", "true");
    assert_eq!(disabled.find(ECR).await, None);
    let with_keys = instance(Machine::new().await).with_aws_keys();
    assert_eq!(with_keys.find(ECR).await.expect("a password").1, "password of AKIAENV");
    assert_eq!(with_keys.cloud.requests(), ["POST /"], "variables take precedence over metadata");
}

#[tokio::test]
async fn uses_the_metadata_server_of_google() {
    let machine = Machine::new().await.with_cloud_url("GCE_METADATA_HOST", "", "");
    machine.assert_token("ya29.metadata", "Google metadata server").await;
}

#[tokio::test]
async fn uses_the_key_of_a_google_service_account() {
    let key = json!({
        "type": "service_account",
        "client_email": "robot@acme.iam.gserviceaccount.com",
        "private_key": include_str!("../harness/github/app-key.pem"),
        "token_uri": "$URL/token",
    });
    let machine = Machine::new().await.with_file("key.json", &key.to_string());
    let path = machine.path("key.json");
    let machine = machine.with_variable("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine
        .assert_token(
            "ya29.service-account",
            "Google application default credentials, `~/key.json`",
        )
        .await;
}

#[tokio::test]
async fn uses_the_google_login_of_a_user() {
    let login = json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "client secret",
        "refresh_token": "refresh", "token_uri": "$URL/token",
    });
    let name = ".config/gcloud/application_default_credentials.json";
    let machine = Machine::new().await.with_file(name, &login.to_string());
    let source = format!("Google application default credentials, `~/{name}`");
    machine.assert_token("ya29.user", &source).await;
    // A revoked login does not prevent anonymous pulls, but a file that the variable names must work.
    let machine = Machine::new().await.with_file(name, &login.to_string());
    machine.cloud.reject("/token");
    assert_eq!(machine.find("gcr.io").await, None);
    let path = machine.path(name);
    let text =
        machine.with_variable("GOOGLE_APPLICATION_CREDENTIALS", &path).failure("gcr.io").await;
    assert!(text.contains("invalid_grant (status 400): Token has been revoked"), "{text}");
    assert!(text.contains("gcloud auth application-default login"), "{text}");
}

#[tokio::test]
async fn uses_google_workload_identity() {
    let federation = |source: serde_json::Value| {
        json!({
            "type": "external_account",
            "audience": format!("//iam.googleapis.com/{PROVIDER}"),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "$URL/v1/token",
            "credential_source": source,
        })
    };
    let machine = Machine::new().await.with_file("token", "identity of a pod\n");
    let file = federation(json!({ "file": machine.path("token") }));
    let machine = machine.with_file("wif.json", &file.to_string());
    let path = machine.path("wif.json");
    let source = "Google application default credentials, `~/wif.json`";
    let machine = machine.with_variable("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine.assert_token("ya29.federated", source).await;
    // The file that google-github-actions/auth writes.
    let mut file = federation(json!({
        "url": "$URL/actions/token?audience=x",
        "headers": { "Authorization": "Bearer actions token" },
        "format": { "type": "json", "subject_token_field_name": "value" },
    }));
    let path = format!("$URL/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
    file["service_account_impersonation_url"] = path.into();
    let machine = Machine::new().await.with_file("wif.json", &file.to_string());
    let path = machine.path("wif.json");
    let machine = machine.with_variable("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine.assert_token("ya29.impersonated", source).await;
}

#[tokio::test]
async fn gcp_oidc_uses_the_identity_of_github_actions() {
    let method =
        AuthMethod::GcpOidc { service_account: ACCOUNT.to_owned(), provider: PROVIDER.to_owned() };
    let machine = Machine::new().await.with_method(GOOGLE, method);
    let text = machine.failure(GOOGLE).await;
    assert!(text.contains("no identity token"), "{text}");
    let source = format!("[registries.\"{GOOGLE}\"] GCP_OIDC");
    machine.with_github_actions().assert_token("ya29.impersonated", &source).await;
}

#[tokio::test]
async fn the_token_of_github_actions_is_used_only_for_registries_of_github() {
    let machine = Machine::new()
        .await
        .with_variable("GITHUB_TOKEN", "ghs_token")
        .with_variable("GITHUB_ACTOR", "octocat");
    let source = "environment variable `GITHUB_TOKEN`".to_owned();
    let expected = ("octocat".to_owned(), "ghs_token".to_owned(), source);
    assert_eq!(machine.find("ghcr.io").await, Some(expected.clone()));
    for host in ["quay.io", "docker.io", "evil.example", "containers.acme.ghe.com"] {
        assert_eq!(machine.find(host).await, None, "{host}");
    }
    let machine = machine.with_variable("GITHUB_SERVER_URL", "https://acme.ghe.com");
    assert_eq!(machine.find("containers.acme.ghe.com").await, Some(expected));
}

#[tokio::test]
async fn cloud_credentials_are_used_last_and_only_for_registries_of_the_cloud() {
    let machine = Machine::new().await.with_aws_keys();
    let machine = machine.with_cloud_url("GCE_METADATA_HOST", "", "");
    for host in ["quay.io", "docker.io", "ghcr.io", "public.ecr.aws", "registry.example:5000"] {
        assert_eq!(machine.find(host).await, None, "{host}");
    }
    let machine = machine.with_file(
        "config.json",
        r#"{"auths": {"europe-docker.pkg.dev": {"username": "me", "password": "docker"}}}"#,
    );
    let variable = format!("DOCKER_REGISTRY_{ECR}");
    let machine = machine.with_variable(&variable, "bWU6dmFyaWFibGU=");
    let (user, password, source) = machine.find(ECR).await.expect("a password");
    assert_eq!((&*user, &*password), ("me", "variable"));
    assert_eq!(source, format!("environment variable `{variable}`"));
    let (_, password, source) = machine.find(GOOGLE).await.expect("a password");
    assert_eq!((&*password, &*source), ("docker", "docker config ~/config.json"));
    assert!(machine.cloud.requests().is_empty(), "{:?}", machine.cloud.requests());
}

#[tokio::test]
async fn outside_of_all_clouds_the_metadata_servers_time_out_within_seconds() {
    // The server accepts connections and never responds.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let machine = Machine::new().await.with_variable("GCE_METADATA_HOST", &address);
    let machine =
        machine.with_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{address}"));
    let start = Instant::now();
    assert_eq!(machine.find(ECR).await, None);
    assert_eq!(machine.find(GOOGLE).await, None);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
