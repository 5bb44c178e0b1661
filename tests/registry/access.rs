//! What may be done in a repository.

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{account, authenticated_client, bearer_access, client};

#[tokio::test]
async fn who_may_do_everything_is_told_so() {
    for access in [Access::Open, bearer_access(), Access::Basic(account())] {
        let registry = FakeRegistry::start_with(access).await;
        let client = authenticated_client(&registry);
        let access =
            client.check_access(&registry.repository("acme/base")).await.expect("an answer");
        assert!(access.pull.is_ok() && access.push.is_ok(), "{access:?}");
        // Nothing is left behind.
        assert_eq!(registry.open_uploads(), 0);
        assert!(registry.tags("acme/base").is_empty() && registry.uploaded_bytes() == 0);
    }
}

#[tokio::test]
async fn who_may_pull_is_told_why_not_push() {
    let mut account = account();
    account.grants = vec!["repository:acme/base:pull".to_owned()];
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let client = authenticated_client(&registry);
    let access = client.check_access(&registry.repository("acme/base")).await.expect("an answer");
    assert!(access.pull.is_ok());
    let refusal =
        access.push.expect_err("a refusal").to_string().replace(&registry.host(), "registry");
    insta::assert_snapshot!(refusal, @"`registry` refused `repository:acme/base:pull,push` with 401 Unauthorized: UNAUTHORIZED: authentication required");
}

#[tokio::test]
async fn who_is_nobody_may_do_nothing() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let access = client().check_access(&registry.repository("acme/base")).await.expect("an answer");
    assert!(access.pull.is_err() && access.push.is_err());
}

#[tokio::test]
async fn a_repository_that_must_be_made_first_is_told() {
    let registry = FakeRegistry::start().await;
    let fault = Fault::error(404, "NAME_UNKNOWN", "The repository does not exist");
    registry.fail(Rule::every("POST", "*", fault));
    let access = client().check_access(&registry.repository("acme/base")).await.expect("an answer");
    assert!(access.pull.is_ok());
    assert!(
        access
            .push
            .expect_err("a refusal")
            .to_string()
            .ends_with("NAME_UNKNOWN: The repository does not exist")
    );
}

#[tokio::test]
async fn a_registry_that_is_down_is_no_answer() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::status(503)));
    client().check_access(&registry.repository("acme/base")).await.expect_err("down");
}
