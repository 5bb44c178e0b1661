//! Commits: which are ours, and how they are made.
//!
//! They are made by GraphQL's `createCommitOnBranch`: GitHub signs them whoever's token it is, and
//! refuses them when the head of the branch is not the one that was read. Commits by the REST API
//! are signed for Apps alone. The mutation keeps the mode of files that exist.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::branch::Base;
use super::client::{Asked, GRAPHQL, GitHub, Repeat};
use super::error::{GitHubError, GitHubErrorKind, Told};
use super::quoted;

/// The trailer of a commit's message that says for which version basegen made it.
const RELEASE: &str = "Basegen-Release";

/// The trailer that says which tree basegen gave it, of a commit that GitHub does not sign.
const TREE: &str = "Basegen-Tree";

/// A commit as GitHub lists them between two.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listed {
    sha: String,
    commit: Details,
}

#[derive(Debug, Clone, Deserialize)]
struct Details {
    message: String,
    author: Option<Person>,
    committer: Option<Person>,
    tree: Id,
}

#[derive(Debug, Clone, Deserialize)]
struct Person {
    name: Option<String>,
    email: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Id {
    sha: String,
}

impl Listed {
    /// Whether basegen made it, and nobody has changed it since.
    ///
    /// Our trailer alone says nothing: who amends our commit keeps it. GitHub is the committer of
    /// what is made through its API, and no one else is; and of the one kind of commit that the
    /// token's owner commits, the tree is told. `host` is that of the API.
    pub(super) fn is_ours(&self, host: &str) -> bool {
        let trailer = |name: &str| {
            let lines = self.commit.message.lines().rev();
            lines.filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name)
        };
        let email = self.commit.committer.as_ref().and_then(|person| person.email.as_deref());
        let is_by_github = email.is_some_and(|email| is_of_github(email, host));
        let is_as_made = trailer(TREE).is_some_and(|(_, tree)| tree == self.commit.tree.sha);
        trailer(RELEASE).is_some() && (is_by_github || is_as_made)
    }

    /// It and its author, for a message.
    pub(super) fn told(&self, github: &GitHub) -> String {
        let author = self.commit.author.as_ref().and_then(|person| person.name.as_deref());
        let author = github.clean(author.unwrap_or("somebody"));
        format!("{} by {author}", self.sha.chars().take(7).collect::<String>())
    }
}

/// Whether GitHub itself commits under this address: `noreply@github.com`, or that of the host
/// behind the API.
fn is_of_github(email: &str, host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    let host = host.strip_prefix("api.").unwrap_or(host);
    email.split_once('@').is_some_and(|(name, of)| {
        name == "noreply"
            && (of.eq_ignore_ascii_case("github.com") || of.eq_ignore_ascii_case(host))
    })
}

/// What a commit does to a file: its new content, or nothing where it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) path: String,
    pub(super) content: Option<Vec<u8>>,
}

impl GitHub {
    /// What a file holds at a commit, or on a branch; `None` where there is none.
    pub(super) async fn content(
        &self,
        path: &str,
        commit: &str,
    ) -> Result<Option<Vec<u8>>, GitHubError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Found {
            File(File),
            Folder(#[expect(dead_code, reason = "a list is all that it says")] Vec<IgnoredAny>),
        }
        #[derive(Deserialize)]
        struct File {
            #[serde(rename = "type")]
            kind: String,
            encoding: Option<String>,
            content: Option<String>,
        }
        let doing = format!("read `{path}`");
        let place = format!("contents/{}?ref={}", quoted(path), quoted(commit));
        let found: Option<Found> = self.find(Asked::get(&doing, self.path(&place))).await?;
        let no_file = |what: &str| {
            let (path, what) = (path.to_owned(), what.to_owned());
            Err(self.error(&doing, GitHubErrorKind::NoFile { path, what }))
        };
        let file = match found {
            None => return Ok(None),
            Some(Found::Folder(_)) => return no_file("a folder"),
            Some(Found::File(file)) => file,
        };
        match (&*file.kind, file.encoding.as_deref(), file.content) {
            ("file", Some("base64"), Some(content)) => {
                let content: String = content.split_ascii_whitespace().collect();
                let decoded = STANDARD.decode(content);
                let problem = |_| GitHubErrorKind::Malformed(format!("`{path}` is no base64"));
                decoded.map(Some).map_err(|error| self.error(&doing, problem(error)))
            }
            // GitHub gives no content of more than a megabyte here.
            ("file", ..) => no_file("too large"),
            (kind, ..) => no_file(&format!("a {}", self.clean(kind))),
        }
    }

    /// Puts a commit on top of `head` of a branch.
    pub(super) async fn commit(
        &self,
        branch: &str,
        head: &str,
        message: &Message<'_>,
        files: &[Written],
    ) -> Result<(), GitHubError> {
        #[derive(Deserialize)]
        struct Answer {
            data: Option<Value>,
            #[serde(default)]
            errors: Vec<Failure>,
        }
        #[derive(Deserialize)]
        struct Failure {
            #[serde(rename = "type")]
            kind: Option<String>,
            #[serde(default)]
            message: String,
        }
        let doing = format!("commit to the branch `{branch}`");
        let (kept, gone): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.content.is_some());
        let additions: Vec<Value> = kept
            .iter()
            .map(|file| {
                let content = STANDARD.encode(file.content.as_deref().unwrap_or_default());
                json!({ "path": file.path, "contents": content })
            })
            .collect();
        let deletions: Vec<Value> = gone.iter().map(|file| json!({ "path": file.path })).collect();
        let input = json!({
            "branch": {
                "repositoryNameWithOwner": self.repository.to_string(),
                "branchName": branch,
            },
            "message": { "headline": message.headline, "body": message.trailers(None) },
            "fileChanges": { "additions": additions, "deletions": deletions },
            "expectedHeadOid": head,
        });
        let query = "mutation($input: CreateCommitOnBranchInput!) { \
                     createCommitOnBranch(input: $input) { commit { oid } } }";
        let body = json!({ "query": query, "variables": { "input": input } });
        let answer: Answer = self.ask(Asked::post(&doing, GRAPHQL.to_owned(), body)).await?;
        let Some(failure) = answer.errors.first() else {
            if answer.data.is_some() {
                return Ok(());
            }
            let problem = "it has neither data nor errors".to_owned();
            return Err(self.error(&doing, GitHubErrorKind::Malformed(problem)));
        };
        let kind = failure.kind.as_deref().unwrap_or_default();
        let text = self.clean(&failure.message);
        let told = Told { message: text, details: Vec::new() };
        Err(self.error(
            &doing,
            match kind {
                // The head is not the one that was read: it is read anew.
                "STALE_DATA" => GitHubErrorKind::Unsettled(branch.to_owned()),
                "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
                    GitHubErrorKind::Answer { status: 403, told }
                }
                "NOT_FOUND" => GitHubErrorKind::Answer { status: 404, told },
                "UNPROCESSABLE" => GitHubErrorKind::Answer { status: 422, told },
                "RATE_LIMITED" => GitHubErrorKind::Answer { status: 429, told },
                _ if told.message.contains("expected branch to point to") => {
                    GitHubErrorKind::Unsettled(branch.to_owned())
                }
                // GraphQL fails with status 200, in words that say whether to try again.
                _ if told.message.contains("Something went wrong") => {
                    GitHubErrorKind::Answer { status: 502, told }
                }
                _ => GitHubErrorKind::Answer { status: 422, told },
            },
        ))
    }

    /// Brings the base into a branch that is behind it, by a merge: nothing is ever forced.
    pub(super) async fn merge(
        &self,
        branch: &str,
        head: &str,
        base: &Base,
        message: &Message<'_>,
    ) -> Result<(), GitHubError> {
        let doing = format!("bring `{}` into the branch `{branch}`", base.branch);
        let headline = format!("Merge {} into {branch}", base.branch);
        let message = Message { headline: &headline, ..*message };
        let text = format!("{headline}\n\n{}", message.trailers(None));
        let body = json!({ "base": branch, "head": base.head, "commit_message": text });
        match self.send(&Asked::post(&doing, self.path("merges"), body)).await {
            Err(error) if error.status() == Some(409) => {}
            other => return other.map(drop),
        }
        // What both have changed is ours and computed anew, so that the base's tree is taken; the
        // changes come on top. A fast-forward, since the branch's head is a parent of it.
        let place = self.path(&format!("git/commits/{}", base.head));
        let Tree { tree } = self.ask(Asked::get(&doing, place)).await?;
        let body = json!({
            "message": format!("{headline}\n\n{}", message.trailers(Some(&tree.sha))),
            "tree": tree.sha,
            "parents": [head, base.head],
        });
        // Made twice, it is the same commit or one that nothing names.
        let made = Asked::post(&doing, self.path("git/commits"), body).repeated();
        let made: Id = self.ask(made).await?;
        let place = self.path(&format!("git/refs/heads/{}", quoted(branch)));
        let body = json!({ "sha": made.sha, "force": false });
        match self.send(&Asked { repeat: Repeat::Never, ..Asked::patch(&doing, place, body) }).await
        {
            Err(error) if error.says("fast forward") => {
                Err(self.error(&doing, GitHubErrorKind::Unsettled(branch.to_owned())))
            }
            other => other.map(drop),
        }
    }
}

#[derive(Deserialize)]
struct Tree {
    tree: Id,
}

/// What a commit says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) headline: &'a str,
    pub(super) version: &'a str,
}

impl Message<'_> {
    /// The trailers that basegen knows its commits by.
    fn trailers(&self, tree: Option<&str>) -> String {
        let release = format!("{RELEASE}: {}", self.version);
        match tree {
            Some(tree) => format!("{release}\n{TREE}: {tree}"),
            None => release,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(message: &str, email: &str, tree: &str) -> Listed {
        let person = |email: &str| Some(Person { name: None, email: Some(email.to_owned()) });
        Listed {
            sha: "1".to_owned(),
            commit: Details {
                message: message.to_owned(),
                author: person("me@example.org"),
                committer: person(email),
                tree: Id { sha: tree.to_owned() },
            },
        }
    }

    #[test]
    fn a_commit_is_ours_when_its_trailer_and_its_maker_say_so() {
        let github = "noreply@github.com";
        let host = "ghe.example.com:8443";
        let (ours, with_tree) =
            ("Release\n\nBasegen-Release: v1", "M\n\nBasegen-Release: v1\nBasegen-Tree: t1");
        assert!(listed(ours, github, "t").is_ours(host));
        assert!(listed(with_tree, "me@example.org", "t1").is_ours(host));
        // Amended, by hand: the trailer stays, and GitHub is not the committer any more.
        assert!(!listed(ours, "me@example.org", "t").is_ours(host));
        assert!(!listed(with_tree, "me@example.org", "t2").is_ours(host));
        assert!(!listed(ours, "1+me@users.noreply.github.com", "t").is_ours(host));
        // Whoever calls themselves so is not GitHub.
        assert!(!listed(ours, "noreply@example.org", "t").is_ours(host));
        assert!(!listed(ours, "noreply@github.com.example.org", "t").is_ours(host));
        assert!(listed(ours, "noreply@ghe.example.com", "t").is_ours(host));
        assert!(listed(ours, "noreply@octo.ghe.com", "t").is_ours("api.octo.ghe.com"));
        // Made on the web page: GitHub is the committer, and there is no trailer.
        assert!(!listed("Update VERSION", github, "t").is_ours(host));
    }
}
