//! The plain Docker Engine API, for what `BuildKit` does not do.

use std::collections::{BTreeMap, HashMap};

use bollard::models::PushImageInfo;
use bollard::query_parameters::{
    ListImagesOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, auth::DockerCredentials};
use futures_util::TryStreamExt;
use secrecy::ExposeSecret;

use super::address::{Endpoint, EngineAddress};
use super::error::Cause;
use crate::image::{Digest, Reference};
use crate::registry::Credential;

/// Seconds that one answer of the Engine API may take.
const TIMEOUT: u64 = 120;

/// An image of an engine's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// What the engine knows it by: the digest of its manifest, or of its configuration where
    /// images live in a graph driver's store.
    pub id: Digest,
    /// The value of the label that it was asked for by.
    pub label: String,
    /// Its names.
    pub names: Vec<Reference>,
    /// Its size in bytes, with what it shares with others.
    pub size: u64,
}

/// A connection to the Engine API.
#[derive(Debug, Clone)]
pub(super) struct DockerApi(Docker);

/// Who answers, and in which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Product {
    /// A Docker Engine.
    Docker(String),
    /// Podman, imitating one.
    Podman(String),
}

/// What a Docker Engine says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    /// Whether images live in containerd's store, rather than in a graph driver's.
    pub(super) containerd_store: bool,
    /// The registries that it asks before Docker Hub.
    pub(super) mirrors: Vec<String>,
}

impl DockerApi {
    pub(super) fn new(address: &EngineAddress) -> Result<Self, Cause> {
        let docker = match (&address.endpoint, &address.tls) {
            (Endpoint::Unix(path), _) => {
                Docker::connect_with_unix(&path.to_string_lossy(), TIMEOUT, API_DEFAULT_VERSION)
            }
            (Endpoint::Tcp { .. }, None) => {
                Docker::connect_with_http(&address.to_string(), TIMEOUT, API_DEFAULT_VERSION)
            }
            (Endpoint::Tcp { .. }, Some(tls)) => {
                // bollard asks for the process's provider, which nobody else sets.
                let _already_set = rustls::crypto::ring::default_provider().install_default();
                Docker::connect_with_ssl(
                    &address.to_string(),
                    &tls.key,
                    &tls.cert,
                    &tls.ca,
                    TIMEOUT,
                    API_DEFAULT_VERSION,
                )
            }
        };
        Ok(Self(docker?))
    }

    /// Asks who answers.
    pub(super) async fn product(&self) -> Result<Product, bollard::errors::Error> {
        let version = self.0.version().await?;
        let mut components = version.components.unwrap_or_default().into_iter();
        let podman = components.find(|component| component.name == "Podman Engine");
        Ok(match podman {
            Some(podman) => Product::Podman(podman.version),
            None => Product::Docker(version.version.unwrap_or_default()),
        })
    }

    /// Asks the engine how it is set up.
    pub(super) async fn about(&mut self) -> Result<About, bollard::errors::Error> {
        self.0 = self.0.clone().negotiate_version().await?;
        let info = self.0.info().await?;
        let driver = info.driver_status.unwrap_or_default();
        let registries = info.registry_config.unwrap_or_default();
        Ok(About {
            // Only containerd's snapshotters are told of with a type.
            containerd_store: driver
                .iter()
                .any(|pair| pair.first().is_some_and(|key| key == "driver-type")),
            mirrors: registries.mirrors.unwrap_or_default(),
        })
    }

    /// The images that have a label.
    pub(super) async fn images_with(
        &self,
        label: &str,
    ) -> Result<Vec<StoredImage>, bollard::errors::Error> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.0.list_images(Some(options)).await?.into_iter();
        let labelled = images.filter_map(|mut image| {
            Some(StoredImage {
                id: image.id.parse().ok()?,
                label: image.labels.remove(label)?,
                // An image without a name has one that says so.
                names: image.repo_tags.iter().filter_map(|name| name.parse().ok()).collect(),
                size: u64::try_from(image.size).unwrap_or(0),
            })
        });
        Ok(labelled.collect())
    }

    /// Gives an image of the engine's store a name.
    pub(super) async fn tag(
        &self,
        image: &Digest,
        reference: &Reference,
    ) -> Result<(), bollard::errors::Error> {
        let repository = reference.repository.canonical();
        let options =
            TagImageOptionsBuilder::default().repo(&repository).tag(reference.tag.as_str()).build();
        self.0.tag_image(&image.to_string(), Some(options)).await
    }

    /// Removes one name of an image, and the image when it has no other and nothing uses it.
    pub(super) async fn remove_name(
        &self,
        reference: &Reference,
    ) -> Result<(), bollard::errors::Error> {
        let options = None::<RemoveImageOptions>;
        self.0.remove_image(&reference.canonical(), options, None).await?;
        Ok(())
    }

    /// Pushes an image from the engine's store, and gives the digest that the registry has it by.
    /// `moved` is told how many bytes have been sent, of how many that are known to be sent.
    pub(super) async fn push(
        &self,
        reference: &Reference,
        credential: Option<Credential>,
        mut moved: impl FnMut(u64, u64),
    ) -> Result<Digest, Cause> {
        let options = PushImageOptionsBuilder::default().tag(reference.tag.as_str()).build();
        let repository = reference.repository.canonical();
        let pushing = self.0.push_image(&repository, Some(options), credential.map(header));
        let mut pushing = std::pin::pin!(pushing);
        let mut pushed = Pushed::default();
        loop {
            match pushing.try_next().await {
                Ok(Some(message)) => {
                    if pushed.note(&message) {
                        let (current, total) = pushed.bytes();
                        moved(current, total);
                    }
                }
                Ok(None) => break,
                // bollard takes the end of the last line, where it comes by itself, for a message
                // that is cut off. The digest is told when the image is there.
                Err(_) if pushed.digest.is_some() => break,
                Err(error) => return Err(error.into()),
            }
        }
        pushed.digest.ok_or_else(|| "the engine did not tell the digest that it pushed".into())
    }
}

/// How far a push has come.
#[derive(Debug, Default)]
struct Pushed {
    /// The bytes that were sent of the layers that are sent, by the bytes that each has in all:
    /// bollard leaves out which layer a message is about.
    layers: BTreeMap<u64, u64>,
    digest: Option<Digest>,
}

impl Pushed {
    /// Takes in what the engine says next; gives whether more bytes have moved.
    fn note(&mut self, message: &PushImageInfo) -> bool {
        // The digest comes in a line for people: `tag: digest: sha256:… size: …`.
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
        // What is told at the end is with the headers of a tar, and more than all.
        let is_more = current.min(total) > *sent;
        *sent = current.min(total).max(*sent);
        is_more
    }

    /// The bytes that were sent, and those that are known to be sent in all.
    fn bytes(&self) -> (u64, u64) {
        (self.layers.values().sum(), self.layers.keys().sum())
    }
}

/// Whether a push says that the engine has no image of that name.
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

    /// What Docker 26 tells of a push, as it tells it.
    const TOLD: &str = r#"
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
    fn a_push_tells_how_far_it_is_and_at_last_its_digest() {
        let digest = Digest::of(b"manifest");
        let told = TOLD.replace("DIGEST", &digest.hex());
        let messages = serde_json::Deserializer::from_str(&told).into_iter();
        let mut pushed = Pushed::default();
        let mut moved = Vec::new();
        for message in messages {
            let message: PushImageInfo = message.expect("a message");
            if pushed.note(&message) {
                moved.push(pushed.bytes());
            }
        }
        assert_eq!(moved, [(512, 2000), (612, 2300), (1600, 2300), (2100, 2300)]);
        assert_eq!(pushed.digest, Some(digest));
    }

    /// Answers one request with `chunks`, each sent by itself.
    async fn answering(chunks: Vec<String>) -> DockerApi {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            stream.set_nodelay(true).expect("no delay");
            assert_ne!(stream.read(&mut [0; 4096]).await.expect("a request"), 0);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
            let chunks = chunks.into_iter().chain([String::new()]).map(chunk);
            for part in std::iter::once(head).chain(chunks) {
                stream.write_all(part.as_bytes()).await.expect("it listens");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let address = EngineAddress::docker(&address, None).expect("an address");
        DockerApi::new(&address).expect("an API")
    }

    #[tokio::test]
    async fn a_push_may_end_with_the_end_of_a_line() {
        let digest = Digest::of(b"manifest");
        let told = TOLD.replace("DIGEST", &digest.hex());
        let lines = told.trim().lines().map(str::trim);
        let chunks = lines.flat_map(|line| [line.to_owned(), "\r\n".to_owned()]).collect();
        let reference = "127.0.0.1:5000/acme/a:1".parse().expect("a reference");
        let pushed = answering(chunks).await.push(&reference, None, |_, _| {}).await;
        assert_eq!(pushed.expect("a digest"), digest);
    }

    #[tokio::test]
    async fn a_push_that_is_cut_off_fails() {
        let chunks = TOLD.trim().lines().take(3).map(|line| format!("{line}\r\n"));
        let chunks = chunks.chain(["{\"status\":".to_owned()]).collect();
        let reference = "127.0.0.1:5000/acme/a:1".parse().expect("a reference");
        let pushed = answering(chunks).await.push(&reference, None, |_, _| {}).await;
        pushed.expect_err("no digest");
    }
}
