//! The test bed, from the environment, and small builds for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use basegen::engine::{
    BuildJob, BuildKitEngine, BuildOptions, BuiltImage, ConnectedEngine, Destination, Engine,
    EngineEnvironment, EngineRequest, JobDependencies,
};
use basegen::event::{Event, Events, Failure, Listener};
use basegen::image::{Compression, Reference};
use basegen::render::{BuildContext, ContextFile};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: `make test` brings the test bed up and runs these tests")
    })
}

/// Returns a command that runs basegen in `folder`, which also gets its logs and locks.
pub(crate) fn basegen(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
    command.current_dir(folder).env("XDG_STATE_HOME", folder.join("state"));
    command
}

/// The docker client of the test bed, with buildx as a plugin.
pub(crate) fn docker_client(arguments: &[&str]) -> Command {
    let docker = std::env::var("BASEGEN_TESTBED_DOCKER").unwrap_or_else(|_| "docker".to_owned());
    let mut command = Command::new(docker);
    command.args(arguments);
    if let Ok(config) = std::env::var("BASEGEN_TESTBED_DOCKER_CONFIG") {
        command.env("DOCKER_CONFIG", config);
    }
    command
}

/// The registry of the test bed. Before its name is first told, the engine pulls the image that
/// tests build on: BuildKit finds nothing in its cache of what stands on an image as long as a
/// build is open that has pulled it.
pub(crate) fn registry() -> String {
    static PULLED: OnceLock<()> = OnceLock::new();
    let registry = variable("BASEGEN_TESTBED_REGISTRY");
    PULLED.get_or_init(|| {
        let registry = registry.clone();
        // Some who ask are tasks themselves, and may not wait for another.
        let pulled = std::thread::spawn(move || pull(&registry)).join();
        pulled.expect("the image that tests build on");
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

/// The engine of the test bed.
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

/// Whether the engine keeps images in a graph driver's store. It then has no exporter but its
/// own, and pushes what it keeps: with Docker's media types, gzip, and under a tag.
pub(crate) async fn has_graph_driver() -> bool {
    let info = docker().info().await.expect("the engine says how it is set up");
    let status = info.driver_status.unwrap_or_default();
    !status.iter().any(|pair| pair.first().is_some_and(|key| key == "driver-type"))
}

/// Text that no other test and no earlier run used, so that nothing of it is cached.
pub(crate) fn unique() -> String {
    hex::encode(rand::random::<[u8; 6]>())
}

/// A job for `dockerfile` with `files`, called `name` in the test bed's registry.
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

/// Remembers every event.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().expect("events").push(event.clone());
    }
}

impl Heard {
    pub(crate) fn events(self: &Arc<Self>) -> Events {
        let listener: Arc<dyn Listener> = Arc::<Self>::clone(self);
        Events::to(listener)
    }

    /// The lines that steps wrote.
    pub(crate) fn lines(&self) -> Vec<String> {
        let events = self.0.lock().expect("events");
        let lines = events.iter().filter_map(|event| match event {
            Event::Log { line, .. } => Some(line.clone()),
            _ => None,
        });
        lines.collect()
    }

    /// Everything as JSON, as `--progress json` would print it.
    pub(crate) fn json(&self) -> String {
        let events = self.0.lock().expect("events");
        serde_json::to_string(&*events).expect("JSON")
    }
}

pub(crate) async fn build(
    engine: &BuildKitEngine,
    job: &BuildJob,
) -> Result<BuiltImage, Box<Failure>> {
    let events = Arc::new(Heard::default()).events();
    // The future of a build is large.
    Box::pin(engine.build(job, &events, JobDependencies::none())).await
}

/// Asks the registry for `path`; gives the digest header and the body.
pub(crate) async fn fetch(path: &str) -> (Option<String>, Bytes) {
    fetch_from(&registry(), path).await
}

/// The same of another registry.
pub(crate) async fn fetch_from(host: &str, path: &str) -> (Option<String>, Bytes) {
    let response = get(host, path).await;
    assert!(response.status().is_success(), "{path}: {}", response.status());
    let digest = response.headers().get("docker-content-digest").cloned();
    let digest = digest.and_then(|digest| digest.to_str().ok().map(str::to_owned));
    let body = response.into_body().collect().await.expect("a body");
    (digest, body.to_bytes())
}

async fn ask(path: &str) -> (http::StatusCode, Bytes) {
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
        // Or a registry makes an older kind of what Docker's old image store pushed.
        .header("accept", "application/vnd.docker.distribution.manifest.v2+json")
        .header("accept", "application/vnd.docker.distribution.manifest.list.v2+json")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    sender.send_request(request).await.expect("an answer")
}

/// The manifest that the registry has under `reference`, and its digest. Of an index, such as
/// upstream images have, it is the first image's manifest.
pub(crate) async fn manifest(reference: &Reference) -> (String, Value) {
    named(reference.repository.path(), reference.tag.to_string()).await
}

/// The manifest of an image that was pushed for `job`.
pub(crate) async fn pushed(job: &BuildJob, image: &BuiltImage) -> Value {
    let repository = job.references[0].repository.path();
    named(repository, image.digest.to_string()).await.1
}

/// The tags of the repository that `job` is pushed to.
pub(crate) async fn tags(job: &BuildJob) -> Vec<String> {
    tags_of(job.references[0].repository.path()).await
}

/// The tags of `repository`.
pub(crate) async fn tags_of(repository: &str) -> Vec<String> {
    let (status, body) = ask(&format!("/v2/{repository}/tags/list")).await;
    // Distribution 2.8 knows no repository that has no tag.
    if status == http::StatusCode::NOT_FOUND {
        return Vec::new();
    }
    let list: Value = serde_json::from_slice(&body).expect("a list");
    let tags = list["tags"].as_array().into_iter().flatten();
    tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect()
}

/// Whether the registry has anything of the repository that `job` is pushed to.
pub(crate) async fn knows(job: &BuildJob) -> bool {
    let path = job.references[0].repository.path();
    // The list begins behind `last`, which is the name without its last letter.
    let (_, body) = ask(&format!("/v2/_catalog?n=1&last={}", &path[..path.len() - 1])).await;
    let list: Value = serde_json::from_slice(&body).expect("a list");
    list["repositories"][0] == path
}

async fn named(repository: &str, mut name: String) -> (String, Value) {
    loop {
        let (digest, body) = fetch(&format!("/v2/{repository}/manifests/{name}")).await;
        let manifest: Value = serde_json::from_slice(&body).expect("a manifest");
        match manifest["manifests"][0]["digest"].as_str() {
            Some(first) => first.clone_into(&mut name),
            None => return (digest.expect("a digest"), manifest),
        }
    }
}

/// The digests of a manifest's layers.
pub(crate) fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().expect("layers");
    let digests = layers.iter().map(|layer| layer["digest"].as_str().expect("a digest"));
    digests.map(str::to_owned).collect()
}

/// The path of the engine's socket.
pub(crate) fn socket() -> String {
    let host = variable("DOCKER_HOST");
    let path = host.strip_prefix("unix://");
    path.expect("the test bed's engine is on a unix socket").to_owned()
}

/// Docker's own API on the same engine.
pub(crate) fn docker() -> bollard::Docker {
    bollard::Docker::connect_with_unix(&socket(), 60, bollard::API_DEFAULT_VERSION).expect("Docker")
}

/// The records of the engine's build cache, as Docker's API has them in all its versions.
pub(crate) async fn build_cache() -> Vec<Value> {
    let mut stream = UnixStream::connect(socket()).await.expect("the engine");
    stream.write_all(b"GET /system/df?type=build-cache HTTP/1.0\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let usage: Value = serde_json::from_str(body).expect("JSON");
    usage["BuildCache"].as_array().cloned().unwrap_or_default()
}
