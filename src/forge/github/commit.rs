//! Creates commits, and recognises those that basegen has created.
//!
//! Commits are created with GraphQL's `createCommitOnBranch` if possible. GitHub signs them for any
//! token, and refuses them if the head of the branch has moved. The mutation cannot set modes, so
//! commits with executables or changed modes are assembled from git objects. GitHub signs those only
//! for Apps, including the token of Actions, and only if they name no author. They are not
//! force-pushed either: GitHub refuses the update of the branch if its head has moved.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{ApiRequest, GRAPHQL, GitHub};
use super::error::{self, GitHubError, GitHubErrorKind};
use super::tree::{FILE, SUBMODULE};
use super::{Base, quoted};

/// The trailer with the version for which basegen created the commit.
const RELEASE: &str = "Basegen-Release";

/// The trailer with the tree of a commit that GitHub does not sign.
const TREE: &str = "Basegen-Tree";

/// The maximum size of the texts in the request for a tree, in bytes. Larger contents are sent in
/// separate requests.
const MAX_TEXT: usize = 1 << 20;

/// A commit in GitHub's comparison of two commits.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedCommit {
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

impl ListedCommit {
    /// Returns true if basegen created the commit and nobody has amended it. `host` is that of the
    /// API.
    ///
    /// The release trailer is not enough, because an amended commit keeps it. Only commits of the API
    /// have GitHub as committer; those with the token's owner as committer have a trailer with their
    /// tree.
    pub(super) fn is_ours(&self, host: &str) -> bool {
        let trailer = |name: &str| {
            let lines = self.commit.message.lines().rev();
            lines.filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name)
        };
        let email = self.commit.committer.as_ref().and_then(|person| person.email.as_deref());
        let is_by_github = email.is_some_and(|email| is_github_address(email, host));
        let is_unchanged = trailer(TREE).is_some_and(|(_, tree)| tree == self.commit.tree.sha);
        trailer(RELEASE).is_some() && (is_by_github || is_unchanged)
    }

    /// Formats the commit and its author for a message.
    pub(super) fn describe(&self, github: &GitHub) -> String {
        let author = self.commit.author.as_ref().and_then(|person| person.name.as_deref());
        let author = github.clean(author.unwrap_or("somebody"));
        format!("{} by {author}", self.sha.chars().take(7).collect::<String>())
    }
}

/// Returns true if GitHub itself commits with this address: `noreply@github.com`, or that of the
/// host of the API.
fn is_github_address(email: &str, host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    let host = host.strip_prefix("api.").unwrap_or(host);
    email.split_once('@').is_some_and(|(name, domain)| {
        name == "noreply"
            && (domain.eq_ignore_ascii_case("github.com") || domain.eq_ignore_ascii_case(host))
    })
}

/// The change of one file in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEdit {
    pub(super) path: String,
    /// The mode and content after the commit; `None` if the file is removed.
    pub(super) after: Option<(String, Content)>,
    /// The mode before the commit; `None` if the file is new.
    pub(super) mode: Option<String>,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    New(Vec<u8>),
    /// The content with this id in the repository.
    Existing(String),
}

impl FileEdit {
    /// Returns true if the file is removed, or is not executable before and after.
    fn is_plain(&self) -> bool {
        let is_file = |mode: &String| mode == FILE;
        self.after
            .as_ref()
            .is_none_or(|(mode, _)| is_file(mode) && self.mode.as_ref().is_none_or(is_file))
    }
}

impl GitHub {
    /// Commits to a branch whose head is `head`.
    pub(super) async fn commit(
        &self,
        branch: &str,
        head: &str,
        message: &Message<'_>,
        files: &[FileEdit],
    ) -> Result<(), GitHubError> {
        let doing = format!("commit to the branch `{branch}`");
        if !files.iter().all(FileEdit::is_plain) {
            let tree = self.create_tree(&doing, head, files).await?;
            return self.commit_tree(&doing, branch, message, &tree, &[head]).await;
        }
        let (mut additions, mut deletions): (Vec<Value>, Vec<Value>) = Default::default();
        for file in files {
            let Some((_, content)) = &file.after else {
                deletions.push(json!({ "path": file.path }));
                continue;
            };
            let content = match content {
                Content::New(content) => STANDARD.encode(content),
                Content::Existing(id) => STANDARD.encode(self.blob(&file.path, id).await?),
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
        let answer: Answer =
            self.request(ApiRequest::post(doing, GRAPHQL.to_owned(), body)).await?;
        let Some(failure) = answer.errors.first() else {
            if answer.data.is_some() {
                return Ok(());
            }
            let problem = "neither data nor errors".to_owned();
            return Err(self.error(doing, GitHubErrorKind::Malformed(problem)));
        };
        let text = self.clean(&failure.message);
        // GraphQL reports errors with status 200: the type and the message replace it.
        let status = match failure.kind.as_deref().unwrap_or_default() {
            "FORBIDDEN" | "INSUFFICIENT_SCOPES" => Some(403),
            "NOT_FOUND" => Some(404),
            "UNPROCESSABLE" => Some(422),
            "STALE_DATA" => None,
            _ if text.contains("expected branch to point to") => None,
            _ if text.contains("Something went wrong") => Some(502),
            _ => Some(422),
        };
        let kind = match status {
            Some(status) => {
                let message = error::Message { text, details: Vec::new() };
                GitHubErrorKind::Status { status, message }
            }
            // The head of the branch has moved: it is read again.
            None => GitHubErrorKind::Unsettled(branch.to_owned()),
        };
        Err(self.error(doing, kind))
    }

    /// Merges the base into a branch that is behind it.
    pub(super) async fn merge(
        &self,
        branch: &str,
        head: &str,
        base: &Base,
        message: &Message<'_>,
    ) -> Result<(), GitHubError> {
        let doing = format!("merge `{}` into the branch `{branch}`", base.branch);
        let headline = format!("Merge {} into {branch}", base.branch);
        let message = Message { headline: &headline, ..*message };
        let text = format!("{headline}\n\n{}", message.trailers(None));
        let body = json!({ "base": branch, "head": base.head, "commit_message": text });
        match self.send(&ApiRequest::post(&doing, self.path("merges"), body)).await {
            Err(error) if error.status() == Some(409) => {}
            other => return other.map(drop),
        }
        // Conflicting files were generated by basegen: use the tree of the base, and commit the changes
        // of the release again.
        let tree = self.tree_of(&doing, &base.head).await?;
        self.commit_tree(&doing, branch, &message, &tree, &[head, &base.head]).await
    }

    /// Returns the id of a commit's tree.
    async fn tree_of(&self, doing: &str, commit: &str) -> Result<String, GitHubError> {
        let place = self.path(&format!("git/commits/{commit}"));
        let Tree { tree } = self.request(ApiRequest::get(doing, place)).await?;
        Ok(tree.sha)
    }

    /// Creates a tree from that of a commit and the edits, and returns its id.
    async fn create_tree(
        &self,
        doing: &str,
        commit: &str,
        files: &[FileEdit],
    ) -> Result<String, GitHubError> {
        let (mut entries, mut room) = (Vec::new(), MAX_TEXT);
        for FileEdit { path, after, .. } in files {
            let Some((mode, content)) = after else {
                // `null` as id removes a file.
                entries.push(json!({ "path": path, "mode": FILE, "type": "blob", "sha": null }));
                continue;
            };
            let kind = if mode == SUBMODULE { "commit" } else { "blob" };
            let mut entry = json!({ "path": path, "mode": mode, "type": kind });
            match content {
                Content::Existing(id) => entry["sha"] = json!(id),
                Content::New(content) => match text(content, room) {
                    Some(text) => {
                        room -= text.len();
                        entry["content"] = json!(text);
                    }
                    None => entry["sha"] = json!(self.create_blob(doing, content).await?),
                },
            }
            entries.push(entry);
        }
        let base = self.tree_of(doing, commit).await?;
        let body = json!({ "base_tree": base, "tree": entries });
        let request = ApiRequest::post(doing, self.path("git/trees"), body);
        let created: Id = self.request(request.idempotent()).await?;
        Ok(created.sha)
    }

    /// Sends a content to the repository, and returns its id.
    async fn create_blob(&self, doing: &str, content: &[u8]) -> Result<String, GitHubError> {
        let body = json!({ "encoding": "base64", "content": STANDARD.encode(content) });
        let request = ApiRequest::post(doing, self.path("git/blobs"), body);
        let created: Id = self.request(request.idempotent()).await?;
        Ok(created.sha)
    }

    /// Creates a commit of a tree, and fast-forwards a branch to it.
    async fn commit_tree(
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
        // A second commit after a lost answer is not on any branch.
        let request = ApiRequest::post(doing, self.path("git/commits"), body).idempotent();
        let created: Id = self.request(request).await?;
        let place = self.path(&format!("git/refs/heads/{}", quoted(branch)));
        let body = json!({ "sha": created.sha, "force": false });
        match self.send(&ApiRequest::patch(doing, place, body)).await {
            // The head of the branch has moved: it is read again.
            Err(error) if error.mentions("fast forward") || error.mentions("does not exist") => {
                Err(self.error(doing, GitHubErrorKind::Unsettled(branch.to_owned())))
            }
            other => other.map(drop),
        }
    }
}

/// Returns the content as text, if it is one of at most `room` bytes.
fn text(content: &[u8], room: usize) -> Option<&str> {
    let is_text = content.len() <= room && !content.contains(&0);
    std::str::from_utf8(content).ok().filter(|_| is_text)
}

#[derive(Deserialize)]
struct Tree {
    tree: Id,
}

/// The parts of a commit's message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) headline: &'a str,
    pub(super) version: &'a str,
}

impl Message<'_> {
    /// Returns the trailers by which basegen recognises its commits.
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

    fn listed(message: &str, email: &str, tree: &str) -> ListedCommit {
        let person = |email: &str| Some(Person { name: None, email: Some(email.to_owned()) });
        ListedCommit {
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
    fn commits_of_basegen_have_a_trailer_and_a_proof_of_their_origin() {
        let github = "noreply@github.com";
        let host = "ghe.example.com:8443";
        let (release, with_tree) =
            ("Release\n\nBasegen-Release: v1", "M\n\nBasegen-Release: v1\nBasegen-Tree: t1");
        assert!(listed(release, github, "t").is_ours(host));
        assert!(listed(with_tree, "me@example.org", "t1").is_ours(host));
        // Amended by hand: the trailer remains, but GitHub is no longer the committer.
        assert!(!listed(release, "me@example.org", "t").is_ours(host));
        assert!(!listed(with_tree, "me@example.org", "t2").is_ours(host));
        assert!(!listed(release, "1+me@users.noreply.github.com", "t").is_ours(host));
        // Addresses that resemble that of GitHub.
        assert!(!listed(release, "noreply@example.org", "t").is_ours(host));
        assert!(!listed(release, "noreply@github.com.example.org", "t").is_ours(host));
        assert!(listed(release, "noreply@ghe.example.com", "t").is_ours(host));
        assert!(listed(release, "noreply@octo.ghe.com", "t").is_ours("api.octo.ghe.com"));
        // Created on the web page: GitHub is the committer, but there is no trailer.
        assert!(!listed("Update VERSION", github, "t").is_ours(host));
    }
}
