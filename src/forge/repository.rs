use std::fmt;
use std::str::FromStr;

/// The name of a repository on GitHub, such as `acme/images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryName {
    /// The user or organization that owns it.
    pub owner: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a repository: expected one such as `acme/images`")]
pub struct InvalidRepository(String);

impl FromStr for RepositoryName {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |part: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.len() <= 100 && part.chars().all(is_allowed)
        };
        match text.split_once('/') {
            Some((owner, name))
                if is_name(owner) && is_name(name) && !matches!(name, "." | "..") =>
            {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidRepository(text.escape_debug().to_string())),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

/// The host and repository of a git remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The host, such as `github.com`, with the port of its web server if the URL has one.
    pub host: String,
    pub repository: RepositoryName,
}

impl Remote {
    /// Parses a remote's URL: `https://host/owner/name.git`, `ssh://git@host:22/owner/name` or
    /// `git@host:owner/name.git`. Returns `None` for anything else, such as a path. Usernames and
    /// passwords are ignored.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let (host, path) = if let Some((scheme, rest)) = url.split_once("://") {
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit('@').next().unwrap_or(authority);
            match scheme {
                "https" | "http" => (host.to_owned(), path),
                // The port of git or ssh is not that of the API.
                "ssh" | "git" | "git+ssh" | "ssh+git" => {
                    (host.split(':').next().unwrap_or(host).to_owned(), path)
                }
                _ => return None,
            }
        } else {
            // The syntax of scp. A colon after a slash belongs to a path.
            let (authority, path) = url.split_once(':')?;
            let host = authority.rsplit('@').next().unwrap_or(authority);
            (!host.contains('/') && host.len() > 1).then(|| (host.to_owned(), path))?
        };
        let path = path.trim_matches('/');
        let repository = path.strip_suffix(".git").unwrap_or(path).parse().ok()?;
        let host = host.to_ascii_lowercase();
        // GitHub's SSH service on port 443.
        let host = if host == "ssh.github.com" { "github.com".to_owned() } else { host };
        (!host.is_empty()).then_some(Self { host, repository })
    }

    /// Returns true for github.com and tenants of GHE.com.
    #[must_use]
    pub fn is_github(&self) -> bool {
        matches!(self.host.as_str(), "github.com" | "www.github.com")
            || self.host.ends_with(".ghe.com")
    }

    /// Returns the root of the host's REST API. Any host that is not GitHub's own is taken for GitHub
    /// Enterprise Server, with `https://host/api/v3`.
    #[must_use]
    pub fn api(&self) -> String {
        match self.host.as_str() {
            "github.com" | "www.github.com" => "https://api.github.com".to_owned(),
            // https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency
            host if host.ends_with(".ghe.com") => format!("https://api.{host}"),
            host => format!("https://{host}/api/v3"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_remotes_in_every_form() {
        for (url, expected, api) in [
            (
                "https://github.com/acme/images.git",
                "github.com acme/images",
                "https://api.github.com",
            ),
            (
                "https://x-access-token:secret@github.com/acme/images",
                "github.com acme/images",
                "https://api.github.com",
            ),
            ("git@github.com:acme/images.git", "github.com acme/images", "https://api.github.com"),
            (
                "ssh://git@ssh.github.com:443/acme/images.git",
                "github.com acme/images",
                "https://api.github.com",
            ),
            (
                "git@GitHub.example.org:acme/images.v2.git\n",
                "github.example.org acme/images.v2",
                "https://github.example.org/api/v3",
            ),
            (
                "https://git.example.org:8443/acme/images/",
                "git.example.org:8443 acme/images",
                "https://git.example.org:8443/api/v3",
            ),
            (
                "https://octo.ghe.com/acme/images",
                "octo.ghe.com acme/images",
                "https://api.octo.ghe.com",
            ),
        ] {
            let remote = Remote::parse(url).expect(url);
            assert_eq!(format!("{} {}", remote.host, remote.repository), expected);
            assert_eq!(remote.api(), api);
            assert_eq!(remote.is_github(), !api.ends_with("/v3"));
        }
        for url in [
            "",
            "../images",
            "/srv/git/images.git",
            "C:\\images",
            "file:///srv/images",
            "https://github.com/acme",
            "git@github.com:acme/a/b",
        ] {
            assert_eq!(Remote::parse(url), None, "{url}");
        }
    }

    #[test]
    fn rejects_invalid_repository_names() {
        for text in [
            "acme",
            "acme/",
            "/images",
            "acme/..",
            "a/b/c",
            "acme/im ages",
            "acme/a?b",
            "acme/a%2f",
        ] {
            assert!(text.parse::<RepositoryName>().is_err(), "{text}");
        }
    }
}
