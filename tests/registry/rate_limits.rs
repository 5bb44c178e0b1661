//! Registries that limit the request rate.

use std::time::{Duration, SystemTime};

use basegen::registry::{Credentials, RegistryErrorKind};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    add_image, client, client_with, format_error, image_manifest, options, tag,
};

fn retry_after(status: u16, value: impl Into<String>) -> Fault {
    Fault::header(status, "retry-after", value)
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_seconds_of_retry_after() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    registry.fail(Rule::first("HEAD", "*", retry_after(429, "120")));
    let started = Instant::now();
    let result = client().head(&registry.repository("acme/base"), &tag("v1")).await;
    assert_eq!(result.expect("a response"), Some(manifest.descriptor()));
    assert!((120..125).contains(&started.elapsed().as_secs()));
    assert_eq!(registry.count("HEAD", "*"), 2);
}

#[tokio::test(start_paused = true)]
async fn waits_until_the_date_of_retry_after() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    registry.fail(Rule::first("GET", "*", retry_after(503, date)));
    let started = Instant::now();
    let result = client().manifest(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(result.expect("a response").is_some());
    assert!((85..95).contains(&started.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_push_sends_no_other_request() {
    let registry = FakeRegistry::start().await;
    let manifest = image_manifest(&registry.add_blob("acme/base", "config"), &[]);
    registry.fail(Rule::first("PUT", "*", retry_after(503, "60")));
    // A request during the wait would hang and be counted.
    let hang = registry.fail(Rule::every("HEAD", "*", Fault::Hang));
    let (client, repository) = (client(), registry.repository("acme/base"));
    let push =
        tokio::spawn(async move { client.put_manifest(&repository, &tag("v1"), &manifest).await });
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(registry.count("*", "*"), 1);
    hang.release();
    push.await.expect("no panic").expect("pushed");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_above_the_limit_fails_at_once() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", retry_after(429, "86400")));
    let started = Instant::now();
    let error = client().tags(&registry.repository("acme/base")).await.expect_err("too long");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(registry.count("*", "*"), 1);
    insta::assert_snapshot!(format_error(error, &registry), @r"
    error: failed to list the tags of `registry/acme/base`
      caused by: rate limited by `registry`: retry after 1d

    hint: basegen waits at most 5m; rerun the same command later to continue
    ");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_delays_all_requests_to_the_host() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let (client, repository) = (client(), registry.repository("acme/base"));
    // The first request gets this response before the others start.
    registry.fail(Rule::first("GET", "*/tags/list", retry_after(429, "60")));
    let first = tokio::spawn({
        let (client, repository) = (client.clone(), repository.clone());
        async move { client.tags(&repository).await }
    });
    while registry.count("*", "*") == 0 {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let name = tag("v1");
    let others = join_all((0..5).map(|_| client.head(&repository, &name))).await;
    assert!(others.into_iter().all(|result| result.is_ok_and(|result| result.is_some())));
    assert!(started.elapsed().as_secs() >= 59);
    assert!(first.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_without_a_wait_falls_back_to_backoff() {
    let registry = FakeRegistry::start().await;
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(90));
    for value in ["0".to_owned(), past] {
        registry.fail(Rule::every("HEAD", "*", retry_after(503, value.as_str())));
        let mut options = options(Credentials::anonymous());
        options.retry.first_wait = Duration::from_secs(10);
        let started = Instant::now();
        let result = client_with(&options).head(&registry.repository("a/b"), &tag("v1")).await;
        result.expect_err("unavailable");
        assert!(started.elapsed() > Duration::from_millis(100), "{value}: retried without a wait");
        registry.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_a_token_server_delays_requests_to_it() {
    let (registry, tokens) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let challenge = format!("Bearer realm=\"{}/token\",service=\"fake\"", tokens.origin());
    registry.fail(Rule::every("*", "*", Fault::header(401, "www-authenticate", challenge)));
    tokens.fail(Rule::every("GET", "/token", retry_after(503, "60")));
    let started = Instant::now();
    let result = client().head(&registry.repository("acme/base"), &tag("v1")).await;
    assert!(result.expect_err("an unavailable token server").is_transient());
    assert_eq!(started.elapsed().as_secs(), 5 * 60);
    assert_eq!((tokens.count("*", "*"), registry.count("*", "*")), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_response_time_out() {
    let registry = FakeRegistry::start().await;
    registry.fail(Rule::every("*", "*", Fault::Hang));
    let mut options = options(Credentials::anonymous());
    options.timeouts.idle = Some(Duration::from_secs(30));
    options.retry.attempts = 2;
    let client = client_with(&options);
    let started = Instant::now();
    let result = client.head(&registry.repository("acme/base"), &tag("v1")).await;
    let error = result.expect_err("a timeout");
    assert!(matches!(error.kind(), RegistryErrorKind::Unreachable { .. }));
    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!(registry.count("*", "*"), 2);
}
