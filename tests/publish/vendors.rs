//! Registries that deviate from the distribution specification.

use basegen::error::ExitCode;
use basegen::publish::{ReleaseSet, SetForm};

use crate::count_writes;
use crate::harness::machine::{Machine, Release, client, published_tags, reference, release, row};
use crate::harness::registry::{Access, Account, FakeRegistry, Vendor};

/// Starts a registry that behaves like `vendor` and requires tokens. Returns it and a machine with its credentials.
async fn start(vendor: Vendor) -> (FakeRegistry, Machine) {
    let registry = FakeRegistry::start_with(Access::Bearer(Account::new("me", "secret"))).await;
    registry.set_vendor(vendor);
    let machine = Machine::new().with_password(&registry.host(), "me", "secret");
    (registry, machine)
}

/// Reads the release set with this tag.
async fn read_set(registry: &FakeRegistry, tag: &str) -> ReleaseSet {
    let tag = reference(&registry.repository("acme/a"), tag);
    let set = ReleaseSet::read(&client(), &tag).await.expect("a response");
    set.expect("a release set").0
}

#[tokio::test]
async fn the_release_set_on_gitlab_is_an_image() {
    let registry = FakeRegistry::start().await;
    registry.set_vendor(Vendor::GitLab);
    let (machine, v1) = (Machine::new(), release(&registry, "v1", "x"));
    let digests = machine.publish_whole(&v1).await;
    let set = read_set(&registry, "basegen-release-v1").await;
    assert_eq!(set.version.as_deref(), Some("v1"));
    assert_eq!(set.images["b"].digest, digests[1]);
    // A second run sends nothing.
    registry.clear_requests();
    assert_eq!(machine.publish_whole(&v1).await, digests);
    assert_eq!(count_writes(&registry), 0);
}

#[tokio::test]
async fn an_older_release_moves_no_alias_on_gitlab() {
    let registry = FakeRegistry::start().await;
    registry.set_vendor(Vendor::GitLab);
    let machine = Machine::new();
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    let new = machine.publish_whole(&release(&registry, "v2", "y")).await;
    machine.publish_whole(&release(&registry, "v1.5", "x")).await;
    assert_eq!(registry.tag("acme/a", "a").as_ref(), Some(&new[0]));
    assert_eq!(read_set(&registry, "basegen-release").await.version.as_deref(), Some("v2"));
}

#[tokio::test]
async fn the_form_of_a_release_set_can_be_configured() {
    let registry = FakeRegistry::start().await;
    let mut v1 = release(&registry, "v1", "x");
    v1.sets[0].form = SetForm::Image;
    Machine::new().publish_whole(&v1).await;
    let manifest = registry.manifest("acme/a", "basegen-release-v1").expect("a set");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert!(manifest["artifactType"].is_null(), "{manifest}");
    let config = "application/vnd.oci.image.config.v1+json";
    assert_eq!(manifest["config"]["mediaType"], config);
    assert_eq!(read_set(&registry, "basegen-release-v1").await.images.len(), 2);
}

#[tokio::test]
async fn a_repository_that_quay_or_artifactory_hides_counts_as_absent() {
    for vendor in [Vendor::Quay, Vendor::Artifactory] {
        let (registry, machine) = start(vendor).await;
        let v1 = release(&registry, "v1", "x");
        let digests = machine.publish_whole(&v1).await;
        assert_eq!(registry.tag("acme/b", "b-v1").as_ref(), Some(&digests[1]), "{vendor:?}");
        assert_eq!(registry.open_uploads(), 0);
        assert_eq!(machine.publish_whole(&v1).await, digests);
    }
}

#[tokio::test]
async fn a_refusal_without_push_access_is_an_error() {
    let registry = FakeRegistry::start_with(Access::Bearer(Account::new("me", "secret"))).await;
    registry.set_vendor(Vendor::Artifactory);
    let machine = Machine::new();
    let error = machine.publish_error(&release(&registry, "v1", "x")).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
}

#[tokio::test]
async fn a_missing_repository_is_reported_before_the_first_build() {
    let registry = FakeRegistry::start().await;
    registry.set_vendor(Vendor::Ecr);
    registry.create_repository("acme/a");
    let (machine, v1) = (Machine::new(), release(&registry, "v1", "x"));
    let error = machine.publish_error(&v1).await;
    assert_eq!(error.exit_code(), ExitCode::Registry);
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    insta::assert_snapshot!(error.to_string().replace(&registry.host(), "HOST"));
    registry.create_repository("acme/b");
    machine.publish_whole(&v1).await;
}

#[tokio::test]
async fn a_pull_only_credential_is_reported_before_the_first_build() {
    let mut account = Account::new("me", "secret");
    account.grants = vec!["repository:acme/a:pull".to_owned(), "repository:acme/b:pull".to_owned()];
    let registry = FakeRegistry::start_with(Access::Bearer(account)).await;
    let machine = Machine::new().with_password(&registry.host(), "me", "secret");
    let v1 = release(&registry, "v1", "x");
    let errors = [machine.publish_error(&v1).await, machine.stage(&v1).await.expect_err("refused")];
    assert_eq!(machine.built_targets(), Vec::<String>::new());
    let [error, staging] = errors.map(|error| error.to_string().replace(&registry.host(), "HOST"));
    assert_eq!(error, staging);
    insta::assert_snapshot!(error);
}

#[tokio::test]
async fn push_access_is_checked_once_per_repository_and_only_before_a_push() {
    let registry = FakeRegistry::start().await;
    let rows =
        (0..6).map(|number| row(&registry.repository("acme/a"), &format!("r{number}"), "v1", "x"));
    let v1 = Release { rows: rows.collect(), version: None, sets: Vec::new() };
    let machine = Machine::new();
    machine.publish_whole(&v1).await;
    // The access check cancels the upload that it starts.
    assert_eq!(registry.count("DELETE", "*/blobs/uploads/*"), 1);
    registry.clear_requests();
    machine.publish_whole(&v1).await;
    assert_eq!(registry.count("POST", "*"), 0);
}

#[tokio::test]
async fn releases_with_immutable_tags_can_be_rerun() {
    let registry = FakeRegistry::start().await;
    registry.set_immutable_tags(true);
    let version = |version: &str, content: &str| {
        let mut release = release(&registry, version, content);
        release.rows.iter_mut().for_each(|row| row.job.references.truncate(1));
        release.sets[0].references.truncate(1);
        release
    };
    let (v1, v2) = (version("v1", "x"), version("v2", "x"));
    let machine = Machine::new();
    machine.stage_whole(&v1).await;
    let first = machine.publish_whole(&v1).await;
    assert_eq!(Machine::new().publish_whole(&v1).await, first);
    assert_eq!(Machine::new().publish_whole(&v2).await, first);
    let third = machine.publish_whole(&version("v3", "y")).await;
    assert_ne!(third, first);
    assert_eq!(Machine::with_different_output().publish_whole(&version("v3", "y")).await, third);
    assert_eq!(machine.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn the_error_for_immutable_aliases_has_a_hint() {
    let registry = FakeRegistry::start().await;
    registry.set_immutable_tags(true);
    let machine = Machine::new();
    machine.publish_whole(&release(&registry, "v1", "x")).await;
    let error = machine.publish_error(&release(&registry, "v2", "y")).await;
    let mut message = error.to_string().replace(&registry.host(), "HOST");
    for (path, tag) in
        [("acme/a", "a-v1"), ("acme/a", "a-v2"), ("acme/b", "b-v1"), ("acme/b", "b-v2")]
    {
        let digest = registry.tag(path, tag).expect("a version tag").to_string();
        message = message.replace(&digest, &format!("<{tag}>"));
    }
    insta::assert_snapshot!(message);
    assert!(published_tags(&registry).contains(&"b-v2".to_owned()));
}

/// Returns the number of requests that count against the rate limits of Docker Hub.
fn count_manifest_gets(registry: &FakeRegistry) -> usize {
    registry.count("GET", "*/manifests/*")
}

#[tokio::test]
async fn a_publish_of_many_images_fetches_few_manifests() {
    let registry = FakeRegistry::start().await;
    let release = |version: &str| {
        let row = |number: usize| {
            row(&registry.repository("acme/a"), &format!("r{number}"), version, "x")
        };
        let mut release = release(&registry, version, "x");
        release.rows = (0..250).map(row).collect();
        release
    };
    let machine = Machine::new();
    machine.publish_whole(&release("v1")).await;
    let built = count_manifest_gets(&registry);
    assert!(built < 100, "{built} requests for new images");
    registry.clear_requests();
    machine.publish_whole(&release("v1")).await;
    let again = count_manifest_gets(&registry);
    assert!(again < 10, "{again} requests for images with all tags");
    registry.clear_requests();
    // Each manifest is fetched once to push it under its new tag.
    Machine::new().publish_whole(&release("v2")).await;
    let renamed = count_manifest_gets(&registry);
    assert!(renamed < 260, "{renamed} requests for images with new tags");
}
