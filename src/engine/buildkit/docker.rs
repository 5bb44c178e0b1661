//! The parts of the Docker Engine API beyond `BuildKit`: version, images of the store, and push.

use std::collections::{BTreeMap, HashMap};

use bollard::models::PushImageInfo;
use bollard::query_parameters::{
    ListImagesOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, auth::DockerCredentials};
use futures_util::TryStreamExt;
use secrecy::ExposeSecret;

use super::ConnectedEngine;
use crate::engine::address::{Endpoint, EngineAddress};
use crate::engine::{EngineError, error::Cause};
use crate::image::{Digest, Reference};
use crate::registry::Credential;

/// The timeout of calls to the Engine API, in seconds.
const TIMEOUT: u64 = 120;

/// An image in an engine's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// The digest of the manifest, or of the configuration if the store is a graph driver.
    pub id: Digest,
    /// The value of the requested label.
    pub label: String,
    pub names: Vec<Reference>,
    /// The size in bytes, including shared layers.
    pub size: u64,
}

/// The product behind the Engine API, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Product {
    Docker(String),
    Podman(String),
}

/// The configuration of a Docker Engine.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    /// Whether the image store is containerd's, not a graph driver.
    pub(super) containerd_store: bool,
    /// The mirrors of Docker Hub.
    pub(super) mirrors: Vec<String>,
}

/// Creates a client of the Engine API.
pub(super) fn client(address: &EngineAddress) -> Result<Docker, Cause> {
    let url = address.to_string();
    let docker = match (&address.endpoint, &address.tls) {
        (Endpoint::Unix(path), _) => {
            Docker::connect_with_unix(&path.to_string_lossy(), TIMEOUT, API_DEFAULT_VERSION)
        }
        (Endpoint::Tcp { .. }, None) => {
            Docker::connect_with_http(&url, TIMEOUT, API_DEFAULT_VERSION)
        }
        (Endpoint::Tcp { .. }, Some(tls)) => {
            // bollard requires a default provider for the process.
            let _already_set = rustls::crypto::ring::default_provider().install_default();
            let (key, cert, ca) = (&tls.key, &tls.cert, &tls.ca);
            Docker::connect_with_ssl(&url, key, cert, ca, TIMEOUT, API_DEFAULT_VERSION)
        }
    };
    Ok(docker?)
}

pub(super) async fn product(docker: &Docker) -> Result<Product, bollard::errors::Error> {
    let version = docker.version().await?;
    let mut components = version.components.unwrap_or_default().into_iter();
    let podman = components.find(|component| component.name == "Podman Engine");
    Ok(match podman {
        Some(podman) => Product::Podman(podman.version),
        None => Product::Docker(version.version.unwrap_or_default()),
    })
}

pub(super) async fn about(docker: &Docker) -> Result<About, bollard::errors::Error> {
    let info = docker.info().await?;
    let driver = info.driver_status.unwrap_or_default();
    let registries = info.registry_config.unwrap_or_default();
    Ok(About {
        // Only the status of containerd's snapshotters has a type.
        containerd_store: driver
            .iter()
            .any(|pair| pair.first().is_some_and(|key| key == "driver-type")),
        mirrors: registries.mirrors.unwrap_or_default(),
    })
}

impl ConnectedEngine {
    /// Lists the images of the engine's store that have `label`. A buildkitd has no store.
    pub async fn images_with(&self, label: &str) -> Result<Vec<StoredImage>, EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(Vec::new()) };
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = docker.list_images(Some(options)).await;
        let images = images.map_err(|error| self.store_error("list its images", error))?;
        let labelled = images.into_iter().filter_map(|mut image| {
            Some(StoredImage {
                id: image.id.parse().ok()?,
                label: image.labels.remove(label)?,
                // Skips the placeholder of images without names.
                names: image.repo_tags.iter().filter_map(|name| name.parse().ok()).collect(),
                size: u64::try_from(image.size).unwrap_or(0),
            })
        });
        Ok(labelled.collect())
    }

    /// Tags an image of the engine's store.
    pub async fn tag(&self, image: &Digest, references: &[Reference]) -> Result<(), EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(()) };
        for reference in references {
            let repository = reference.repository.canonical();
            let options = TagImageOptionsBuilder::default().repo(&repository);
            let options = options.tag(reference.tag.as_str()).build();
            let tagged = docker.tag_image(&image.to_string(), Some(options)).await;
            tagged.map_err(|error| self.store_error("tag an image", error))?;
        }
        Ok(())
    }

    /// Removes an image from the engine's store. `names` must be all names of the image.
    pub async fn remove(&self, names: &[Reference]) -> Result<(), EngineError> {
        let Some(docker) = &self.0.docker else { return Ok(()) };
        for name in names {
            let removed = remove_name(docker, name).await;
            removed.map_err(|error| self.store_error("remove an image", error))?;
        }
        Ok(())
    }

    fn store_error(&self, action: &'static str, source: bollard::errors::Error) -> EngineError {
        EngineError::Store { engine: self.name().to_owned(), action, source: source.into() }
    }
}

/// Removes one name of an image. The engine deletes an unused image with its last name.
pub(super) async fn remove_name(
    docker: &Docker,
    name: &Reference,
) -> Result<(), bollard::errors::Error> {
    docker.remove_image(&name.canonical(), None::<RemoveImageOptions>, None).await.map(drop)
}

/// Pushes an image from the engine's store and returns its digest in the registry. `moved` receives
/// the sent bytes and the known total.
pub(super) async fn push(
    docker: &Docker,
    reference: &Reference,
    credential: Option<Credential>,
    mut moved: impl FnMut(u64, u64),
) -> Result<Digest, Cause> {
    let options = PushImageOptionsBuilder::default().tag(reference.tag.as_str()).build();
    let repository = reference.repository.canonical();
    let mut pushing =
        std::pin::pin!(docker.push_image(&repository, Some(options), credential.map(header)));
    let mut pushed = Pushed::default();
    loop {
        match pushing.try_next().await {
            Ok(Some(message)) => {
                if pushed.update(&message) {
                    let (current, total) = pushed.bytes();
                    moved(current, total);
                }
            }
            Ok(None) => break,
            // bollard reports a separate last line end as an incomplete message. The digest arrives
            // after the image.
            Err(_) if pushed.digest.is_some() => break,
            Err(error) => return Err(error.into()),
        }
    }
    pushed.digest.ok_or_else(|| "the engine returned no digest for the push".into())
}

/// The progress of a push.
#[derive(Debug, Default)]
struct Pushed {
    /// The sent bytes of each layer by the layer's size: bollard omits the layer's id.
    layers: BTreeMap<u64, u64>,
    digest: Option<Digest>,
}

impl Pushed {
    /// Processes a message. Returns true if more bytes were sent.
    fn update(&mut self, message: &PushImageInfo) -> bool {
        // The digest is part of a text: `tag: digest: sha256:… size: …`.
        let mut words = message.status.iter().flat_map(|status| status.split_whitespace());
        if let Some(digest) = words.find_map(|word| word.parse().ok()) {
            self.digest = Some(digest);
        }
        let detail = message.progress_detail.as_ref();
        let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        let current = detail.and_then(|detail| bytes(detail.current));
        let total = detail.and_then(|detail| bytes(detail.total));
        let (Some(current), Some(total)) = (current, total) else { return false };
        let sent = self.layers.entry(total).or_default();
        // The last count includes tar headers and exceeds the total.
        let is_more = current.min(total) > *sent;
        *sent = current.min(total).max(*sent);
        is_more
    }

    /// Returns the sent bytes and the known total.
    fn bytes(&self) -> (u64, u64) {
        (self.layers.values().sum(), self.layers.keys().sum())
    }
}

/// Returns true if a push failed because the engine has no image with the name.
pub(super) fn is_name_gone(problem: &str) -> bool {
    problem.contains("does not exist locally")
}

fn header(credential: Credential) -> DockerCredentials {
    match credential {
        Credential::Password { username, password } => DockerCredentials {
            username: Some(username),
            password: Some(password.expose_secret().to_owned()),
            ..DockerCredentials::default()
        },
        Credential::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token.expose_secret().to_owned()),
            ..DockerCredentials::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The messages of Docker 26 about a push.
    const MESSAGES: &str = r#"
        {"status":"The push refers to repository [127.0.0.1:5000/acme/a]"}
        {"status":"Preparing","progressDetail":{},"id":"c3c9d1e4e8a1"}
        {"status":"Layer already exists","progressDetail":{},"id":"5f70bf18a086"}
        {"status":"Pushing","progressDetail":{"current":512,"total":2000},"progress":"[>","id":"c3c9d1e4e8a1"}
        {"status":"Pushing","progressDetail":{"current":100,"total":300},"progress":"[>","id":"d1d1d1e4e8a1"}
        {"status":"Pushing","progressDetail":{"current":1500,"total":2000},"progress":"[>","id":"c3c9d1e4e8a1"}
        {"status":"Pushing","progressDetail":{"current":3584,"total":2000},"progress":"[>","id":"c3c9d1e4e8a1"}
        {"status":"Pushed","progressDetail":{},"id":"c3c9d1e4e8a1"}
        {"status":"1: digest: sha256:DIGEST size: 528"}
        {"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:DIGEST","Size":528}}
    "#;

    #[test]
    fn a_push_reports_bytes_and_then_its_digest() {
        let digest = Digest::of(b"manifest");
        let text = MESSAGES.replace("DIGEST", &digest.hex());
        let messages = serde_json::Deserializer::from_str(&text).into_iter();
        let mut pushed = Pushed::default();
        let mut progress = Vec::new();
        for message in messages {
            let message: PushImageInfo = message.expect("a message");
            if pushed.update(&message) {
                progress.push(pushed.bytes());
            }
        }
        assert_eq!(progress, [(512, 2000), (612, 2300), (1600, 2300), (2100, 2300)]);
        assert_eq!(pushed.digest, Some(digest));
    }

    /// Starts a server that sends one response in these chunks. Returns its client.
    async fn respond_with(chunks: Vec<String>) -> Docker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            assert_ne!(stream.read(&mut [0; 4096]).await.expect("a request"), 0);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
            let chunks = chunks.into_iter().chain([String::new()]).map(chunk);
            for part in std::iter::once(head).chain(chunks) {
                stream.write_all(part.as_bytes()).await.expect("an open connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let address = EngineAddress::docker(&address, None).expect("an address");
        client(&address).expect("an API")
    }

    #[tokio::test]
    async fn messages_and_line_ends_can_arrive_separately() {
        let digest = Digest::of(b"manifest");
        let text = MESSAGES.replace("DIGEST", &digest.hex());
        let lines = text.trim().lines().map(str::trim);
        let chunks = lines.flat_map(|line| [line.to_owned(), "\r\n".to_owned()]).collect();
        let reference = "127.0.0.1:5000/acme/a:1".parse().expect("a reference");
        let pushed = push(&respond_with(chunks).await, &reference, None, |_, _| {}).await;
        assert_eq!(pushed.expect("a digest"), digest);
    }

    #[tokio::test]
    async fn a_push_with_a_truncated_response_fails() {
        let chunks = MESSAGES.trim().lines().take(3).map(|line| format!("{line}\r\n"));
        let chunks = chunks.chain(["{\"status\":".to_owned()]).collect();
        let reference = "127.0.0.1:5000/acme/a:1".parse().expect("a reference");
        let pushed = push(&respond_with(chunks).await, &reference, None, |_, _| {}).await;
        pushed.expect_err("no digest");
    }
}
