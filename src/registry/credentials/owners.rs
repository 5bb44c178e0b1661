//! Variables that hold a well-known token, and the hosts that may receive it.
//!
//! A matrix comes with a checkout, and names variables and hosts. Without this table it could send any
//! token of the environment to any host.

use super::variables::{VARIABLE_PREFIX, names_registry, shell_safe};

/// The service that issued the token in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Aws,
    Azure,
    DockerHub,
    GitHub,
    GitLab,
    Google,
    Ngc,
    /// A service without a registry of images, such as PyPI.
    Packages,
    /// The registry in the name of a `DOCKER_REGISTRY_<host>` variable.
    Registry,
}

/// The names of variables, in their shell-safe spelling. A name that ends in `_` is a prefix. The first row
/// that matches counts.
const VARIABLES: [(&str, Owner); 35] = [
    (VARIABLE_PREFIX, Owner::Registry),
    ("ACTIONS_", Owner::GitHub),
    ("ANTHROPIC_", Owner::Packages),
    ("ARM_", Owner::Azure),
    ("AWS_", Owner::Aws),
    ("AZURE_", Owner::Azure),
    ("BASEGEN_APP_", Owner::GitHub),
    ("CARGO_", Owner::Packages),
    ("CI_DEPLOY_PASSWORD", Owner::GitLab),
    ("CI_JOB_JWT", Owner::GitLab),
    ("CI_JOB_TOKEN", Owner::GitLab),
    ("CI_REGISTRY_PASSWORD", Owner::GitLab),
    ("CI_REPOSITORY_URL", Owner::GitLab),
    ("CLOUDSDK_", Owner::Google),
    ("DOCKERHUB_", Owner::DockerHub),
    ("DOCKER_", Owner::DockerHub),
    ("GCLOUD_", Owner::Google),
    ("GCP_", Owner::Google),
    ("GH_", Owner::GitHub),
    ("GITHUB_", Owner::GitHub),
    ("GITLAB_", Owner::GitLab),
    ("GOOGLE_", Owner::Google),
    ("HF_", Owner::Packages),
    ("HUGGINGFACE_", Owner::Packages),
    ("HUGGING_FACE_", Owner::Packages),
    ("NGC_", Owner::Ngc),
    ("NODE_AUTH_TOKEN", Owner::Packages),
    ("NPM_", Owner::Packages),
    ("OPENAI_", Owner::Packages),
    ("PIP_INDEX_URL", Owner::Packages),
    ("POETRY_", Owner::Packages),
    ("PYPI_", Owner::Packages),
    ("TWINE_", Owner::Packages),
    ("UV_", Owner::Packages),
    ("VAULT_TOKEN", Owner::Packages),
];

/// The hosts that the environment names, as `host[:port]`: GitHub Enterprise Servers, GitLab's registry
/// and server, and endpoints in place of AWS' own. They may receive the tokens of the environment.
#[derive(Debug, Clone, Default)]
pub struct NamedHosts {
    pub github: Vec<String>,
    pub gitlab: Vec<String>,
    pub aws: Vec<String>,
}

impl Owner {
    /// Returns the owner of the token in `variable`, if the variable is a well-known one.
    #[must_use]
    pub fn for_variable(variable: &str) -> Option<Self> {
        let name = shell_safe(variable);
        let matches = |known: &str| {
            if known.ends_with('_') { name.starts_with(known) } else { name == known }
        };
        VARIABLES.iter().find(|(known, _)| matches(known)).map(|(_, owner)| *owner)
    }

    /// Returns true if the token in `variable`, which is the owner's, may be sent to `host`.
    #[must_use]
    pub fn admits(self, variable: &str, host: &str, named: &NamedHosts) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        let is_below =
            |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        let is_one_of = |hosts: &[&str]| hosts.contains(&name);
        let is_named = |hosts: &[String]| {
            hosts
                .iter()
                .any(|named| host.eq_ignore_ascii_case(named) || name == without_port(named))
        };
        match self {
            Self::Aws => {
                name == "public.ecr.aws"
                    || super::aws::EcrHost::parse(name).is_some()
                    || is_named(&named.aws)
            }
            Self::Azure => {
                ["azurecr.io", "azurecr.cn", "azurecr.us"].iter().any(|domain| is_below(domain))
            }
            Self::DockerHub => is_one_of(&["docker.io", "index.docker.io", "registry-1.docker.io"]),
            Self::GitHub => {
                is_one_of(&["ghcr.io", "docker.pkg.github.com", "github.com", "api.github.com"])
                    || is_below("ghe.com")
                    || is_named(&named.github)
                    || named.github.iter().any(|named| is_below(without_port(named)))
            }
            Self::GitLab => {
                is_one_of(&["registry.gitlab.com", "gitlab.com"]) || is_named(&named.gitlab)
            }
            Self::Google => is_google_host(name),
            Self::Ngc => name == "nvcr.io" || is_below("nvcr.io"),
            Self::Packages => false,
            Self::Registry => names_registry(variable, &host),
        }
    }

    /// Describes the hosts that may receive the token.
    #[must_use]
    pub fn hosts(self) -> &'static str {
        match self {
            Self::Aws => "`<account>.dkr.ecr.<region>.amazonaws.com`, `public.ecr.aws`",
            Self::Azure => "`*.azurecr.io`",
            Self::DockerHub => "`docker.io`",
            Self::GitHub => "`ghcr.io`, `*.ghe.com` and the host of GITHUB_API_URL or GH_HOST",
            Self::GitLab => "`registry.gitlab.com` and the host in CI_REGISTRY",
            Self::Google => "`*.pkg.dev`, `gcr.io`, `*.gcr.io`",
            Self::Ngc => "`nvcr.io`",
            Self::Packages => "services other than registries of images",
            Self::Registry => "the registry in its name",
        }
    }
}

/// Returns true if `name`, a host without its port, is one of Google's registries.
pub(crate) fn is_google_host(name: &str) -> bool {
    name == "gcr.io" || name.ends_with(".gcr.io") || name.ends_with(".pkg.dev")
}

fn without_port(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    port.map_or(host, |(name, _)| name).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    fn admits(variable: &str, host: &str, named: &NamedHosts) -> bool {
        Owner::for_variable(variable).is_none_or(|owner| owner.admits(variable, host, named))
    }

    #[test]
    fn tokens_go_to_their_owners_hosts() {
        for (variable, own) in [
            ("AWS_SECRET_ACCESS_KEY", ECR),
            ("aws_secret_access_key", "public.ecr.aws"),
            ("aws.secret.access.key", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
            ("GITHUB_TOKEN", "ghcr.io"),
            ("github-token", "ghcr.io:443"),
            ("GH_TOKEN", "containers.acme.ghe.com"),
            ("gcp-service-account", "europe-docker.pkg.dev"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "eu.gcr.io"),
            ("AZURE_CLIENT_SECRET", "acme.azurecr.io"),
            ("CI_JOB_TOKEN", "registry.gitlab.com"),
            ("DOCKER_PASSWORD", "docker.io"),
            ("NGC_API_KEY", "nvcr.io"),
            ("DOCKER_REGISTRY_ghcr.io", "ghcr.io"),
            ("DOCKER_REGISTRY_GHCR_IO", "ghcr.io"),
            ("DOCKER_REGISTRY_https://index.docker.io/v1/", "docker.io"),
        ] {
            let named = NamedHosts::default();
            assert!(admits(variable, own, &named), "{variable} {own}");
            for other in [
                "evil.example",
                "ghcr.io.evil.example",
                "evilghcr.io",
                "evilpkg.dev",
                "bucket.s3.amazonaws.com",
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
                "localhost:5000",
            ] {
                assert!(!admits(variable, other, &named), "{variable} {other}");
            }
        }
        assert!(!admits("NPM_TOKEN", "registry.npmjs.org", &NamedHosts::default()));
        assert!(admits("MY_TOKEN", "evil.example", &NamedHosts::default()));
        assert!(admits("QUAY_PASSWORD", "quay.io", &NamedHosts::default()));
    }

    #[test]
    fn hosts_that_the_environment_names_are_owners_too() {
        let named = NamedHosts {
            github: vec!["github.example.org".to_owned()],
            gitlab: vec!["registry.example.org:5050".to_owned()],
            aws: vec!["localhost:4566".to_owned()],
        };
        for (variable, host) in [
            ("GITHUB_TOKEN", "github.example.org"),
            ("GITHUB_TOKEN", "containers.github.example.org"),
            ("CI_REGISTRY_PASSWORD", "registry.example.org:5050"),
            ("AWS_ACCESS_KEY_ID", "localhost:5000"),
        ] {
            assert!(admits(variable, host, &named), "{variable} {host}");
        }
        assert!(!admits("GITHUB_TOKEN", "evilgithub.example.org", &named));
        assert!(!admits("CI_JOB_TOKEN", "github.example.org", &named));
    }
}
