//! Registries that limit the request rate.

use std::time::{Duration, SystemTime};

use basegen::registry::RegistryErrorKind;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{add_image, client, format_error, image_manifest, tag};

fn wait(status: u16, value: impl Into<String>) -> Fault {
    Fault::header(status, "retry-after", value)
}

#[tokio::test(start_paused = true)]
async fn as_many_seconds_as_it_says_are_waited() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("HEAD", "*", wait(429, "120")));
    let begun = Instant::now();
    let found = client().head(&registry.repository("acme/base"), &tag("v1")).await;
    assert_eq!(found.expect("an answer"), Some(manifest.descriptor()));
    assert!((120..125).contains(&begun.elapsed().as_secs()));
    assert_eq!(registry.count("HEAD", "*"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_date_is_waited_for() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    registry.fail(Rule::first("GET", "*", wait(503, date)));
    let begun = Instant::now();
    let found = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(found.expect("an answer").is_some());
    assert!((85..95).contains(&begun.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_told_to_wait_asks_nothing_meanwhile() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.fail(Rule::first("PUT", "*", wait(503, "60")));
    // What is asked meanwhile is counted, and hangs.
    let early = registry.fail(Rule::every("HEAD", "*", Fault::Hang));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let pushing =
        tokio::spawn(async move { client.put_manifest(&repository, &tag("v1"), &manifest).await });
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(registry.count("*", "*"), 1);
    early.release();
    pushing.await.expect("no panic").expect("pushed");
}

#[tokio::test(start_paused = true)]
async fn a_day_is_not_waited() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", wait(429, "86400")));
    let begun = Instant::now();
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("too long");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(registry.count("*", "*"), 1);
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to list the tags of `registry/acme/base`
      caused by: rate limited by `registry`: retry after 1d

    hint: basegen waits at most 5m; rerun the same command later to continue
    ");
}

#[tokio::test(start_paused = true)]
async fn when_one_is_told_to_wait_all_wait() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository) = (client(), registry.repository("acme/base"));
    // It is told to the first, while the others are not yet on their way.
    registry.fail(Rule::first("GET", "*/tags/list", wait(429, "60")));
    let first = tokio::spawn({
        let (client, repository) = (client.clone(), repository.clone());
        async move { client.tags(&repository).await }
    });
    while registry.count("*", "*") == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let name = tag("v1");
    let others = join_all((0..5).map(|_| client.head(&repository, &name))).await;
    assert!(others.into_iter().all(|found| found.is_ok_and(|found| found.is_some())));
    assert!(begun.elapsed().as_secs() >= 59);
    assert!(first.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_is_not_told() {
    let registry = FakeRegistry::start().await;
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(90));
    for value in ["0".to_owned(), past] {
        registry.fail(Rule::every("HEAD", "*", wait(503, value.as_str())));
        let mut options =
            crate::harness::registry_client::options(basegen::registry::Credentials::anonymous());
        options.retry.first_wait = Duration::from_secs(10);
        let begun = Instant::now();
        let found = crate::harness::registry_client::client_with(&options)
            .head(&registry.repository("a/b"), &tag("v1"))
            .await;
        found.expect_err("busy");
        assert!(begun.elapsed() > Duration::from_millis(100), "{value}: all at once");
        registry.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_asks_for_it_is_left_alone_as_long() {
    let (registry, tokens) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let challenge = format!("Bearer realm=\"{}/token\",service=\"fake\"", tokens.origin());
    registry.fail(Rule::every("*", "*", Fault::header(401, "www-authenticate", challenge)));
    tokens.fail(Rule::every("GET", "/token", wait(503, "60")));
    let begun = Instant::now();
    let found = client().head(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(found.expect_err("busy").is_transient());
    assert_eq!(begun.elapsed().as_secs(), 5 * 60);
    assert_eq!((tokens.count("*", "*"), registry.count("*", "*")), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_borne_for_ever() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::Hang));
    let mut options =
        crate::harness::registry_client::options(basegen::registry::Credentials::anonymous());
    options.timeouts.idle = Some(Duration::from_secs(30));
    options.retry.attempts = 2;
    let client = crate::harness::registry_client::client_with(&options);
    let begun = Instant::now();
    let found = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = found.expect_err("silence");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { .. }));
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(registry.count("*", "*"), 2);
}
