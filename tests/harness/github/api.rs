//! The operations of GitHub's API.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::contract::Operation;
use super::store::{Commit, File, PullRequest, Store, Tree, blob_id, folders, subtree, tree_id};
use super::{Identity, TokenKind};

/// The maximum length of a pull request's body, in characters.
const MAX_BODY: usize = 65_536;

/// The committer of commits that GitHub creates: name and email.
const GITHUB: (&str, &str) = ("GitHub", "noreply@github.com");

/// A parsed request.
pub struct Call<'a> {
    pub operation: &'a Operation,
    pub query: &'a [(String, String)],
    pub body: &'a Value,
    pub identity: &'a Identity,
    pub full_name: &'a str,
}

/// Status and body.
pub type ApiResponse = (u16, Value);

pub fn error(status: u16, message: &str, details: &[&str]) -> ApiResponse {
    let errors: Vec<Value> = details
        .iter()
        .map(|message| json!({ "resource": "PullRequest", "code": "custom", "message": message }))
        .collect();
    let mut body =
        json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
    if !errors.is_empty() {
        body["errors"] = json!(errors);
    }
    (status, body)
}

impl Call<'_> {
    fn parameter(&self, name: &str) -> &str {
        &self.operation.parameters[name]
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    fn page<T: Clone>(&self, all: &[T]) -> Vec<T> {
        let number = |name: &str, default: usize| {
            self.query(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let (size, page) = (number("per_page", 30), number("page", 1));
        all.iter().skip(size * (page - 1)).take(size).cloned().collect()
    }

    pub fn respond(&self, store: &mut Store) -> ApiResponse {
        if self.operation.parameters.contains_key("owner") {
            let requested = format!("{}/{}", self.parameter("owner"), self.parameter("repo"));
            if requested != self.full_name || !self.identity.can_read {
                return error(404, "Not Found", &[]);
            }
        }
        let is_write = !self.operation.id.contains("/get")
            && !self.operation.id.contains("/list")
            && !self.operation.id.contains("/compare");
        if is_write && !self.identity.can_write {
            return error(403, "Resource not accessible by integration", &[]);
        }
        match self.operation.id.as_str() {
            "repos/get" => (
                200,
                json!({
                    "default_branch": store.default_branch, "full_name": self.full_name,
                }),
            ),
            "git/get-ref" => {
                let name = self.parameter("ref").trim_start_matches("heads/");
                match store.branches.get(name) {
                    Some(sha) => (200, reference(name, sha)),
                    None => error(404, "Not Found", &[]),
                }
            }
            "git/create-ref" => self.create_ref(store),
            "git/update-ref" => self.update_ref(store),
            "git/get-commit" => match store.commits.get(self.parameter("commit_sha")) {
                Some(commit) => (200, git_commit(commit)),
                None => error(404, "Not Found", &[]),
            },
            "git/create-commit" => self.create_commit(store),
            "repos/compare-commits-with-basehead" => self.compare(store),
            "git/get-tree" => self.get_tree(store),
            "git/create-tree" => self.create_tree(store),
            "git/get-blob" => self.get_blob(store),
            "git/create-blob" => self.create_blob(store),
            "repos/merge" => self.merge(store),
            "pulls/list" => {
                let mut pulls: Vec<&PullRequest> =
                    store.pulls.iter().filter(|pull| pull.is_open).collect();
                pulls.sort_by_key(|pull| std::cmp::Reverse(pull.number));
                let pulls: Vec<Value> =
                    pulls.into_iter().map(|pull| self.pull(store, pull)).collect();
                (200, json!(self.page(&pulls)))
            }
            "pulls/create" => self.create_pull(store),
            "pulls/update" => self.update_pull(store),
            "pulls/list-reviews" => {
                let pull = self.pull_mut(store);
                let reviews =
                    pull.completed_reviews.iter().map(|login| json!({ "user": user(login) }));
                (200, reviews.collect())
            }
            "pulls/request-reviewers" => self.request_reviewers(store),
            "issues/add-labels" => self.add_labels(store),
            "issues/add-assignees" => self.add_assignees(store),
            other => panic!("operation {other} is not implemented"),
        }
    }

    fn number(&self) -> u64 {
        let parameters = &self.operation.parameters;
        let number = parameters.get("pull_number").or(parameters.get("issue_number"));
        number.and_then(|number| number.parse().ok()).expect("a number")
    }

    fn pull_mut<'a>(&self, store: &'a mut Store) -> &'a mut PullRequest {
        let number = self.number();
        store.pulls.iter_mut().find(|pull| pull.number == number).expect("a pull request")
    }

    fn create_ref(&self, store: &mut Store) -> ApiResponse {
        let Some(name) = self.text("ref").strip_prefix("refs/heads/") else {
            return error(422, "Reference name must start with 'refs/'.", &[]);
        };
        if store.branches.contains_key(name) {
            return error(422, "Reference already exists", &[]);
        }
        if !store.commits.contains_key(self.text("sha")) {
            return error(422, "Object does not exist", &[]);
        }
        store.branches.insert(name.to_owned(), self.text("sha").to_owned());
        (201, reference(name, self.text("sha")))
    }

    fn update_ref(&self, store: &mut Store) -> ApiResponse {
        let name = self.parameter("ref").trim_start_matches("heads/").to_owned();
        let sha = self.text("sha").to_owned();
        assert_ne!(self.body["force"], true, "no update is forced");
        let Some(head) = store.branches.get(&name).cloned() else {
            return error(422, "Reference does not exist", &[]);
        };
        if !store.history(&sha).contains(&head) {
            return error(422, "Update is not a fast forward", &[]);
        }
        store.branches.insert(name.clone(), sha.clone());
        (200, reference(&name, &sha))
    }

    fn create_commit(&self, store: &mut Store) -> ApiResponse {
        let Some(tree) = store.find_tree(self.text("tree")) else {
            return error(404, "Tree not found", &[]);
        };
        // GitHub signs only commits of its own committer.
        assert!(self.body["author"].is_null() && self.body["committer"].is_null());
        let parents: Vec<String> =
            serde_json::from_value(self.body["parents"].clone()).expect("parents");
        let sha = store.commit(&parents, tree, self.text("message"), self.identity.signature());
        (201, git_commit(&store.commits[&sha]))
    }

    fn compare(&self, store: &Store) -> ApiResponse {
        let (base, head) = self.parameter("basehead").split_once("...").expect("two commits");
        let (Some(base), Some(head)) = (store.resolve(base), store.resolve(head)) else {
            return error(404, "Not Found", &[]);
        };
        let ahead: Vec<Value> = store.commits_ahead(&base, &head).into_iter().map(commit).collect();
        let behind = store.commits_ahead(&head, &base).len();
        let common = store.merge_base(&base, &head);
        // No files: GitHub's list is incomplete for large comparisons, so clients must not rely on it.
        (
            200,
            json!({
                "status": match (ahead.len(), behind) { (0, 0) => "identical", (_, 0) => "ahead", (0, _) => "behind", _ => "diverged" },
                "ahead_by": ahead.len(), "behind_by": behind, "total_commits": ahead.len(),
                "base_commit": commit(&store.commits[&base]),
                "merge_base_commit": commit(&store.commits[&common]),
                "commits": self.page(&ahead),
                "files": [],
            }),
        )
    }

    fn get_tree(&self, store: &Store) -> ApiResponse {
        let name = self.parameter("tree_sha");
        let Some(tree) = store.find_tree(name) else {
            return error(404, "Not Found", &[]);
        };
        let is_recursive = self.query("recursive").is_some();
        let entry = |path: &str, mode: &str, kind: &str, id: String| json!({ "path": path, "mode": mode, "type": kind, "sha": id });
        let folders = folders(&tree).into_iter().map(|path| {
            let id = tree_id(&subtree(&tree, &path));
            (path.clone(), entry(&path, "040000", "tree", id))
        });
        let files = tree.iter().map(|(path, file)| {
            (path.clone(), entry(path, &file.mode, "blob", blob_id(&file.content)))
        });
        let all: BTreeMap<String, Value> = folders.chain(files).collect();
        let mut listed: Vec<Value> = all
            .into_iter()
            .filter(|(path, _)| is_recursive || !path.contains('/'))
            .map(|(_, entry)| entry)
            .collect();
        let limit = store.max_tree_entries.unwrap_or(usize::MAX);
        let is_truncated = listed.len() > limit;
        listed.truncate(limit);
        (200, json!({ "sha": name, "tree": listed, "truncated": is_truncated }))
    }

    fn create_tree(&self, store: &mut Store) -> ApiResponse {
        let Some(mut tree) = store.find_tree(self.text("base_tree")) else {
            return error(404, "Not Found", &[]);
        };
        assert!(!store.commits.contains_key(self.text("base_tree")), "the base tree is a commit");
        for entry in self.body["tree"].as_array().expect("entries") {
            let path = entry["path"].as_str().expect("a path");
            let has_both = !entry["sha"].is_null() && !entry["content"].is_null();
            assert!(!has_both, "`sha` and `content` exclude each other: {entry}");
            if let Some(text) = entry["content"].as_str() {
                let mode = entry["mode"].as_str().expect("a mode");
                tree.insert(path.to_owned(), File::new(mode, text.as_bytes()));
            } else if let Some(id) = entry["sha"].as_str() {
                let Some(content) = store.blob(id) else {
                    return error(422, "GitRPC::BadObjectState", &[]);
                };
                let mode = entry["mode"].as_str().expect("a mode");
                tree.insert(path.to_owned(), File::new(mode, &content));
            } else if tree.remove(path).is_none() {
                return error(422, "GitRPC::BadObjectState", &[]);
            }
        }
        let id = tree_id(&tree);
        store.trees.insert(id.clone(), tree);
        (201, json!({ "sha": id, "tree": [], "truncated": false }))
    }

    fn get_blob(&self, store: &Store) -> ApiResponse {
        let id = self.parameter("file_sha");
        let Some(content) = store.blob(id) else { return error(404, "Not Found", &[]) };
        // GitHub wraps the lines of base64.
        let encoded = STANDARD.encode(&content);
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(60)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        let text = format!("{}\n", lines.join("\n"));
        (200, json!({ "sha": id, "size": content.len(), "encoding": "base64", "content": text }))
    }

    fn create_blob(&self, store: &mut Store) -> ApiResponse {
        assert_eq!(self.text("encoding"), "base64");
        let content = STANDARD.decode(self.text("content")).expect("base64");
        let id = blob_id(&content);
        store.blobs.insert(id.clone(), content);
        (201, json!({ "sha": id }))
    }

    fn merge(&self, store: &mut Store) -> ApiResponse {
        let branch = self.text("base").to_owned();
        let (Some(into), Some(from)) =
            (store.branches.get(&branch).cloned(), store.resolve(self.text("head")))
        else {
            return error(404, "Not Found", &[]);
        };
        if store.history(&into).contains(&from) {
            return (204, Value::Null);
        }
        let Ok(tree) = store.merge(&into, &from) else {
            return error(409, "Merge conflict", &[]);
        };
        let (committer, email) = GITHUB;
        let signature = [self.identity.login.as_str(), committer, email];
        let sha = store.commit(&[into, from], tree, self.text("commit_message"), signature);
        store.branches.insert(branch, sha.clone());
        (201, commit(&store.commits[&sha]))
    }

    fn create_pull(&self, store: &mut Store) -> ApiResponse {
        let (head, base) = (self.text("head").to_owned(), self.text("base").to_owned());
        let failed = |message: &str| error(422, "Validation Failed", &[message]);
        if self.identity.kind == TokenKind::Actions && store.forbids_actions_pull_requests {
            let message = "GitHub Actions is not permitted to create or approve pull requests.";
            return error(403, message, &[]);
        }
        let (Some(from), Some(onto)) = (store.branches.get(&head), store.branches.get(&base))
        else {
            return (
                422,
                json!({ "message": "Validation Failed", "documentation_url": "https://docs.github.com/rest",
                "errors": [{ "resource": "PullRequest", "field": "head", "code": "invalid" }] }),
            );
        };
        if store.open_pull_from(&head).is_some() {
            return failed(&format!("A pull request already exists for acme:{head}."));
        }
        if store.commits_ahead(onto, from).is_empty() {
            return failed(&format!("No commits between {base} and {head}"));
        }
        if self.text("body").chars().count() > MAX_BODY {
            return failed("body is too long (maximum is 65536 characters)");
        }
        let is_draft = self.body["draft"] == true;
        if is_draft && !store.has_drafts {
            let message = "Draft pull requests are not supported in this repository.";
            return error(422, message, &[]);
        }
        let pull = PullRequest {
            number: store.pulls.len() as u64 + 1,
            title: self.text("title").to_owned(),
            body: self.text("body").to_owned(),
            head,
            base,
            author: self.identity.login.clone(),
            is_open: true,
            is_draft,
            ..PullRequest::default()
        };
        store.pulls.push(pull.clone());
        (201, self.pull(store, &pull))
    }

    fn update_pull(&self, store: &mut Store) -> ApiResponse {
        if self.text("body").chars().count() > MAX_BODY {
            return error(
                422,
                "Validation Failed",
                &["body is too long (maximum is 65536 characters)"],
            );
        }
        let text = |name: &str| self.body[name].as_str().map(str::to_owned);
        let (title, body, base) = (text("title"), text("body"), text("base"));
        let pull = self.pull_mut(store);
        pull.title = title.unwrap_or(std::mem::take(&mut pull.title));
        pull.body = body.unwrap_or(std::mem::take(&mut pull.body));
        pull.base = base.unwrap_or(std::mem::take(&mut pull.base));
        let pull = pull.clone();
        (200, self.pull(store, &pull))
    }

    fn names(&self, key: &str) -> Vec<String> {
        let names = self.body[key].as_array().into_iter().flatten();
        names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    fn request_reviewers(&self, store: &mut Store) -> ApiResponse {
        let (people, teams) = (self.names("reviewers"), self.names("team_reviewers"));
        let is_known = people.iter().all(|name| store.collaborators.contains(name))
            && teams.iter().all(|name| store.teams.contains(name));
        let pull = self.pull_mut(store);
        if people.contains(&pull.author) {
            return error(422, "Review cannot be requested from pull request author.", &[]);
        }
        if !is_known {
            let message = "Reviews may only be requested from collaborators. One or more of the \
                           users or teams you specified is not a collaborator of the repository.";
            return error(422, message, &[]);
        }
        pull.reviewers.extend(people);
        pull.teams.extend(teams);
        let pull = pull.clone();
        (201, self.pull(store, &pull))
    }

    fn add_labels(&self, store: &mut Store) -> ApiResponse {
        let labels = self.names("labels");
        store.labels.extend(labels.iter().cloned());
        let pull = self.pull_mut(store);
        pull.labels.extend(labels);
        (200, pull.labels.iter().map(|name| json!({ "name": name })).collect())
    }

    fn add_assignees(&self, store: &mut Store) -> ApiResponse {
        let known = store.collaborators.clone();
        let people = self.names("assignees");
        let pull = self.pull_mut(store);
        pull.assignees.extend(people.into_iter().filter(|name| known.contains(name)));
        let assignees: Vec<Value> = pull.assignees.iter().map(|login| user(login)).collect();
        (201, json!({ "assignees": assignees, "number": pull.number }))
    }

    fn pull(&self, store: &Store, pull: &PullRequest) -> Value {
        let side = |name: &str, repository: &str| {
            let sha = store.branches.get(name).cloned().unwrap_or_default();
            json!({ "ref": name, "sha": sha, "label": format!("acme:{name}"), "repo": { "full_name": repository } })
        };
        json!({
            "number": pull.number,
            "html_url": format!("https://github.example.org/{}/pull/{}", self.full_name, pull.number),
            "state": "open", "title": pull.title, "body": pull.body, "draft": pull.is_draft,
            "user": user(&pull.author),
            "head": side(&pull.head, pull.fork.as_deref().unwrap_or(self.full_name)),
            "base": side(&pull.base, self.full_name),
            "labels": pull.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "requested_reviewers": pull.reviewers.iter().map(|login| user(login)).collect::<Vec<_>>(),
            "requested_teams": pull.teams.iter().map(|slug| json!({ "slug": slug })).collect::<Vec<_>>(),
            "assignees": pull.assignees.iter().map(|login| user(login)).collect::<Vec<_>>(),
        })
    }
}

/// Performs GraphQL's mutation `createCommitOnBranch`.
pub fn create_commit_on_branch(
    store: &mut Store,
    input: &Value,
    identity: &Identity,
    full_name: &str,
) -> Value {
    let failed = |kind: &str, message: &str| {
        json!({ "data": { "createCommitOnBranch": null },
            "errors": [{ "type": kind, "path": ["createCommitOnBranch"], "message": message }] })
    };
    if !identity.can_write {
        return failed("FORBIDDEN", "Resource not accessible by integration");
    }
    let name = input["branch"]["branchName"].as_str().unwrap_or_default();
    let is_repository = input["branch"]["repositoryNameWithOwner"] == full_name;
    let Some(head) = store.branches.get(name).filter(|_| is_repository).cloned() else {
        return failed("NOT_FOUND", "Could not resolve to a branch");
    };
    if input["expectedHeadOid"] != head.as_str() {
        let message = format!(
            "Expected branch to point to \"{head}\" but it did not. PullRequest and try again."
        );
        return failed("STALE_DATA", &message);
    }
    let mut tree: Tree = store.tree(&head).clone();
    for file in input["fileChanges"]["additions"].as_array().into_iter().flatten() {
        let content = STANDARD.decode(file["contents"].as_str().expect("text")).expect("base64");
        let path = file["path"].as_str().expect("a path");
        // The mutation does not support file modes.
        tree.insert(path.to_owned(), File::plain(&content));
    }
    for file in input["fileChanges"]["deletions"].as_array().into_iter().flatten() {
        if tree.remove(file["path"].as_str().expect("a path")).is_none() {
            return failed(
                "UNPROCESSABLE",
                "A path was requested for deletion which does not exist",
            );
        }
    }
    let text = |key: &str| input["message"][key].as_str().unwrap_or_default();
    let message = format!("{}\n\n{}", text("headline"), text("body"));
    let (committer, email) = GITHUB;
    let sha = store.commit(&[head], tree, &message, [&identity.login, committer, email]);
    store.branches.insert(name.to_owned(), sha.clone());
    json!({ "data": { "createCommitOnBranch": { "commit": { "oid": sha } } } })
}

fn user(login: &str) -> Value {
    json!({ "login": login })
}

fn reference(name: &str, sha: &str) -> Value {
    json!({ "ref": format!("refs/heads/{name}"), "object": { "sha": sha, "type": "commit" } })
}

fn git_commit(commit: &Commit) -> Value {
    json!({
        "sha": commit.sha, "message": commit.message, "tree": { "sha": tree_id(&commit.tree) },
        "author": { "name": commit.author, "email": commit.email },
        "committer": { "name": commit.committer, "email": commit.email },
    })
}

fn commit(commit: &Commit) -> Value {
    json!({
        "sha": commit.sha,
        "commit": {
            "message": commit.message, "tree": { "sha": tree_id(&commit.tree) },
            "author": { "name": commit.author, "email": "author@example.org" },
            "committer": { "name": commit.committer, "email": commit.email },
        },
        "parents": commit.parents.iter().map(|sha| json!({ "sha": sha })).collect::<Vec<_>>(),
    })
}
