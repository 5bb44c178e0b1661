//! Commits: which are ours, and how they are made.
//!
//! They are made by GraphQL's `createCommitOnBranch` where that can: GitHub signs them whoever's
//! token it is, and refuses them when the head of the branch is not the one that was read. It knows
//! nothing of modes, though. What has an executable, or a mode that changes, is put together of git's
//! own objects; such commits GitHub signs for Apps alone, as the token of Actions is one, and as long
//! as they name no author. Nothing is forced there either: the new head is built on the one that was
//! read, and GitHub refuses it when the branch is not part of its history.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::branch::Base;
use super::client::{Asked, GRAPHQL, GitHub};
use super::error::{GitHubError, GitHubErrorKind, Told};
use super::quoted;
use super::tree::{FILE, SUBMODULE};

/// The trailer of a commit's message that says for which version basegen made it.
const RELEASE: &str = "Basegen-Release";

/// The trailer that says which tree basegen gave it, of a commit that GitHub does not sign.
const TREE: &str = "Basegen-Tree";

/// How much text is sent along with a tree, in bytes; what is beyond has requests of its own.
const MAX_TEXT: usize = 1 << 20;

/// A commit as GitHub lists them between two.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listed {
    pub(super) sha: String,
    commit: Details,
    #[serde(default)]
    pub(super) parents: Vec<Id>,
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
pub(super) struct Id {
    pub(super) sha: String,
}

impl Listed {
    /// Whether basegen made it, and nobody has changed it since.
    ///
    /// Our trailer alone says nothing: who amends our commit keeps it. GitHub is the committer of
    /// what is made through its API, and no one else is; and of those commits that the token's owner
    /// commits, the tree is told. `host` is that of the API.
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

/// What a commit does to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) path: String,
    /// What it becomes, by mode and content; nothing where it is removed.
    pub(super) becomes: Option<(String, Content)>,
    /// The mode that it has so far; nothing where there is none.
    pub(super) mode: Option<String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// All of it.
    New(Vec<u8>),
    /// What has this id in the repository already.
    Known(String),
}

impl Written {
    /// Whether it is a file that nobody may execute, before and after, or is removed.
    fn is_plain(&self) -> bool {
        let is_file = |mode: &String| mode == FILE;
        self.becomes
            .as_ref()
            .is_none_or(|(mode, _)| is_file(mode) && self.mode.as_ref().is_none_or(is_file))
    }
}

impl GitHub {
    /// Puts a commit on top of `head` of a branch.
    pub(super) async fn commit(
        &self,
        branch: &str,
        head: &str,
        message: &Message<'_>,
        files: &[Written],
    ) -> Result<(), GitHubError> {
        let doing = format!("commit to the branch `{branch}`");
        if !files.iter().all(Written::is_plain) {
            let tree = self.tree(&doing, head, files).await?;
            return self.put(&doing, branch, message, &tree, &[head]).await;
        }
        let (mut additions, mut deletions): (Vec<Value>, Vec<Value>) = Default::default();
        for file in files {
            let Some((_, content)) = &file.becomes else {
                deletions.push(json!({ "path": file.path }));
                continue;
            };
            let content = match content {
                Content::New(content) => STANDARD.encode(content),
                Content::Known(id) => STANDARD.encode(self.blob(&file.path, id).await?),
            };
            additions.push(json!({ "path": file.path, "contents": content }));
        }
        let input = json!({
            "branch": {
                "repositoryNameWithOwner": self.repository.to_string(),
                "branchName": branch,
            },
            "message": { "headline": message.headline, "body": message.trailers(None) },
            "fileChanges": { "additions": additions, "deletions": deletions },
            "expectedHeadOid": head,
        });
        self.create_commit_on_branch(&doing, branch, input).await
    }

    /// GraphQL's mutation.
    async fn create_commit_on_branch(
        &self,
        doing: &str,
        branch: &str,
        input: Value,
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
        let query = "mutation($input: CreateCommitOnBranchInput!) { \
                     createCommitOnBranch(input: $input) { commit { oid } } }";
        let body = json!({ "query": query, "variables": { "input": input } });
        let answer: Answer = self.ask(Asked::post(doing, GRAPHQL.to_owned(), body)).await?;
        let Some(failure) = answer.errors.first() else {
            if answer.data.is_some() {
                return Ok(());
            }
            let problem = "it has neither data nor errors".to_owned();
            return Err(self.error(doing, GitHubErrorKind::Malformed(problem)));
        };
        let kind = failure.kind.as_deref().unwrap_or_default();
        let text = self.clean(&failure.message);
        let told = Told { message: text, details: Vec::new() };
        Err(self.error(
            doing,
            match kind {
                // The head is not the one that was read: it is read anew.
                "STALE_DATA" => GitHubErrorKind::Unsettled(branch.to_owned()),
                "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
                    GitHubErrorKind::Answer { status: 403, told }
                }
                "NOT_FOUND" => GitHubErrorKind::Answer { status: 404, told },
                "UNPROCESSABLE" => GitHubErrorKind::Answer { status: 422, told },
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
        // changes come on top.
        let tree = self.tree_of(&doing, &base.head).await?;
        self.put(&doing, branch, &message, &tree, &[head, &base.head]).await
    }

    /// The id of the tree of a commit.
    async fn tree_of(&self, doing: &str, commit: &str) -> Result<String, GitHubError> {
        let place = self.path(&format!("git/commits/{commit}"));
        let Tree { tree } = self.ask(Asked::get(doing, place)).await?;
        Ok(tree.sha)
    }

    /// Makes a tree of that of a commit, and gives its id. What is made twice is the same tree.
    async fn tree(
        &self,
        doing: &str,
        commit: &str,
        files: &[Written],
    ) -> Result<String, GitHubError> {
        let (mut entries, mut room) = (Vec::new(), MAX_TEXT);
        for Written { path, becomes, .. } in files {
            let Some((mode, content)) = becomes else {
                // Nothing in the place of an id removes a file.
                entries.push(json!({ "path": path, "mode": FILE, "type": "blob", "sha": null }));
                continue;
            };
            let kind = if mode == SUBMODULE { "commit" } else { "blob" };
            let mut entry = json!({ "path": path, "mode": mode, "type": kind });
            match content {
                Content::Known(id) => entry["sha"] = json!(id),
                Content::New(content) => match text(content, room) {
                    Some(text) => {
                        room -= text.len();
                        entry["content"] = json!(text);
                    }
                    None => entry["sha"] = json!(self.make_blob(doing, content).await?),
                },
            }
            entries.push(entry);
        }
        let base = self.tree_of(doing, commit).await?;
        let body = json!({ "base_tree": base, "tree": entries });
        let asked = Asked::post(doing, self.path("git/trees"), body);
        let made: Id = self.ask(asked.repeated()).await?;
        Ok(made.sha)
    }

    /// Brings a content into the repository, and gives its id.
    async fn make_blob(&self, doing: &str, content: &[u8]) -> Result<String, GitHubError> {
        let body = json!({ "encoding": "base64", "content": STANDARD.encode(content) });
        let asked = Asked::post(doing, self.path("git/blobs"), body);
        let made: Id = self.ask(asked.repeated()).await?;
        Ok(made.sha)
    }

    /// Makes a commit of a tree, and moves a branch to it: forward, from the first of `parents`.
    async fn put(
        &self,
        doing: &str,
        branch: &str,
        message: &Message<'_>,
        tree: &str,
        parents: &[&str],
    ) -> Result<(), GitHubError> {
        let body = json!({
            "message": format!("{}\n\n{}", message.headline, message.trailers(Some(tree))),
            "tree": tree,
            "parents": parents,
        });
        // Made twice, it is the same commit or one that nothing names.
        let made = Asked::post(doing, self.path("git/commits"), body).repeated();
        let made: Id = self.ask(made).await?;
        let place = self.path(&format!("git/refs/heads/{}", quoted(branch)));
        let body = json!({ "sha": made.sha, "force": false });
        match self.send(&Asked::patch(doing, place, body)).await {
            // The head is not the one that was read: it is read anew.
            Err(error) if error.says("fast forward") || error.says("does not exist") => {
                Err(self.error(doing, GitHubErrorKind::Unsettled(branch.to_owned())))
            }
            other => other.map(drop),
        }
    }
}

/// A content as the text that it is, if it is one of no more than `room` bytes.
fn text(content: &[u8], room: usize) -> Option<&str> {
    let may_be = content.len() <= room && !content.contains(&0);
    std::str::from_utf8(content).ok().filter(|_| may_be)
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
            parents: Vec::new(),
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
