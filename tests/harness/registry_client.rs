//! Registry clients, credentials and images for tests of the client itself.

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

/// Returns options with short delays between attempts.
pub fn options(credentials: Credentials) -> RegistryOptions {
    RegistryOptions {
        retry: RetryPolicy { first_wait: Duration::from_millis(1), ..RetryPolicy::default() },
        // With a paused clock, tokio would advance to these timeouts at once.
        timeouts: Timeouts { connect: None, idle: None },
        ..RegistryOptions::new(Arc::new(credentials))
    }
}

/// Returns a client without credentials.
pub fn client() -> Registries {
    client_with(&options(Credentials::anonymous()))
}

/// Returns a client with the credentials of [`account`] for this registry.
pub fn authenticated_client(registry: &FakeRegistry) -> Registries {
    client_with(&options(password_credentials(&registry.host(), "$oauthtoken", PASSWORD)))
}

pub fn client_with(options: &RegistryOptions) -> Registries {
    Registries::new(options).expect("a client")
}

/// Returns the account of [`authenticated_client`].
pub fn account() -> Account {
    Account::new("$oauthtoken", PASSWORD)
}

pub fn bearer_access() -> Access {
    Access::Bearer(account())
}

/// Returns credentials in the format of `docker login`.
pub fn password_credentials(host: &str, username: &str, password: &str) -> Credentials {
    let auth = STANDARD.encode(format!("{username}:{password}"));
    docker_config(&json!({ "auths": { host: { "auth": auth } } }))
}

pub fn identity_token_credentials(host: &str, token: &str) -> Credentials {
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

/// Returns pseudorandom bytes, the same in each run.
pub fn sample_bytes(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Returns the manifest of an image with these blobs.
pub fn image_manifest(config: &Digest, layers: &[Digest]) -> Manifest {
    let entry = |digest: &Digest| json!({ "mediaType": "x/y", "digest": digest, "size": 1 });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": Manifest::OCI_IMAGE,
        "config": entry(config),
        "layers": layers.iter().map(entry).collect::<Vec<_>>(),
    });
    Manifest { media_type: Manifest::OCI_IMAGE.to_owned(), bytes: document.to_string().into() }
}

/// Adds an image without layers to the registry. Its configuration is the tag.
pub fn add_image(registry: &FakeRegistry, path: &str, tag: &str) -> Manifest {
    let config = registry.add_blob(path, tag.to_owned());
    let manifest = image_manifest(&config, &[]);
    registry.add_manifest(path, tag, &manifest.media_type, manifest.bytes.clone());
    manifest
}

/// Pushes an image of one layer with the tag `name`. Its configuration is the tag.
pub async fn push_image(
    client: &Registries,
    repository: &Repository,
    name: &str,
    layer: Bytes,
) -> Result<Manifest, RegistryError> {
    let (config, layer) = (Blob::new(name.to_owned().into()), Blob::new(layer));
    client.push_blob(repository, &config).await?;
    client.push_blob(repository, &layer).await?;
    let manifest = image_manifest(config.digest(), &[layer.digest().clone()]);
    client.put_manifest(repository, &tag(name), &manifest).await?;
    Ok(manifest)
}

/// Returns the error as users see it, with `registry` in place of the registry's address.
pub fn format_error(error: RegistryError, registry: &FakeRegistry) -> String {
    Report::from(error).to_string().replace(&registry.host(), "registry")
}
