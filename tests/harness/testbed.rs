//! The engine and the registry of the test bed, from the environment, and small builds for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use basegen::engine::{
    BuildJob, BuildKitEngine, BuildOptions, BuiltImage, ConnectedEngine, Destination, Engine,
    EngineEnvironment, EngineRequest, JobDependencies,
};
use basegen::event::Failure;
use basegen::image::{Compression, Reference};
use basegen::render::{BuildContext, ContextFile};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

pub(crate) use crate::harness::events::RecordedEvents;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run these tests with `make test`, which starts the test bed")
    })
}

/// Returns a command that runs basegen in `folder` and writes its logs and locks there.
pub(crate) fn basegen(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
    command.current_dir(folder).env("XDG_STATE_HOME", folder.join("state"));
    command
}

/// Returns a command of the test bed's docker client, which has the buildx plugin.
pub(crate) fn docker_command(arguments: &[&str]) -> Command {
    let docker = std::env::var("BASEGEN_TESTBED_DOCKER").unwrap_or_else(|_| "docker".to_owned());
    let mut command = Command::new(docker);
    command.args(arguments);
    if let Ok(config) = std::env::var("BASEGEN_TESTBED_DOCKER_CONFIG") {
        command.env("DOCKER_CONFIG", config);
    }
    command
}

/// Returns the address of the test bed's registry. The first call pulls the upstream image of the tests: while the build that pulls an
/// image is open, BuildKit finds no cached steps on top of that image.
pub(crate) fn registry() -> String {
    static PULLED: OnceLock<()> = OnceLock::new();
    let registry = variable("BASEGEN_TESTBED_REGISTRY");
    PULLED.get_or_init(|| {
        let registry = registry.clone();
        // The caller may be an async task, which must not block on another runtime.
        let pulled = std::thread::spawn(move || pull(&registry)).join();
        pulled.expect("the upstream image");
    });
    registry
}

fn pull(registry: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let job = job_in(registry, "pulled", "FROM python:3.11-slim-bookworm\nRUN true\n", &[]);
        build(&builder(Destination::Registry).await, &job).await.expect("an image");
    });
}

/// Connects to the test bed's engine.
pub(crate) async fn engine() -> ConnectedEngine {
    let request = EngineRequest {
        environment: EngineEnvironment {
            docker_host: Some(variable("DOCKER_HOST")),
            docker_cert_path: std::env::var_os("DOCKER_CERT_PATH").map(PathBuf::from),
            docker_tls_verify: std::env::var_os("DOCKER_TLS_VERIFY").is_some(),
            ..EngineEnvironment::default()
        },
        ..EngineRequest::default()
    };
    let engine = ConnectedEngine::connect(&request).await;
    engine.expect("the test bed's engine")
}

pub(crate) async fn builder(destination: Destination) -> BuildKitEngine {
    let engine = engine().await;
    let builder = engine.builder(BuildOptions::to(destination));
    builder.expect("a builder")
}

/// Returns whether the engine stores images with a graph driver. Such an engine exports only to its own store, and pushes from there:
/// with Docker's media types, gzip, and by tag.
pub(crate) async fn has_graph_driver() -> bool {
    let info = docker().info().await.expect("the engine's configuration");
    let status = info.driver_status.unwrap_or_default();
    !status.iter().any(|pair| pair.first().is_some_and(|key| key == "driver-type"))
}

/// Returns a random text, which makes a build step unique, so that it is not cached.
pub(crate) fn unique() -> String {
    hex::encode(rand::random::<[u8; 6]>())
}

/// Returns a job that builds `dockerfile` with `files`, and pushes to the repository `basegen-test/NAME` of the test bed's registry.
pub(crate) fn job(name: &str, dockerfile: &str, files: &[(&str, &str)]) -> BuildJob {
    job_in(&registry(), name, dockerfile, files)
}

fn job_in(registry: &str, name: &str, dockerfile: &str, files: &[(&str, &str)]) -> BuildJob {
    BuildJob {
        target: name.to_owned(),
        context: BuildContext {
            dockerfile: dockerfile.to_owned(),
            dockerfile_name: format!("{name}.Dockerfile"),
            files: files.iter().map(|(path, text)| file(path, text)).collect(),
            ..BuildContext::default()
        },
        platforms: Vec::new(),
        labels: BTreeMap::from([("dev.basegen.test".to_owned(), name.to_owned())]),
        references: vec![reference(&format!("{registry}/basegen-test/{name}:1"))],
        compression: Compression::default(),
        parents: Vec::new(),
        is_parent: false,
        checks: Vec::new(),
        alias_commands: Vec::new(),
        existing: None,
        staging: unique().parse().expect("a tag"),
    }
}

fn file(path: &str, text: &str) -> ContextFile {
    let content = Arc::from(text.as_bytes());
    ContextFile { path: path.to_owned(), content, ..ContextFile::default() }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

pub(crate) async fn build(
    engine: &BuildKitEngine,
    job: &BuildJob,
) -> Result<BuiltImage, Box<Failure>> {
    let events = Arc::new(RecordedEvents::default()).events();
    // Boxed because the future of a build is large.
    Box::pin(engine.build(job, &events, JobDependencies::none())).await
}

/// Fetches `path` from the test bed's registry. Returns the digest header and the body.
pub(crate) async fn fetch(path: &str) -> (Option<String>, Bytes) {
    fetch_from(&registry(), path).await
}

/// Fetches `path` from the registry `host`. Returns the digest header and the body.
pub(crate) async fn fetch_from(host: &str, path: &str) -> (Option<String>, Bytes) {
    let response = get(host, path).await;
    assert!(response.status().is_success(), "{path}: {}", response.status());
    let digest = response.headers().get("docker-content-digest").cloned();
    let digest = digest.and_then(|digest| digest.to_str().ok().map(str::to_owned));
    let body = response.into_body().collect().await.expect("a body");
    (digest, body.to_bytes())
}

/// Fetches `path` from the test bed's registry. Returns the status and the body, also of errors.
async fn fetch_any(path: &str) -> (http::StatusCode, Bytes) {
    let response = get(&registry(), path).await;
    let status = response.status();
    (status, response.into_body().collect().await.expect("a body").to_bytes())
}

async fn get(host: &str, path: &str) -> http::Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(host).await.expect("the registry");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", host)
        .header("accept", "application/vnd.oci.image.manifest.v1+json")
        .header("accept", "application/vnd.oci.image.index.v1+json")
        // Without these types, a registry converts manifests of Docker's old image store to schema 1.
        .header("accept", "application/vnd.docker.distribution.manifest.v2+json")
        .header("accept", "application/vnd.docker.distribution.manifest.list.v2+json")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    sender.send_request(request).await.expect("a response")
}

/// Returns the digest and the manifest of `reference`. If it is an index, returns those of its first image.
pub(crate) async fn manifest(reference: &Reference) -> (String, Value) {
    manifest_of(reference.repository.path(), reference.tag.to_string()).await
}

/// Returns the manifest of an image that was pushed for `job`.
pub(crate) async fn pushed_manifest(job: &BuildJob, image: &BuiltImage) -> Value {
    let repository = job.references[0].repository.path();
    manifest_of(repository, image.digest.to_string()).await.1
}

/// Returns the tags of the repository that `job` pushes to.
pub(crate) async fn tags(job: &BuildJob) -> Vec<String> {
    repository_tags(job.references[0].repository.path()).await
}

pub(crate) async fn repository_tags(repository: &str) -> Vec<String> {
    let (status, body) = fetch_any(&format!("/v2/{repository}/tags/list")).await;
    // Distribution 2.8 returns an error for a repository without tags.
    if status == http::StatusCode::NOT_FOUND {
        return Vec::new();
    }
    let list: Value = serde_json::from_slice(&body).expect("a list");
    let tags = list["tags"].as_array().into_iter().flatten();
    tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect()
}

/// Returns whether the repository that `job` pushes to exists.
pub(crate) async fn has_repository(job: &BuildJob) -> bool {
    let path = job.references[0].repository.path();
    // The list starts after `last`: here, the name without its last letter.
    let (_, body) = fetch_any(&format!("/v2/_catalog?n=1&last={}", &path[..path.len() - 1])).await;
    let list: Value = serde_json::from_slice(&body).expect("a list");
    list["repositories"][0] == path
}

async fn manifest_of(repository: &str, mut reference: String) -> (String, Value) {
    loop {
        let (digest, body) = fetch(&format!("/v2/{repository}/manifests/{reference}")).await;
        let manifest: Value = serde_json::from_slice(&body).expect("a manifest");
        match manifest["manifests"][0]["digest"].as_str() {
            Some(first) => first.clone_into(&mut reference),
            None => return (digest.expect("a digest"), manifest),
        }
    }
}

/// Returns the digest of an index, and the manifest of each of its images by architecture.
pub(crate) async fn images(repository: &str, tag: &str) -> (String, BTreeMap<String, Value>) {
    let (digest, body) = fetch(&format!("/v2/{repository}/manifests/{tag}")).await;
    let index: Value = serde_json::from_slice(&body).expect("an index");
    let mut images = BTreeMap::new();
    for entry in index["manifests"].as_array().expect("an index") {
        let architecture = entry["platform"]["architecture"].as_str().expect("a text");
        let digest = entry["digest"].as_str().expect("a digest");
        let (_, manifest) = manifest_of(repository, digest.to_owned()).await;
        images.insert(architecture.to_owned(), manifest);
    }
    (digest.expect("a digest"), images)
}

/// Returns the digests of a manifest's layers.
pub(crate) fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().expect("layers");
    let digests = layers.iter().map(|layer| layer["digest"].as_str().expect("a digest"));
    digests.map(str::to_owned).collect()
}

/// Returns the file of the certificates that containers need for package registries.
pub(crate) fn certificates() -> PathBuf {
    const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
    let path = std::env::var("BASEGEN_TESTBED_CA").ok().filter(|path| !path.is_empty());
    path.map_or(DEBIAN.into(), PathBuf::from)
}

/// Returns the path of the engine's socket.
pub(crate) fn socket() -> String {
    let host = variable("DOCKER_HOST");
    let path = host.strip_prefix("unix://");
    path.expect("a unix socket").to_owned()
}

/// Returns a client of the engine's Docker API.
pub(crate) fn docker() -> bollard::Docker {
    bollard::Docker::connect_with_unix(&socket(), 60, bollard::API_DEFAULT_VERSION).expect("Docker")
}

/// Returns the records of the engine's build cache, from an API that all versions of Docker have.
pub(crate) async fn build_cache() -> Vec<Value> {
    let mut stream = UnixStream::connect(socket()).await.expect("the engine");
    stream.write_all(b"GET /system/df?type=build-cache HTTP/1.0\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("a response");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let usage: Value = serde_json::from_str(body).expect("JSON");
    usage["BuildCache"].as_array().cloned().unwrap_or_default()
}
