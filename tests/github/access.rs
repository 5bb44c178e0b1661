//! Tokens, Apps, and what they may not do.

use base64::Engine as _;
use basegen::forge::{Access, GitHub, GitHubOptions};
use insta::assert_snapshot;

use crate::harness::github::{APP, Fault, Identity, KEY, Kind};
use crate::harness::pull_request::{
    error_as, opened, options, propose_as, repository, request, state, token,
};

pub fn app(id: &str, key: &str) -> Access {
    Access::App { id: id.to_owned(), key: key.into() }
}

#[tokio::test]
async fn an_app_is_given_a_token_for_this_repository() {
    let github = repository().await;
    // As variables hold it: with escaped line ends, or in base64.
    let encoded = base64::engine::general_purpose::STANDARD.encode(KEY);
    for key in [KEY, &KEY.replace('\n', "\\n"), &encoded] {
        let opened = propose_as(&github, app(APP, key), &request()).await.expect("no error");
        assert!(!opened.expect("one").pull_request.is_by_actions());
    }
    assert_eq!(github.with(|store| store.pulls[0].author.clone()), "release-app[bot]");
    let tokens = github.seen().into_iter().filter_map(|seen| seen.authorization);
    assert!(tokens.into_iter().any(|token| token == "Bearer canary-installation-1"));
}

#[tokio::test]
async fn the_token_of_an_app_has_no_more_permissions_than_needed() {
    let needed = serde_json::json!({ "contents": "write", "pull_requests": "write" });
    // What the App was not granted is left out.
    for optional_permissions in [vec![], vec![("members", "read")]] {
        let github = repository().await;
        let options = GitHubOptions { optional_permissions, ..options(&github, app(APP, KEY)) };
        GitHub::connect(&options).await.expect("a token");
        assert_eq!(github.with(|store| store.permissions.clone()), needed);
    }
}

#[tokio::test]
async fn an_app_that_is_not_the_one_is_refused() {
    let github = repository().await;
    assert_snapshot!(error_as(&github, app("999", KEY), &request()).await);
    assert_snapshot!(error_as(&github, app(APP, "canary"), &request()).await);
    github.fail(
        "GET",
        "*/installation",
        0,
        1,
        Fault::Answer(404, Vec::new(), r#"{"message":"Not Found"}"#.to_owned()),
    );
    assert_snapshot!(error_as(&github, app(APP, KEY), &request()).await);
}

#[tokio::test]
async fn a_wrong_token_is_told() {
    let github = repository().await;
    assert_snapshot!(error_as(&github, token("canary-wrong"), &request()).await);
    assert_snapshot!(error_as(&github, token("canary\nwrong"), &request()).await);
}

#[tokio::test]
async fn who_may_only_read_is_told_what_is_needed() {
    let github = repository().await;
    let reader = Identity { writes: false, ..Identity::new("github-actions[bot]", Kind::Actions) };
    github.add_token("canary-reader", reader);
    assert_snapshot!(error_as(&github, token("canary-reader"), &request()).await);
    assert_eq!(github.with(|store| store.branches.len()), 1);
}

#[tokio::test]
async fn a_repository_that_cannot_be_seen_is_told() {
    let github = repository().await;
    github.set_private();
    assert_snapshot!(error_as(&github, Access::Anonymous, &request()).await);
}

#[tokio::test]
async fn the_setting_that_keeps_actions_from_it_is_named() {
    let github = repository().await;
    github.add_token("canary-actions", Identity::new("github-actions[bot]", Kind::Actions));
    github.with(|store| store.refuses_actions = true);
    assert_snapshot!(error_as(&github, token("canary-actions"), &request()).await);
    // The branch is there; with the setting changed, or another token, the rest is done.
    opened(&github, &request()).await;
    assert_eq!(state(&github), "#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION");
}

#[tokio::test]
async fn one_of_actions_own_token_is_known() {
    let github = repository().await;
    github.add_token("canary-actions", Identity::new("github-actions[bot]", Kind::Actions));
    let opened = propose_as(&github, token("canary-actions"), &request()).await.expect("no error");
    assert!(opened.expect("one").pull_request.is_by_actions());
}

#[tokio::test]
async fn other_refusals_have_a_hint() {
    for (status, message, word) in [
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
        github.fail("*", "*", 2, 1, Fault::Answer(status, Vec::new(), body));
        let told = error_as(&github, token("canary-person"), &request()).await;
        assert!(
            told.contains(message) && told.split("hint:").nth(1).expect("a hint").contains(word),
            "{told}"
        );
    }
}

/// A server that repeats the token in its response does not get it into an error.
#[tokio::test]
async fn no_error_holds_a_secret() {
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
        github.mend();
        github.fail("*", "*/git/trees/*", 0, 1, Fault::Answer(418, Vec::new(), body.to_string()));
        let told = error_as(&github, access.clone(), &request()).await;
        assert!(told.contains("418: no: ***"), "{told}");
        let debugged = format!("{access:?}");
        for secret in secrets {
            assert!(!told.contains(secret) && !debugged.contains(secret), "{told}");
        }
    }
}

#[tokio::test]
async fn a_redirect_of_a_renamed_repository_is_followed_with_the_token_kept_at_home() {
    let github = repository().await;
    let elsewhere = repository().await;
    let to = format!("{}/repos/acme/images", elsewhere.api());
    github.fail(
        "GET",
        "*/repos/acme/images",
        0,
        1,
        Fault::Answer(301, vec![("location", to)], String::new()),
    );
    let mut client =
        GitHub::connect(&options(&github, token("canary-person"))).await.expect("a client");
    client.base(None).await.expect("a base");
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization, None);
}

#[tokio::test]
async fn a_renamed_repository_goes_by_its_new_name() {
    let github = repository().await;
    opened(&github, &request()).await;
    let to = format!("{}/repos/acme/images", github.api());
    let moved = Fault::Answer(301, vec![("location", to)], String::new());
    github.fail("GET", "*/repos/acme/old", 0, 1, moved);
    let repository = "acme/old".parse().expect("a name");
    let options = GitHubOptions { repository, ..options(&github, token("canary-person")) };
    let mut client = GitHub::connect(&options).await.expect("a client");
    let base = client.base(None).await.expect("a base");
    let own = client.find_pull_request(&request(), &base).await.expect("a list");
    assert_eq!(own.expect("the open one").number, 1);
}
