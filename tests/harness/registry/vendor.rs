//! How registries deviate from the distribution specification.

use http::{Method, Response, StatusCode};
use serde_json::Value;

use super::api::{Asked, Route, error};
use super::{Body, Shared, lock};

/// Whose registry one behaves like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vendor {
    /// As the specification says.
    #[default]
    Standard,
    /// Refuses manifests with an unknown configuration media type or artifact type.
    GitLab,
    /// Answers 401 to a pull-only token in a repository that does not exist.
    Quay,
    /// Answers 403 to whoever reads in a repository that does not exist.
    Artifactory,
    /// Creates no repository on the first push.
    Ecr,
}

/// The scopes that a token must allow for a request that asks for those `needed`.
pub(super) fn required(asked: &Asked, shared: &Shared, needed: &[String]) -> Vec<String> {
    if *lock(&shared.vendor) == Vendor::Quay && reads_new_repository(asked, shared) {
        let push = |scope: &String| format!("{scope},push");
        return needed.iter().map(push).collect();
    }
    needed.to_vec()
}

/// What the vendor's registry refuses of a request that the account is allowed.
pub(super) fn refuse(asked: &Asked, shared: &Shared) -> Option<Response<Body>> {
    let vendor = *lock(&shared.vendor);
    let (path, route) = asked.route();
    match (vendor, &asked.seen.method, route) {
        (Vendor::GitLab, &Method::PUT, Route::Manifest(_)) => {
            let problem = unknown_type(&asked.body)?;
            let message = format!("manifest invalid: {problem}");
            Some(error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", &message))
        }
        (Vendor::Artifactory, ..) if reads_new_repository(asked, shared) => {
            Some(error(StatusCode::FORBIDDEN, "DENIED", "forbidden"))
        }
        (Vendor::Ecr, &Method::POST, Route::Uploads) if !lock(&shared.store).knows(path) => {
            let message = format!("The repository with name '{path}' does not exist");
            Some(error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message))
        }
        _ => None,
    }
}

/// Whether a request reads manifests or tags of a repository that does not exist.
fn reads_new_repository(asked: &Asked, shared: &Shared) -> bool {
    let (path, route) = asked.route();
    matches!(asked.seen.method, Method::GET | Method::HEAD)
        && matches!(route, Route::Manifest(_) | Route::Tags)
        && !lock(&shared.store).knows(path)
}

/// The media type of a manifest that GitLab has no entry for.
fn unknown_type(manifest: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    if let Some(kind) = manifest["artifactType"].as_str() {
        return Some(format!("unknown artifact type: {kind}"));
    }
    let config = manifest["config"]["mediaType"].as_str()?;
    let is_known = config == "application/vnd.oci.image.config.v1+json";
    (!is_known).then(|| format!("unknown media type: {config}"))
}
