//! An imported image that is not built is published as it is, without an engine.

use basegen::image::Digest;
use basegen::registry::Manifest;
use serde_json::json;

use super::Import;
use crate::harness::project::stdout;
use crate::harness::registry::FakeRegistry;

/// Points the tag `path`:1.4 to an image, whose manifest has spaces and a key that no standard names. Returns its digest.
fn add_image(registry: &FakeRegistry, path: &str) -> Digest {
    let blob = |media_type: &str, text: String| {
        let (size, digest) = (text.len(), registry.add_blob(path, text));
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    };
    let config = json!({ "os": "linux", "architecture": "amd64" }).to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": Manifest::OCI_IMAGE,
        "config": blob("application/vnd.oci.image.config.v1+json", config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", "a layer".repeat(100))],
        "x-vendor": true,
    });
    let manifest = serde_json::to_string_pretty(&manifest).expect("JSON");
    registry.add_manifest(path, "1.4", Manifest::OCI_IMAGE, manifest.clone());
    Digest::of(manifest.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truss_with_no_build_is_published_byte_for_byte() {
    let (source, registry) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let digest = add_image(&source, "vendor/hardened");
    let image = format!("{}/vendor/hardened:1.4", source.host());
    let text = format!(
        "model_name: Hardened\nbase_image: {{image: '{image}'}}\n\
         docker_server: {{no_build: true, server_port: 8080}}\n"
    );
    let import = Import::new(&[("config.yaml", &text)]);
    let names = format!("--registry {} --repository acme", registry.host());
    stdout(import.command(&format!("init new --strict --from app/config.yaml {names}")));

    let mut push = import.command("-f new/matrix.toml --push");
    push.env("HOME", "/nonexistent").env("DOCKER_HOST", "unix:///nonexistent/engine");
    let printed = stdout(push);
    let name = format!("{}/acme/hardened:v0.1.0@{digest}", registry.host());
    assert_eq!(printed.lines().next(), Some(&*name));
    let published = registry.manifest("acme/hardened", "v0.1.0");
    assert!(published.is_some());
    assert_eq!(published, source.manifest("vendor/hardened", "1.4"));
    let copies = registry.blobs("acme/hardened");
    assert!(source.blobs("vendor/hardened").iter().all(|blob| copies.contains(blob)));
}
