//! Reading and deleting manifests, tags and blobs.

use basegen::image::{Digest, Repository};
use basegen::registry::{Credentials, Manifest};

use crate::harness::registry::{Access, FakeRegistry, Fault, Rule};
use crate::harness::registry_client::{
    PASSWORD, account, add_image, client, client_with, options, password_credentials, tag,
};

#[tokio::test]
async fn missing_tags_manifests_and_blobs_are_none() {
    let registry = FakeRegistry::start().await;
    add_image(&registry, "acme/base", "v1");
    let (client, missing) = (client(), Digest::of(b"missing"));
    for path in ["acme/base", "acme/none"] {
        let repository = registry.repository(path);
        assert_eq!(client.head(&repository, &tag("v2")).await.expect("a response"), None);
        assert_eq!(client.manifest(&repository, &missing).await.expect("a response"), None);
        assert_eq!(client.blob(&repository, &missing, 10).await.expect("a response"), None);
        assert!(!client.delete(&repository, &tag("v2")).await.expect("a response"));
    }
    assert_eq!(client.tags(&registry.repository("acme/none")).await.expect("a response"), None);
}

#[tokio::test]
async fn reads_and_deletes_tags_manifests_and_blobs() {
    let registry = FakeRegistry::start().await;
    let manifest = add_image(&registry, "acme/base", "v1");
    let (client, repository) = (client(), registry.repository("acme/base"));
    let descriptor = client.head(&repository, &tag("v1")).await.expect("a response");
    assert_eq!(descriptor, Some(manifest.descriptor()));
    let fetched = client.manifest(&repository, &manifest.digest()).await.expect("a response");
    assert_eq!(fetched.as_ref(), Some(&manifest));
    let config = manifest.config().expect("a configuration").digest;
    let blob = client.blob(&repository, &config, 2).await.expect("a response");
    assert_eq!(blob.as_deref(), Some(b"v1".as_slice()));
    assert!(client.delete(&repository, &tag("v1")).await.expect("a response"));
    assert_eq!(registry.tag("acme/base", "v1"), None);
    assert_eq!(registry.manifests("acme/base"), [manifest.digest()]);
    assert!(client.delete(&repository, &manifest.digest()).await.expect("a response"));
    assert!(registry.manifests("acme/base").is_empty());
}

#[tokio::test]
async fn head_fetches_the_manifest_if_its_digest_or_media_type_is_missing() {
    let without_digest = Fault::Headers(vec![("docker-content-digest", String::new())]);
    let without_media_type = Fault::Headers(vec![("content-type", "application/json".to_owned())]);
    for fault in [without_digest, without_media_type, Fault::status(405)] {
        let registry = FakeRegistry::start().await;
        let manifest = add_image(&registry, "acme/base", "v1");
        let expected = Some(manifest.descriptor());
        registry.fail(Rule::first("HEAD", "*", fault.clone()));
        registry.fail(Rule::first(
            "GET",
            "*",
            Fault::Headers(vec![("docker-content-digest", String::new())]),
        ));
        let result = client().head(&registry.repository("acme/base"), &tag("v1")).await;
        assert_eq!(result.expect("a response"), expected, "{fault:?}");
        assert_eq!(registry.count("GET", "*"), 1);
    }
}

#[tokio::test]
async fn reads_every_page_of_tags() {
    let registry = FakeRegistry::start().await;
    for number in 0..2500 {
        add_image(&registry, "acme/base", &format!("v{number:04}"));
    }
    let tags = client().tags(&registry.repository("acme/base")).await.expect("a response");
    let tags = tags.expect("a repository");
    assert_eq!(
        (tags.len(), tags.first(), tags.last()),
        (2500, Some(&"v0000".to_owned()), Some(&"v2499".to_owned()))
    );
    assert_eq!(registry.count("GET", "*/tags/list"), 3);
}

#[tokio::test]
async fn a_list_without_valid_tags_is_empty() {
    let registry = FakeRegistry::start().await;
    for text in [r#"{"name":"acme/base","tags":null}"#, r#"{"tags":["\u001b[2J","a b"]}"#] {
        let fault = Fault::Response { status: 200, headers: vec![], body: text.into() };
        registry.fail(Rule::first("*", "*", fault));
        let tags = client().tags(&registry.repository("acme/base")).await.expect("a response");
        assert_eq!(tags, Some(vec![]), "{text}");
    }
}

#[tokio::test]
async fn rejects_pages_of_tags_on_other_hosts_and_in_a_cycle() {
    for link in
        ["<https://elsewhere.example/>; rel=next", "</v2/acme/base/tags/list?n=1000>; rel=next"]
    {
        let registry = FakeRegistry::start().await;
        add_image(&registry, "acme/base", "v1");
        registry.fail(Rule::every("GET", "*", Fault::Headers(vec![("link", link.to_owned())])));
        client().tags(&registry.repository("acme/base")).await.expect_err("no next page");
        assert_eq!(registry.count("*", "*"), 1);
    }
}

#[tokio::test]
async fn mirrors_are_tried_before_docker_hub() {
    let (broken, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let manifest = add_image(&mirror, "library/python", "3.11");
    broken.fail(Rule::every("*", "*", Fault::header(503, "retry-after", "60")));
    let mut options = options(Credentials::anonymous());
    options.mirrors = vec![broken.origin().to_owned(), format!("{}/", mirror.origin())];
    let client = client_with(&options);
    let python: Repository = "python".parse().expect("a repository");
    let descriptor = client.head(&python, &tag("3.11")).await.expect("a response");
    assert_eq!(descriptor, Some(manifest.descriptor()));
    let fetched = client.manifest(&python, &manifest.digest()).await.expect("a response");
    assert_eq!(fetched.expect("a manifest").media_type, Manifest::OCI_IMAGE);
    assert_eq!((broken.count("*", "*"), mirror.count("*", "*")), (2, 2));
    // Requests to other registries do not use the mirrors.
    let other = FakeRegistry::start().await;
    assert_eq!(
        client.head(&other.repository("python"), &tag("3.11")).await.expect("a response"),
        None
    );
    assert_eq!(mirror.count("*", "*"), 2);
}

#[tokio::test]
async fn a_mirror_without_tls_receives_no_credentials() {
    let mirror = FakeRegistry::start_with(Access::Basic(account())).await;
    let credentials = password_credentials("mirror.example", "$oauthtoken", PASSWORD);
    let mut options = options(credentials);
    options.retry.attempts = 1;
    options.mirrors = vec!["http://mirror.example".to_owned()];
    // A request through a proxy contains the absolute URL, which the fake registry accepts too.
    options.network.proxies.http = Some(mirror.origin().to_owned());
    options.network.proxies.https = Some("http://127.0.0.1:1".to_owned());
    let python: Repository = "python".parse().expect("a repository");
    client_with(&options).head(&python, &tag("3.11")).await.expect_err("an unreachable registry");
    let requests = mirror.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.authorization.is_none()));
}
