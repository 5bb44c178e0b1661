//! Access checks of repositories.

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{account, authenticated_client, bearer_access, client};

#[tokio::test]
async fn reports_access_to_pull_and_push() {
    for access in [Access::Open, bearer_access(), Access::Basic(account())] {
        let registry = FakeRegistry::start_with(access).await;
        let client = authenticated_client(&registry);
        let access =
            client.check_access(&registry.repository("acme/base")).await.expect("a response");
        assert!(access.pull.is_ok() && access.push.is_ok(), "{access:?}");
        // The check leaves nothing in the registry.
        assert_eq!(registry.open_uploads(), 0);
        assert!(registry.tags("acme/base").is_empty() && registry.uploaded_bytes() == 0);
    }
}

#[tokio::test]
async fn reports_why_push_is_refused() {
    let mut account = account();
    account.grants = vec!["repository:acme/base:pull".to_owned()];
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let client = authenticated_client(&registry);
    let access = client.check_access(&registry.repository("acme/base")).await.expect("a response");
    assert!(access.pull.is_ok());
    let refusal =
        access.push.expect_err("a refusal").to_string().replace(&registry.host(), "registry");
    insta::assert_snapshot!(refusal, @"`registry` refused `repository:acme/base:pull,push` with 401 Unauthorized: UNAUTHORIZED: authentication required");
}

#[tokio::test]
async fn reports_no_access_without_credentials() {
    let registry = FakeRegistry::start_with(bearer_access()).await;
    let access =
        client().check_access(&registry.repository("acme/base")).await.expect("a response");
    assert!(access.pull.is_err() && access.push.is_err());
}

#[tokio::test]
async fn reports_a_repository_that_does_not_exist() {
    let registry = FakeRegistry::start().await;
    let fault = Fault::error(404, "NAME_UNKNOWN", "The repository does not exist");
    registry.fail(Rule::every("POST", "*", fault));
    let access =
        client().check_access(&registry.repository("acme/base")).await.expect("a response");
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
async fn an_unavailable_registry_is_an_error() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::status(503)));
    client().check_access(&registry.repository("acme/base")).await.expect_err("unavailable");
}
