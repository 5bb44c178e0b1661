//! Generates the GitHub workflow of a new repository. It publishes in one job, which is enough for a small matrix.
//!
//! The workflow installs basegen with its action, pinned to the commit that this basegen was built from. Only binaries
//! of releases know that commit. Other builds generate a failing step that says what to fill in, because no package
//! name is reserved for basegen. `docs/github-actions.md` shows the same workflow; a test compares them.

use super::project::Project;

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
    let (read, read_login) = if project.is_on_github {
        (
            "      packages: read # to look up published images\n",
            "      - uses: docker/login-action@5e57cd118135c172c3672efd75eb46360885c0ef # v3.6.0\n        \
             with:\n@LOGIN@\n",
        )
    } else {
        ("", "")
    };
    let (permissions, login) = if project.is_on_github {
        (
            "    permissions:\n      \
             contents: read # to check out the repository\n      \
             packages: write # to push to ghcr.io",
            "          registry: ghcr.io\n          \
             username: ${{ github.actor }}\n          \
             password: ${{ github.token }}",
        )
    } else {
        (
            "    # The environment contains DOCKERHUB_TOKEN. Its rules restrict who can publish.\n    \
             environment: release\n    \
             permissions:\n      \
             contents: read # to check out the repository",
            "          username: ${{ vars.DOCKERHUB_USERNAME }}\n          \
             password: ${{ secrets.DOCKERHUB_TOKEN }}",
        )
    };
    WORKFLOW
        .replace("@INSTALL@", &install)
        .replace("@READ@\n", read)
        .replace("@READ_LOGIN@\n", read_login)
        .replace("@PERMISSIONS@", permissions)
        .replace("@LOGIN@", login)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_workflow_installs_nothing_that_somebody_else_can_publish() {
        let action = Action::new(Some("acme/basegen"), Some(COMMIT));
        assert!(action.is_some());
        let project = Project { is_on_github: true, ..Project::default() };
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
        let project = Project { is_on_github: true, ..Project::default() };
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
        let mut uses = WORKFLOW.lines().filter_map(|line| line.split_once("uses: "));
        assert!(uses.by_ref().all(|(_, action)| own.contains(action)), "{WORKFLOW}");
    }

    #[test]
    fn every_mark_of_the_workflow_is_replaced() {
        let project = Project { is_on_github: true, ..Project::default() };
        for workflow in [workflow(&project), workflow(&Project::default())] {
            let marks = ["VERSION", "@INSTALL@", "@PERMISSIONS@", "@LOGIN@"];
            assert!(!marks.iter().any(|mark| workflow.contains(mark)), "{workflow}");
        }
    }
}
