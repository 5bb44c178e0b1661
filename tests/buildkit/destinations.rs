//! Destinations of images: a registry, the image store of the engine, and an OCI layout.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use basegen::engine::{BuildOptions, Destination, Engine, EngineError, JobDependencies};
use basegen::error::Explain;
use basegen::event::Event;
use basegen::image::{Compression, CompressionAlgorithm, Digest};
use serde_json::Value;

use crate::harness::testbed;

#[tokio::test(flavor = "multi_thread")]
async fn pushes_by_digest_without_a_tag() {
    let word = testbed::unique();
    let name = format!("push-{word}");
    let job = testbed::job(&name, "FROM scratch\nCOPY a /a\n", &[("a", &word)]);
    let builder = testbed::builder(Destination::Registry).await;
    let image = testbed::build(&builder, &job).await.expect("an image");
    let manifest = testbed::pushed_manifest(&job, &image).await;
    let is_known = image.manifests.iter().any(|manifest| manifest.digest() == image.digest);
    assert_ne!(
        is_known,
        testbed::has_graph_driver().await,
        "the manifest of a pushed image is known without a request"
    );
    let (kind, layer, tags) = if testbed::has_graph_driver().await {
        (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            // The engine can push only under a tag.
            vec![job.staging.to_string()],
        )
    } else {
        (
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            vec![],
        )
    };
    assert_eq!(manifest["mediaType"], kind);
    assert_eq!(manifest["layers"][0]["mediaType"], layer);
    assert_eq!(testbed::tags(&job).await, tags);
    assert_eq!(image_count(&name).await, 0, "the engine keeps an image that was only pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_reports_its_progress() {
    const SIZE: usize = 8 << 20;
    let random: Vec<u8> = (0..SIZE / 2).map(|_| rand::random()).collect();
    let large = hex::encode(random);
    let job = testbed::job("large", "FROM scratch\nCOPY large /large\n", &[("large", &large)]);
    let builder = testbed::builder(Destination::Registry).await;
    let recorded = Arc::new(testbed::RecordedEvents::default());
    builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
    let events = std::mem::take(&mut *recorded.0.lock().expect("events"));
    let pushing: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::StepProgress { step, item, current, total, .. } if item == "pushing layers" => {
                Some((*step, *current, *total))
            }
            _ => None,
        })
        .collect();
    let (number, ..) = *pushing.first().expect("progress of the push");
    let is_counted = events
        .iter()
        .any(|event| matches!(event, Event::StepsKnown { total, .. } if *total >= number));
    let has_ended = events.iter().any(|event| {
        matches!(event, Event::StepFinished { step, error: None, .. } if step.number == number)
    });
    assert!(is_counted && has_ended, "{}", serde_json::to_string(&events).expect("JSON"));
    if testbed::has_graph_driver().await {
        let is_complete = |(_, current, total): &(usize, u64, Option<u64>)| {
            *current >= SIZE as u64 && *total == Some(*current)
        };
        assert!(pushing.last().is_some_and(is_complete), "{pushing:?}");
        assert!(pushing.len() > 1, "{pushing:?}");
    }
}

/// Returns the number of images in the engine that the job `name` built.
async fn image_count(name: &str) -> usize {
    let images = testbed::engine().await.images_with("dev.basegen.test").await.expect("images");
    images.iter().filter(|image| image.label == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pushes_of_equal_images_succeed() {
    let word = testbed::unique();
    let name = format!("equal-{word}");
    let job = testbed::job(&name, "FROM scratch\nCOPY a /a\n", &[("a", &word)]);
    let mut user = job.clone();
    user.references = vec![testbed::reference(&format!("basegen-test/{name}:mine"))];
    let mine = testbed::build(&testbed::builder(Destination::Engine).await, &user).await;
    mine.expect("an image");

    let builder = testbed::builder(Destination::Registry).await;
    let builds = (0..6).map(|_| testbed::build(&builder, &job));
    let images: Vec<_> = futures_util::future::join_all(builds).await;
    for image in &images {
        let image = image.as_ref().expect("an image");
        assert_eq!(image.digest, images[0].as_ref().expect("an image").digest);
    }
    // The user's own tag of the same image is kept.
    assert_eq!(image_count(&name).await, 1);
    let inspected = testbed::docker().inspect_image(&user.references[0].to_string()).await;
    let image = inspected.expect("the user's image");
    assert_eq!(image.repo_tags, Some(vec![user.references[0].to_string()]));
    let options = None::<bollard::query_parameters::RemoveImageOptions>;
    let removed =
        testbed::docker().remove_image(&user.references[0].to_string(), options, None).await;
    removed.expect("the image is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_layers_get_the_requested_compression_and_base_layers_keep_theirs() {
    let base =
        testbed::reference(&format!("{}/library/python:3.11-slim-bookworm", testbed::registry()));
    let (_, base) = testbed::manifest(&base).await;
    let builder = testbed::builder(Destination::Registry).await;
    let has_graph_driver = testbed::has_graph_driver().await;
    for (name, algorithm, ending) in [
        ("zstd", CompressionAlgorithm::Zstd, "tar+zstd"),
        ("gzip", CompressionAlgorithm::Gzip, "tar+gzip"),
        ("none", CompressionAlgorithm::Uncompressed, "tar"),
    ] {
        let ending = if has_graph_driver { "tar.gzip" } else { ending };
        let dockerfile = "FROM python:3.11-slim-bookworm\nCOPY a /a\n";
        let name = format!("compression-{name}");
        let mut job = testbed::job(&name, dockerfile, &[("a", &testbed::unique())]);
        job.compression = Compression { algorithm, ..Compression::default() };
        let image = testbed::build(&builder, &job).await.expect("an image");
        let manifest = testbed::pushed_manifest(&job, &image).await;
        let layers = testbed::layers(&manifest);
        assert_eq!(layers[..layers.len() - 1], testbed::layers(&base));
        let own = manifest["layers"].as_array().and_then(|layers| layers.last());
        let media_type = own.and_then(|own| own["mediaType"].as_str()).expect("a type");
        assert!(media_type.ends_with(ending), "{media_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_compression_includes_base_layers() {
    if testbed::has_graph_driver().await {
        return;
    }
    let builder = testbed::builder(Destination::Registry).await;
    let dockerfile = "FROM python:3.11-slim-bookworm\nCOPY a /a\n";
    let mut job = testbed::job("compression-forced", dockerfile, &[("a", &testbed::unique())]);
    job.compression.force = true;
    let image = testbed::build(&builder, &job).await.expect("an image");
    let manifest = testbed::pushed_manifest(&job, &image).await;
    for layer in manifest["layers"].as_array().expect("layers") {
        let media_type = layer["mediaType"].as_str().expect("a type");
        assert!(media_type.ends_with("tar+zstd"), "{media_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_built_into_the_engine_runs() {
    let word = testbed::unique();
    let dockerfile = "FROM python:3.11-slim-bookworm\nCOPY a /a\nCMD [\"cat\", \"/a\"]\n";
    let mut job = testbed::job("engine", dockerfile, &[("a", &word)]);
    job.references.push(testbed::reference("basegen-test/engine-alias:2"));
    let builder = testbed::builder(Destination::Engine).await;
    let built = testbed::build(&builder, &job).await.expect("an image");
    let docker = testbed::docker();
    for reference in &job.references {
        let image = docker.inspect_image(&reference.to_string()).await.expect("an image");
        let config = image.config.expect("a configuration");
        let label = config.labels.expect("labels").remove("dev.basegen.test");
        assert_eq!(label.as_deref(), Some("engine"));
        assert_eq!(image.id.expect("an id"), built.digest.to_string());
    }
    assert_eq!(run(&docker, &job.references[0].to_string()).await, 0);
    for reference in &job.references {
        let name = reference.to_string();
        let removed =
            docker.remove_image(&name, None::<bollard::query_parameters::RemoveImageOptions>, None);
        removed.await.expect("the image is removed");
    }
}

/// Runs a container of `image` until it exits, and returns its exit code.
async fn run(docker: &bollard::Docker, image: &str) -> i64 {
    use bollard::query_parameters::{
        CreateContainerOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
    };
    use futures_util::StreamExt;

    let body = bollard::models::ContainerCreateBody {
        image: Some(image.to_owned()),
        ..Default::default()
    };
    let created = docker.create_container(None::<CreateContainerOptions>, body).await;
    let id = created.expect("a container").id;
    docker.start_container(&id, None::<StartContainerOptions>).await.expect("it starts");
    let ended = docker.wait_container(&id, None::<WaitContainerOptions>).next().await;
    let code = ended.expect("a response").expect("an exit code").status_code;
    docker.remove_container(&id, None::<RemoveContainerOptions>).await.expect("it is removed");
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_layout_contains_each_blob_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let word = testbed::unique();
    let shared = format!("FROM python:3.11-slim-bookworm\nCOPY shared /{word}\n");
    let jobs = ["layout-a", "layout-b"].map(|name| {
        let dockerfile = format!("{shared}COPY own /own\n");
        let mut job = testbed::job(name, &dockerfile, &[("own", name), ("shared", &word)]);
        job.references.push(testbed::reference(&format!("example.com/{name}:alias")));
        job
    });
    let options = BuildOptions::to(Destination::OciLayout(folder.path().to_owned()));
    let builder = testbed::engine().await.builder(options);
    if testbed::has_graph_driver().await {
        let refused = builder.err().expect("a graph driver has no exporter for it");
        assert!(matches!(refused, EngineError::Destination { .. }), "{refused}");
        assert!(refused.hint().is_some_and(|hint| hint.contains("containerd")), "{refused}");
        return;
    }
    let builder = builder.expect("a builder");
    let failing = testbed::job("layout-c", &format!("{shared}RUN false\n"), &[("shared", &word)]);
    let (first, second, third) = tokio::join!(
        testbed::build(&builder, &jobs[0]),
        testbed::build(&builder, &jobs[1]),
        testbed::build(&builder, &failing),
    );
    let digests = [first, second].map(|built| built.expect("an image").digest);
    third.expect_err("a failure");

    let index = read(&folder.path().join("index.json"));
    let entries = index["manifests"].as_array().expect("manifests");
    assert_eq!(entries.len(), 4);
    let mut seen = BTreeSet::new();
    let mut layers = Vec::new();
    for (job, digest) in jobs.iter().zip(&digests) {
        for reference in &job.references {
            let named = entries.iter().find(|entry| {
                entry["annotations"]["org.opencontainers.image.ref.name"] == reference.canonical()
            });
            assert_eq!(named.expect("an entry")["digest"], digest.to_string());
        }
        let manifest = blob(folder.path(), digest);
        let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest");
        let own = testbed::layers(&manifest);
        seen.insert(digest.to_string());
        seen.insert(manifest["config"]["digest"].as_str().expect("a digest").to_owned());
        seen.extend(own.iter().cloned());
        layers.push(own);
    }
    assert_eq!(layers[0][..layers[0].len() - 1], layers[1][..layers[1].len() - 1]);
    for digest in &seen {
        let digest: Digest = digest.parse().expect("a digest");
        assert_eq!(Digest::of(&blob(folder.path(), &digest)), digest);
    }
    let files = std::fs::read_dir(folder.path().join("blobs/sha256")).expect("blobs");
    assert_eq!(files.count(), seen.len(), "the layout contains other files");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

fn blob(layout: &Path, digest: &Digest) -> Vec<u8> {
    std::fs::read(layout.join("blobs/sha256").join(digest.hex())).expect("a blob")
}
