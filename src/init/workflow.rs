//! Generates the GitHub workflow of a new repository. It publishes in one job, which is enough for a small matrix.
//!
//! The workflow installs basegen with its action, pinned to the commit that this basegen was built from. Only binaries
//! of releases know that commit. Other builds generate a failing step that says what to fill in, because no package
//! name is reserved for basegen. `docs/github-actions.md` shows the same workflow; a test compares them.

use super::project::{GITHUB_REGISTRY, Project};

const WORKFLOW: &str = include_str!("workflow.yml");

pub(super) const PATH: &str = ".github/workflows/base-images.yml";

/// Fails a run until somebody has named the action.
const PLACEHOLDER: &str = r#"      # TODO: replace this step with basegen's action. OWNER is the GitHub account that hosts basegen, COMMIT the full
      # commit of a release:
      #   - uses: OWNER/basegen@COMMIT # vVERSION
      - name: Install basegen
        run: |
          echo '::error title=basegen::Replace the step "Install basegen" with the action, pinned to a commit: uses: OWNER/basegen@COMMIT'
          exit 1"#;

/// The action of basegen's repository at one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Action<'a> {
    /// Owner and name on GitHub.
    repository: &'a str,
    commit: &'a str,
}

impl<'a> Action<'a> {
    /// What `scripts/pack` gives a build of a release; none of a build that has no commit on GitHub.
    fn new(repository: Option<&'a str>, commit: Option<&'a str>) -> Option<Self> {
        let (repository, commit) = (repository?, commit?);
        let is_word = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !text.is_empty() && text.bytes().all(is_plain)
        };
        let (owner, name) = repository.split_once('/')?;
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_word(owner) && is_word(name) && is_commit).then_some(Self { repository, commit })
    }

    fn of_this_build() -> Option<Self> {
        Action::new(option_env!("BASEGEN_REPOSITORY"), option_env!("BASEGEN_COMMIT"))
    }
}

/// Whether the workflow's step that installs basegen must be filled in by hand.
#[must_use]
pub fn needs_action() -> bool {
    Action::of_this_build().is_none()
}

pub(super) fn workflow(project: &Project) -> String {
    with_action(project, Action::of_this_build())
}

fn with_action(project: &Project, action: Option<Action<'_>>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let install = match action {
        Some(Action { repository, commit }) => {
            format!(
                "      - name: Install basegen\n        uses: {repository}@{commit} # v{version}"
            )
        }
        None => PLACEHOLDER.replace("VERSION", version),
    };
    let login = login(project.registry.as_deref());
    // Pull requests from forks get no secrets, so that only the token of GitHub can log in for them.
    let (read, read_login, permissions) = if uses_github_token(project) {
        (
            "      packages: read # to look up published images\n",
            format!("{login}\n"),
            "    permissions:\n      \
             contents: read # to check out the repository\n      \
             packages: write # to push to ghcr.io"
                .to_owned(),
        )
    } else {
        let prefix = secret_prefix(project.registry.as_deref());
        let permissions = format!(
            "    # The environment contains {prefix}_TOKEN. Its rules restrict who can publish.\n    \
             environment: release\n    \
             permissions:\n      \
             contents: read # to check out the repository"
        );
        ("", String::new(), permissions)
    };
    WORKFLOW
        .replace("@INSTALL@", &install)
        .replace("@READ@\n", read)
        .replace("@READ_LOGIN@\n", &read_login)
        .replace("@PERMISSIONS@", &permissions)
        .replace("@LOGIN@", &login)
}

fn uses_github_token(project: &Project) -> bool {
    project.registry.as_deref() == Some(GITHUB_REGISTRY)
}

/// Returns the first part of the names of the variable and of the secret that log in at `registry`.
fn secret_prefix(registry: Option<&str>) -> &'static str {
    if registry.is_none() { "DOCKERHUB" } else { "REGISTRY" }
}

/// Returns the step that logs in at `registry`, or at Docker Hub.
fn login(registry: Option<&str>) -> String {
    let name = registry.unwrap_or("Docker Hub");
    let host = registry.map(|host| format!("          registry: {host}\n")).unwrap_or_default();
    let credential = if registry == Some(GITHUB_REGISTRY) {
        "          username: ${{ github.actor }}\n          \
         password: ${{ github.token }}"
            .to_owned()
    } else {
        let prefix = secret_prefix(registry);
        format!(
            "          username: ${{{{ vars.{prefix}_USERNAME }}}}\n          \
             password: ${{{{ secrets.{prefix}_TOKEN }}}}"
        )
    };
    format!(
        "      # The login for {name}. Change it if `registry` in matrix.toml changes.\n      \
         - uses: docker/login-action@5e57cd118135c172c3672efd75eb46360885c0ef # v3.6.0\n        \
         with:\n{host}{credential}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn on_github() -> Project {
        Project { registry: Some(GITHUB_REGISTRY.to_owned()), ..Project::default() }
    }

    #[test]
    fn the_workflow_installs_nothing_that_somebody_else_can_publish() {
        let action = Action::new(Some("acme/basegen"), Some(COMMIT));
        assert!(action.is_some());
        let project = on_github();
        let pinned = with_action(&project, action);
        let uses = format!("uses: acme/basegen@{COMMIT} # v{}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(pinned.matches(&uses).count(), 2, "{pinned}");
        // Without a repository, both jobs fail before they do anything.
        let placeholder = with_action(&project, None);
        assert_eq!(placeholder.matches("exit 1").count(), 2, "{placeholder}");
        for workflow in [pinned, placeholder] {
            assert!(!workflow.contains("cargo install"), "{workflow}");
        }
    }

    #[test]
    fn the_docs_show_this_workflow() {
        let action = Some(Action { repository: "OWNER/basegen", commit: "COMMIT" });
        let project = on_github();
        let workflow = with_action(&project, action);
        let shown = workflow.replace(concat!("# v", env!("CARGO_PKG_VERSION")), "# v1.2.3");
        let (_, shown) = shown.split_once("name: ").expect("the name of the workflow");
        let page = include_str!("../../docs/github-actions.md");
        assert!(page.contains(&format!("```yaml\nname: {shown}```")), "{shown}");
    }

    #[test]
    fn an_action_is_a_repository_and_a_whole_commit() {
        for (repository, commit) in [
            (None, Some(COMMIT)),
            (Some("acme/basegen"), None),
            (Some(""), Some("")),
            (Some("acme/basegen"), Some("v1")),
            (Some("acme/basegen"), Some(&COMMIT[1..])),
            (Some("basegen"), Some(COMMIT)),
            (Some("acme/basegen/x"), Some(COMMIT)),
            (Some("acme/base gen"), Some(COMMIT)),
        ] {
            assert_eq!(Action::new(repository, commit), None, "{repository:?} {commit:?}");
        }
    }

    #[test]
    fn the_workflow_uses_the_actions_that_this_repositorys_own_uses() {
        let own = include_str!("../../.github/workflows/release.yml");
        let action = Action { repository: "OWNER/basegen", commit: "COMMIT" };
        let workflow = with_action(&on_github(), Some(action));
        let uses = workflow.lines().filter_map(|line| line.split_once("uses: "));
        let mut others = uses.filter(|(_, action)| !action.starts_with("OWNER/"));
        assert!(others.by_ref().all(|(_, action)| own.contains(action)), "{workflow}");
    }

    #[test]
    fn the_workflow_logs_in_at_the_registry_of_the_matrix() {
        let login = |registry: Option<&str>| {
            let registry = registry.map(str::to_owned);
            let workflow = workflow(&Project { registry, ..Project::default() });
            let lines = workflow.lines().map(str::trim).filter(|line| {
                ["# The login", "registry:", "username:", "password:", "environment:", "packages:"]
                    .iter()
                    .any(|start| line.starts_with(start))
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(login(None), @r"
        environment: release
        # The login for Docker Hub. Change it if `registry` in matrix.toml changes.
        username: ${{ vars.DOCKERHUB_USERNAME }}
        password: ${{ secrets.DOCKERHUB_TOKEN }}
        ");
        insta::assert_snapshot!(login(Some("ghcr.io")), @r"
        packages: read # to look up published images
        # The login for ghcr.io. Change it if `registry` in matrix.toml changes.
        registry: ghcr.io
        username: ${{ github.actor }}
        password: ${{ github.token }}
        packages: write # to push to ghcr.io
        # The login for ghcr.io. Change it if `registry` in matrix.toml changes.
        registry: ghcr.io
        username: ${{ github.actor }}
        password: ${{ github.token }}
        ");
        insta::assert_snapshot!(login(Some("quay.io")), @r"
        environment: release
        # The login for quay.io. Change it if `registry` in matrix.toml changes.
        registry: quay.io
        username: ${{ vars.REGISTRY_USERNAME }}
        password: ${{ secrets.REGISTRY_TOKEN }}
        ");
    }

    #[test]
    fn every_mark_of_the_workflow_is_replaced() {
        let project = on_github();
        let other = Project { registry: Some("quay.io".to_owned()), ..Project::default() };
        for workflow in [&project, &other, &Project::default()].map(workflow) {
            let marks = ["VERSION", "@INSTALL@", "@READ", "@PERMISSIONS@", "@LOGIN@"];
            assert!(!marks.iter().any(|mark| workflow.contains(mark)), "{workflow}");
        }
    }
}
