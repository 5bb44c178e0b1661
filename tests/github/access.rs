//! Authentication with tokens and GitHub Apps, permission errors, and redirects.

use base64::Engine as _;
use basegen::forge::{Access, GitHub, GitHubOptions};
use insta::assert_snapshot;

use crate::harness::github::{APP, Fault, Identity, KEY, TokenKind};
use crate::harness::pull_request::{
    open_pull_requests, options, proposal_error_as, propose, repository, request, token,
    try_propose_as,
};

pub fn app(id: &str, key: &str) -> Access {
    Access::App { id: id.to_owned(), key: key.into() }
}

#[tokio::test]
async fn an_app_gets_a_token_for_this_repository_only() {
    let github = repository().await;
    // Variables contain the key as it is, with escaped line ends, or in base64.
    let encoded = base64::engine::general_purpose::STANDARD.encode(KEY);
    for key in [KEY, &KEY.replace('\n', "\\n"), &encoded] {
        let opened = try_propose_as(&github, app(APP, key), &request()).await.expect("no error");
        assert!(!opened.expect("one").pull_request.is_by_actions());
    }
    assert_eq!(github.with(|store| store.pulls[0].author.clone()), "release-app[bot]");
    let tokens = github.requests().into_iter().filter_map(|request| request.authorization);
    assert!(tokens.into_iter().any(|token| token == "Bearer canary-installation-1"));
}

#[tokio::test]
async fn an_app_token_has_only_the_required_permissions() {
    let needed = serde_json::json!({ "contents": "write", "pull_requests": "write" });
    // The client omits optional permissions that the App does not have.
    for optional_permissions in [vec![], vec![("members", "read")]] {
        let github = repository().await;
        let options = GitHubOptions { optional_permissions, ..options(&github, app(APP, KEY)) };
        GitHub::connect(&options).await.expect("a token");
        assert_eq!(github.with(|store| store.token_permissions.clone()), needed);
    }
}

#[tokio::test]
async fn rejects_invalid_app_credentials() {
    let github = repository().await;
    assert_snapshot!(proposal_error_as(&github, app("999", KEY), &request()).await);
    assert_snapshot!(proposal_error_as(&github, app(APP, "canary"), &request()).await);
    github.fail(
        "GET",
        "*/installation",
        0,
        1,
        Fault::Response(404, Vec::new(), r#"{"message":"Not Found"}"#.to_owned()),
    );
    assert_snapshot!(proposal_error_as(&github, app(APP, KEY), &request()).await);
}

#[tokio::test]
async fn reports_an_invalid_token() {
    let github = repository().await;
    assert_snapshot!(proposal_error_as(&github, token("canary-wrong"), &request()).await);
    assert_snapshot!(proposal_error_as(&github, token("canary\nwrong"), &request()).await);
}

#[tokio::test]
async fn names_the_permissions_that_a_read_only_token_lacks() {
    let github = repository().await;
    let reader =
        Identity { can_write: false, ..Identity::new("github-actions[bot]", TokenKind::Actions) };
    github.add_token("canary-reader", reader);
    assert_snapshot!(proposal_error_as(&github, token("canary-reader"), &request()).await);
    assert_eq!(github.with(|store| store.branches.len()), 1);
}

#[tokio::test]
async fn reports_an_inaccessible_repository() {
    let github = repository().await;
    github.set_private();
    assert_snapshot!(proposal_error_as(&github, Access::Anonymous, &request()).await);
}

#[tokio::test]
async fn names_the_setting_that_forbids_pull_requests_by_actions() {
    let github = repository().await;
    github.add_token("canary-actions", Identity::new("github-actions[bot]", TokenKind::Actions));
    github.with(|store| store.forbids_actions_pull_requests = true);
    assert_snapshot!(proposal_error_as(&github, token("canary-actions"), &request()).await);
    // The branch exists. A run with another token opens the pull request.
    propose(&github, &request()).await;
    assert_eq!(
        open_pull_requests(&github),
        "#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION"
    );
}

#[tokio::test]
async fn recognizes_a_pull_request_opened_by_actions() {
    let github = repository().await;
    github.add_token("canary-actions", Identity::new("github-actions[bot]", TokenKind::Actions));
    let opened =
        try_propose_as(&github, token("canary-actions"), &request()).await.expect("no error");
    assert!(opened.expect("one").pull_request.is_by_actions());
}

#[tokio::test]
async fn rejected_requests_have_a_hint() {
    for (status, message, hint) in [
        (
            403,
            "Resource protected by organization SAML enforcement. You must grant your token access.",
            "Configure SSO",
        ),
        (403, "the `acme` organization has an IP allow list enabled", "IP allow list"),
        (409, "Git Repository is empty.", "first commit"),
        (422, "Repository rule violations found: Cannot create ref", "ruleset"),
    ] {
        let github = repository().await;
        let body = serde_json::json!({ "message": message }).to_string();
        github.fail("*", "*", 2, 1, Fault::Response(status, Vec::new(), body));
        let error = proposal_error_as(&github, token("canary-person"), &request()).await;
        let printed_hint = error.split("hint:").nth(1).expect("a hint");
        assert!(error.contains(message) && printed_hint.contains(hint), "{error}");
    }
}

/// The server's responses repeat the token and the key.
#[tokio::test]
async fn errors_contain_no_secrets() {
    let github = repository().await;
    let line = KEY.lines().nth(2).expect("a line");
    for (index, access) in [token("canary-person"), app(APP, KEY)].into_iter().enumerate() {
        let secrets = match index {
            0 => ["canary-person", "canary-person"],
            _ => [line, "canary-installation-1"],
        };
        let body = serde_json::json!({
            "message": format!("no: {}\n{KEY}", secrets.join(" ")),
            "errors": [{ "message": secrets[1] }, { "field": secrets[1], "code": "x" }],
        });
        github.clear_faults();
        github.fail("*", "*/git/trees/*", 0, 1, Fault::Response(418, Vec::new(), body.to_string()));
        let error = proposal_error_as(&github, access.clone(), &request()).await;
        assert!(error.contains("418: no: ***"), "{error}");
        let debugged = format!("{access:?}");
        for secret in secrets {
            assert!(!error.contains(secret) && !debugged.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn follows_a_redirect_to_another_host_without_the_token() {
    let github = repository().await;
    let other_host = repository().await;
    let location = format!("{}/repos/acme/images", other_host.api());
    github.fail(
        "GET",
        "*/repos/acme/images",
        0,
        1,
        Fault::Response(301, vec![("location", location)], String::new()),
    );
    let mut client =
        GitHub::connect(&options(&github, token("canary-person"))).await.expect("a client");
    client.base(None).await.expect("a base");
    let requests = other_host.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn uses_the_new_name_of_a_renamed_repository() {
    let github = repository().await;
    propose(&github, &request()).await;
    let location = format!("{}/repos/acme/images", github.api());
    let moved = Fault::Response(301, vec![("location", location)], String::new());
    github.fail("GET", "*/repos/acme/old", 0, 1, moved);
    let repository = "acme/old".parse().expect("a name");
    let options = GitHubOptions { repository, ..options(&github, token("canary-person")) };
    let mut client = GitHub::connect(&options).await.expect("a client");
    let base = client.base(None).await.expect("a base");
    let pull_request = client.find_pull_request(&request(), &base).await.expect("a list");
    assert_eq!(pull_request.expect("a pull request").number, 1);
}
