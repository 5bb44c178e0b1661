//! Release sets, their audit, and stale staging tags.

use std::collections::BTreeSet;

use basegen::publish::{Finding, ReleaseSet, Row, audit, delete_tags, stale_tags};

use crate::harness::machine::{Machine, Release, client, reference, release};
use crate::harness::registry::FakeRegistry;

#[tokio::test]
async fn a_release_set_lists_the_images_and_an_audit_compares_them_with_the_registry() {
    let registry = FakeRegistry::start().await;
    let digests = Machine::new().publish_whole(&release(&registry, "v1", "x")).await;
    let client = client();
    let (a, b) = (registry.repository("acme/a"), registry.repository("acme/b"));
    let name = reference(&a, "basegen-release-v1");
    let (set, _) = ReleaseSet::read(&client, &name).await.expect("read").expect("a set");
    let listed: Vec<_> = set.images.values().map(|image| image.digest.clone()).collect();
    assert_eq!(listed, digests);
    let findings = async || {
        let audited = audit(&client, &set).await.expect("an audit");
        audited.iter().map(|image| image.finding).collect::<Vec<_>>()
    };
    assert_eq!(findings().await, [Finding::Ok, Finding::Ok]);

    client.delete(&a, &reference(&a, "a-v1").tag).await.expect("deleted");
    let other = client.manifest(&a, &name.tag).await.expect("read").expect("a manifest");
    registry.add_manifest("acme/b", "b-v1", &other.media_type, other.bytes);
    assert_eq!(findings().await, [Finding::Untagged, Finding::Moved]);
    client.delete(&b, &digests[1]).await.expect("deleted");
    assert_eq!(findings().await, [Finding::Untagged, Finding::Lost]);
}

#[tokio::test]
async fn rejects_a_manifest_that_is_not_a_release_set() {
    let registry = FakeRegistry::start().await;
    let v1 = release(&registry, "v1", "x");
    Machine::new().publish_whole(&v1).await;
    let error = ReleaseSet::read(&client(), &v1.rows[0].job.references[0]).await;
    let error = error.expect_err("not a release set").to_string();
    insta::assert_snapshot!(error.replace(&registry.host(), "HOST"));
    let none = reference(&registry.repository("acme/none"), "v1");
    assert!(ReleaseSet::read(&client(), &none).await.expect("a response").is_none());
}

#[tokio::test]
async fn lists_and_deletes_only_stale_staging_tags() {
    let registry = FakeRegistry::start().await;
    let (v1, v2) = (release(&registry, "v1", "x"), release(&registry, "v2", "y"));
    let v2 = v2.with_checks("one");
    let machine = Machine::new();
    machine.publish_whole(&v1).await;
    machine.publish_whole(&v2).await;
    // The checks change: the staging tags of the first ones become stale.
    let rechecked = v2.clone().with_checks("two");
    machine.publish_whole(&rechecked).await;
    let checked_tags = |release: &Release| -> Vec<_> {
        let rows = release.rows.iter();
        let tag = |row: &Row| Some(row.fingerprint.as_ref()?.checked_tag(row.checks.as_ref()?));
        rows.filter_map(tag).collect()
    };
    let repositories = BTreeSet::from(["acme/a", "acme/b"].map(|path| registry.repository(path)));
    let mut needed: BTreeSet<_> =
        rechecked.rows.iter().map(|row| row.job.staging.clone()).collect();
    needed.extend(checked_tags(&rechecked));
    let stale = stale_tags(&client(), &repositories, &needed).await.expect("a list");
    let tags_of_v1 = v1.rows.iter().map(|row| row.job.staging.clone());
    let mut expected: Vec<_> = tags_of_v1.chain(checked_tags(&v2)).collect();
    expected.sort();
    let mut found: Vec<_> = stale.iter().map(|reference| reference.tag.clone()).collect();
    found.sort();
    assert_eq!(found, expected);
    for tag in &stale {
        let deleted = delete_tags(&client(), &tag.repository, &[&tag.tag]).await;
        assert_eq!(deleted.expect("a response"), 1);
    }
    let (set, _) =
        ReleaseSet::read(&client(), &v1.sets[0].references[0]).await.expect("read").expect("a set");
    let audited = audit(&client(), &set).await.expect("an audit");
    assert!(audited.iter().all(|image| image.finding == Finding::Ok));
    assert!(stale_tags(&client(), &repositories, &needed).await.expect("a list").is_empty());
}
