//! Every place where clouds keep credentials, on a machine that has only that one.

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
            .set("HOME", &home)
            .set("AWS_ENDPOINT_URL", &url)
            .set("AWS_ENDPOINT_URL_SSO", &url)
            .set("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", &url)
            .set("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", &url)
            // Nothing listens there.
            .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
            .set("GCE_METADATA_HOST", "127.0.0.1:1")
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the variable refer to the server of the clouds.
    fn at_cloud(self, name: &str, prefix: &str, path: &str) -> Self {
        let url = self.cloud.url.trim_start_matches("http://").to_owned();
        self.set(name, &format!("{prefix}{url}{path}"))
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.home.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs_err::write(path, text.replace("$URL", &self.cloud.url)).expect("a file");
        self
    }

    fn keys(self) -> Self {
        self.set("AWS_ACCESS_KEY_ID", "AKIAENV").set("AWS_SECRET_ACCESS_KEY", "s")
    }

    fn sso_token(self, name: &str) -> Self {
        let token = json!({ "accessToken": "sso token", "expiresAt": "2999-01-01T00:00:00Z" });
        self.file(&format!(".aws/sso/cache/{name}"), &token.to_string())
    }

    fn in_actions(self) -> Self {
        self.at_cloud("ACTIONS_ID_TOKEN_REQUEST_URL", "http://", "/actions/token?api-version=2")
            .set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "actions token")
    }

    fn method(mut self, host: &str, method: AuthMethod) -> Self {
        self.sources.methods.insert(host.to_owned(), method);
        self
    }

    fn credentials(&self) -> Credentials {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, text)| (name.clone(), Some(text.as_str().into())));
        let sources = CredentialSources { variables: variables.collect(), ..self.sources.clone() };
        Credentials::load(sources).expect("credentials")
    }

    /// Returns the user and the password for `host`, and their source, as `~` names the home directory.
    async fn find(&self, host: &str) -> Option<(String, String, String)> {
        let found = self.credentials().find(host).await;
        let found = found.unwrap_or_else(|error| panic!("{}", one_line(&*error)))?;
        let source = found.source.describe(None).replace(&self.path(""), "~/");
        match found.credential {
            Credential::Password { username, password } => {
                Some((username, password.expose_secret().to_owned(), source))
            }
            Credential::IdentityToken(_) => panic!("no cloud issues identity tokens"),
        }
    }

    /// Asserts that the password of ECR is issued for the key `id`, and where the key comes from.
    async fn uses_key(self, id: &str, source: &str) {
        let expected = ("AWS".to_owned(), format!("password of {id}"), source.to_owned());
        assert_eq!(self.find(ECR).await, Some(expected), "{:?}", self.cloud.requests());
    }

    /// Asserts that `token` is used for Google's registry, and where it comes from.
    async fn uses_token(self, token: &str, source: &str) {
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
async fn aws_keys_in_variables() {
    let source = "environment variable `AWS_ACCESS_KEY_ID`";
    Machine::new().await.keys().uses_key("AKIAENV", source).await;
    let temporary = Machine::new().await.set("AWS_ACCESS_KEY_ID", "ASIAENV");
    let temporary = temporary.set("AWS_SECRET_ACCESS_KEY", "s").set("AWS_SESSION_TOKEN", "t");
    temporary.uses_key("ASIAENV", source).await;
}

#[tokio::test]
async fn aws_profiles_that_store_keys() {
    let keys = "aws_access_key_id = AKIAFILE\naws_secret_access_key = s\n";
    let machine = Machine::new().await.file(".aws/credentials", &format!("[default]\n{keys}"));
    machine.uses_key("AKIAFILE", "AWS profile `default`").await;
    let machine = Machine::new().await.set("AWS_PROFILE", "ci");
    let machine = machine.file(".aws/config", &format!("[profile ci]\n{keys}"));
    machine.uses_key("AKIAFILE", "AWS profile `ci`").await;
    let machine = Machine::new().await.set("AWS_PROFILE", "ci");
    let machine = machine.file("elsewhere", &format!("[ci]\n{keys}aws_session_token = t\n"));
    let path = machine.path("elsewhere");
    machine
        .set("AWS_SHARED_CREDENTIALS_FILE", &path)
        .uses_key("AKIAFILE", "AWS profile `ci`")
        .await;
}

#[tokio::test]
async fn an_aws_profile_that_does_not_exist_is_an_error() {
    let machine = Machine::new().await.set("AWS_PROFILE", "gone");
    let text = machine.failure(ECR).await;
    assert!(text.contains("AWS profile `gone`: it is in no file of AWS"), "{text}");
}

#[tokio::test]
async fn aws_profiles_with_sso() {
    let session = format!(
        "[profile ci]\nsso_session = admin\n{SSO}[sso-session admin]\nsso_region = eu-west-1\n\
         sso_start_url = https://acme.awsapps.com/start\n"
    );
    let machine = Machine::new().await.set("AWS_PROFILE", "ci").file(".aws/config", &session);
    machine.sso_token(SESSION_TOKEN).uses_key("ASIASSO", "AWS profile `ci` via SSO").await;
    let legacy = format!(
        "[default]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n{SSO}"
    );
    let machine = Machine::new().await.file(".aws/config", &legacy);
    let text = machine.failure(ECR).await;
    assert!(
        text.contains("AWS profile `default` via SSO") && text.contains("aws sso login"),
        "{text}"
    );
    machine.sso_token(START_URL_TOKEN).uses_key("ASIASSO", "AWS profile `default` via SSO").await;
}

#[tokio::test]
async fn aws_profiles_that_assume_a_role() {
    let config = format!("[profile ci]\nrole_arn = {ROLE}\nsource_profile = default\n");
    let keys = "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n";
    let machine = Machine::new().await.set("AWS_PROFILE", "ci");
    let machine = machine.file(".aws/config", &config).file(".aws/credentials", keys);
    machine.uses_key("ASIAROLEASIAROLE", &format!("AWS profile `ci` via role `{ROLE}`")).await;
    let machine = Machine::new().await.file("token", "identity of a pod\n");
    let config = format!(
        "[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {}\n",
        machine.path("token")
    );
    let machine = machine.file(".aws/config", &config);
    machine.uses_key("ASIAWEB", "AWS profile `default` via web identity").await;
}

#[tokio::test]
async fn aws_profiles_with_a_process() {
    let script = "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIAPROCESS\", \"SecretAccessKey\": \"s\"}'\n";
    let process = |text: &str| {
        let text = text.to_owned();
        async move {
            let machine = Machine::new().await.file("process", &text);
            let path = machine.path("process");
            let mode =
                <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
            fs_err::set_permissions(&path, mode).expect("a mode");
            machine.file(".aws/config", &format!("[default]\ncredential_process = {path} --now\n"))
        }
    };
    let source = "AWS profile `default` via credential_process";
    process(script).await.uses_key("AKIAPROCESS", source).await;
    for output in [format!("echo {CANARY}"), format!("echo {CANARY} >&2; exit 3")] {
        let text = process(&format!("#!/bin/sh\n{output}\n")).await.failure(ECR).await;
        assert!(text.contains(source), "{text}");
    }
}

#[tokio::test]
async fn the_web_identity_of_a_pod() {
    let machine = Machine::new().await.file("token", "identity of a pod");
    let token = machine.path("token");
    let machine = machine.set("AWS_ROLE_ARN", ROLE).set("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
    let text = {
        machine.cloud.reject("AssumeRoleWithWebIdentity");
        machine.failure(ECR).await
    };
    assert!(text.contains("AccessDenied: Not authorized to perform it"), "{text}");
    machine.cloud.reject("nothing");
    machine.uses_key("ASIAWEB", &format!("AWS web identity, role `{ROLE}`")).await;
}

fn aws_oidc() -> AuthMethod {
    AuthMethod::AwsOidc { role_arn: ROLE.to_owned(), region: Some("eu-west-1".to_owned()) }
}

#[tokio::test]
async fn aws_oidc_in_github_actions_and_in_a_pod() {
    let source = format!("[registries.\"{ECR}\"] AWS_OIDC");
    let machine = Machine::new().await.method(ECR, aws_oidc());
    let text = machine.failure(ECR).await;
    assert!(text.contains("no identity token") && text.contains("id-token: write"), "{text}");
    machine.in_actions().uses_key("ASIAWEB", &source).await;
    let machine = Machine::new().await.method(ECR, aws_oidc()).file("token", "identity of a pod");
    let token = machine.path("token");
    machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", &token).uses_key("ASIAWEB", &source).await;
}

#[tokio::test]
async fn the_role_of_an_aws_container() {
    let container = |machine: Machine| {
        machine
            .at_cloud("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://", "/ecs")
            .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container token")
    };
    let machine = container(Machine::new().await);
    machine.uses_key("ASIAECS", "AWS container credentials").await;
    let machine = container(Machine::new().await);
    machine.cloud.reject("/ecs");
    let text = machine.failure(ECR).await;
    assert!(text.contains("AWS container credentials"), "{text}");
}

#[tokio::test]
async fn the_role_of_an_aws_instance() {
    let instance =
        |machine: Machine| machine.at_cloud("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://", "");
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
    machine.uses_key("ASIAIMDS", "AWS instance metadata").await;
    let disabled = instance(Machine::new().await).set("AWS_EC2_METADATA_DISABLED", "true");
    assert_eq!(disabled.find(ECR).await, None);
    let with_keys = instance(Machine::new().await).keys();
    assert_eq!(with_keys.find(ECR).await.expect("a password").1, "password of AKIAENV");
    assert_eq!(with_keys.cloud.requests(), ["POST /"], "variables win over metadata");
}

#[tokio::test]
async fn the_metadata_server_of_google() {
    let machine = Machine::new().await.at_cloud("GCE_METADATA_HOST", "", "");
    machine.uses_token("ya29.metadata", "Google metadata server").await;
}

#[tokio::test]
async fn a_service_account_of_google() {
    let key = json!({
        "type": "service_account",
        "client_email": "robot@acme.iam.gserviceaccount.com",
        "private_key": include_str!("../harness/github/app-key.pem"),
        "token_uri": "$URL/token",
    });
    let machine = Machine::new().await.file("key.json", &key.to_string());
    let path = machine.path("key.json");
    let machine = machine.set("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine
        .uses_token("ya29.service-account", "Google application default credentials, `~/key.json`")
        .await;
}

#[tokio::test]
async fn a_person_s_login_at_google() {
    let login = json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "client secret",
        "refresh_token": "refresh", "token_uri": "$URL/token",
    });
    let name = ".config/gcloud/application_default_credentials.json";
    let machine = Machine::new().await.file(name, &login.to_string());
    let source = format!("Google application default credentials, `~/{name}`");
    machine.uses_token("ya29.user", &source).await;
    // An outdated login hides no public image; a file that is named must work.
    let machine = Machine::new().await.file(name, &login.to_string());
    machine.cloud.reject("/token");
    assert_eq!(machine.find("gcr.io").await, None);
    let path = machine.path(name);
    let text = machine.set("GOOGLE_APPLICATION_CREDENTIALS", &path).failure("gcr.io").await;
    assert!(text.contains("invalid_grant (status 400): Token has been revoked"), "{text}");
    assert!(text.contains("gcloud auth application-default login"), "{text}");
}

#[tokio::test]
async fn a_workload_identity_of_google() {
    let federation = |source: serde_json::Value| {
        json!({
            "type": "external_account",
            "audience": format!("//iam.googleapis.com/{PROVIDER}"),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "$URL/v1/token",
            "credential_source": source,
        })
    };
    let machine = Machine::new().await.file("token", "identity of a pod\n");
    let file = federation(json!({ "file": machine.path("token") }));
    let machine = machine.file("wif.json", &file.to_string());
    let path = machine.path("wif.json");
    let source = "Google application default credentials, `~/wif.json`";
    let machine = machine.set("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine.uses_token("ya29.federated", source).await;
    // As google-github-actions/auth writes it.
    let mut file = federation(json!({
        "url": "$URL/actions/token?audience=x",
        "headers": { "Authorization": "Bearer actions token" },
        "format": { "type": "json", "subject_token_field_name": "value" },
    }));
    let path = format!("$URL/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
    file["service_account_impersonation_url"] = path.into();
    let machine = Machine::new().await.file("wif.json", &file.to_string());
    let path = machine.path("wif.json");
    let machine = machine.set("GOOGLE_APPLICATION_CREDENTIALS", &path);
    machine.uses_token("ya29.impersonated", source).await;
}

#[tokio::test]
async fn gcp_oidc_in_github_actions() {
    let method =
        AuthMethod::GcpOidc { service_account: ACCOUNT.to_owned(), provider: PROVIDER.to_owned() };
    let machine = Machine::new().await.method(GOOGLE, method);
    let text = machine.failure(GOOGLE).await;
    assert!(text.contains("no identity token"), "{text}");
    let source = format!("[registries.\"{GOOGLE}\"] GCP_OIDC");
    machine.in_actions().uses_token("ya29.impersonated", &source).await;
}

#[tokio::test]
async fn the_token_of_github_actions_is_for_github_s_registry() {
    let machine =
        Machine::new().await.set("GITHUB_TOKEN", "ghs_token").set("GITHUB_ACTOR", "octocat");
    let source = "environment variable `GITHUB_TOKEN`".to_owned();
    let expected = ("octocat".to_owned(), "ghs_token".to_owned(), source);
    assert_eq!(machine.find("ghcr.io").await, Some(expected.clone()));
    for host in ["quay.io", "docker.io", "evil.example", "containers.acme.ghe.com"] {
        assert_eq!(machine.find(host).await, None, "{host}");
    }
    let machine = machine.set("GITHUB_SERVER_URL", "https://acme.ghe.com");
    assert_eq!(machine.find("containers.acme.ghe.com").await, Some(expected));
}

#[tokio::test]
async fn clouds_are_asked_for_their_own_registries_and_last() {
    let everything = Machine::new().await.keys();
    let everything = everything.at_cloud("GCE_METADATA_HOST", "", "");
    for host in ["quay.io", "docker.io", "ghcr.io", "public.ecr.aws", "registry.example:5000"] {
        assert_eq!(everything.find(host).await, None, "{host}");
    }
    let everything = everything.file(
        "config.json",
        r#"{"auths": {"europe-docker.pkg.dev": {"username": "me", "password": "docker"}}}"#,
    );
    let variable = format!("DOCKER_REGISTRY_{ECR}");
    let everything = everything.set(&variable, "bWU6dmFyaWFibGU=");
    let (user, password, source) = everything.find(ECR).await.expect("a password");
    assert_eq!((&*user, &*password), ("me", "variable"));
    assert_eq!(source, format!("environment variable `{variable}`"));
    let (_, password, source) = everything.find(GOOGLE).await.expect("a password");
    assert_eq!((&*password, &*source), ("docker", "docker config ~/config.json"));
    assert!(everything.cloud.requests().is_empty(), "{:?}", everything.cloud.requests());
}

#[tokio::test]
async fn a_machine_outside_of_all_clouds_is_anonymous_soon() {
    // It accepts connections and answers nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let machine = Machine::new().await.set("GCE_METADATA_HOST", &address);
    let machine = machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{address}"));
    let start = Instant::now();
    assert_eq!(machine.find(ECR).await, None);
    assert_eq!(machine.find(GOOGLE).await, None);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
