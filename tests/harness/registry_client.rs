//! What the tests have in common.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basegen::error::Report;
use basegen::image::{Digest, Repository, Tag};
use basegen::registry::{
    Blob, Credentials, DockerConfig, Manifest, Registries, RegistryError, RegistryOptions,
    RetryPolicy, Timeouts,
};
use bytes::Bytes;
use serde_json::json;

use crate::harness::registry::{Access, Account, FakeRegistry};

pub const PASSWORD: &str = "canary:pass$word";

/// Options under which no test waits, unless a registry says so.
pub fn options(credentials: Credentials) -> RegistryOptions {
    RegistryOptions {
        retry: RetryPolicy { first_wait: Duration::from_millis(1), ..RetryPolicy::default() },
        // The tests whose clock stands still would jump to the end of these.
        timeouts: Timeouts { connect: None, idle: None },
        ..RegistryOptions::new(Arc::new(credentials))
    }
}

/// A client without credentials.
pub fn client() -> Registries {
    with(&options(Credentials::anonymous()))
}

/// A client with the credentials of [`account`] for this registry.
pub fn client_of(registry: &FakeRegistry) -> Registries {
    with(&options(password(&registry.host(), "$oauthtoken", PASSWORD)))
}

pub fn with(options: &RegistryOptions) -> Registries {
    Registries::new(options).expect("a client")
}

/// Whom [`client_of`] knows.
pub fn account() -> Account {
    Account::new("$oauthtoken", PASSWORD)
}

pub fn bearer() -> Access {
    Access::Bearer(account())
}

/// Credentials as `docker login` keeps them.
pub fn password(host: &str, username: &str, password: &str) -> Credentials {
    let auth = STANDARD.encode(format!("{username}:{password}"));
    docker_config(&json!({ "auths": { host: { "auth": auth } } }))
}

pub fn identity_token(host: &str, token: &str) -> Credentials {
    docker_config(&json!({ "auths": { host: { "identitytoken": token } } }))
}

fn docker_config(config: &serde_json::Value) -> Credentials {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let docker = DockerConfig { folder: Some(folder.path().to_owned()), search_path: None };
    Credentials::load(&docker).expect("credentials")
}

pub fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

/// Bytes that do not repeat themselves.
pub fn bytes(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An image whose blobs are these.
pub fn image(config: &Digest, layers: &[Digest]) -> Manifest {
    let entry = |digest: &Digest| json!({ "mediaType": "x/y", "digest": digest, "size": 1 });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": Manifest::OCI_IMAGE,
        "config": entry(config),
        "layers": layers.iter().map(entry).collect::<Vec<_>>(),
    });
    Manifest { media_type: Manifest::OCI_IMAGE.to_owned(), bytes: document.to_string().into() }
}

/// An image without layers in `repository`, under `name`; its configuration is the name.
pub fn published(registry: &FakeRegistry, path: &str, name: &str) -> Manifest {
    let config = registry.add_blob(path, name.to_owned());
    let manifest = image(&config, &[]);
    registry.add_manifest(path, name, &manifest.media_type, manifest.bytes.clone());
    manifest
}

/// Pushes blobs and then an image of them under `name`.
pub async fn push(
    client: &Registries,
    repository: &Repository,
    name: &str,
    layer: Bytes,
) -> Result<Manifest, RegistryError> {
    let (config, layer) = (Blob::new(name.to_owned().into()), Blob::new(layer));
    client.push_blob(repository, &config).await?;
    client.push_blob(repository, &layer).await?;
    let manifest = image(config.digest(), &[layer.digest().clone()]);
    client.put_manifest(repository, &tag(name), &manifest).await?;
    Ok(manifest)
}

/// An error as a user sees it, with the registry's port left out.
pub fn shown(error: RegistryError, registry: &FakeRegistry) -> String {
    Report::from(error).to_string().replace(&registry.host(), "registry")
}
