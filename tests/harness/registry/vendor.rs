//! Deviations of vendors' registries from the distribution specification.

use http::{Method, Response, StatusCode};
use serde_json::Value;

use super::api::{ReceivedRequest, Route, error};
use super::{Body, Shared, lock};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vendor {
    /// Follows the specification.
    #[default]
    Standard,
    /// Rejects manifests with an unknown configuration media type or artifact type.
    GitLab,
    /// Returns 401 for a pull-only token in a repository that does not exist.
    Quay,
    /// Returns 403 for reads in a repository that does not exist.
    Artifactory,
    /// Does not create repositories on the first push.
    Ecr,
}

/// Returns the scopes that the token of a request must have. `needed` are those of the specification.
pub(super) fn required(
    request: &ReceivedRequest,
    shared: &Shared,
    needed: &[String],
) -> Vec<String> {
    if *lock(&shared.vendor) == Vendor::Quay && reads_new_repository(request, shared) {
        let push = |scope: &String| format!("{scope},push");
        return needed.iter().map(push).collect();
    }
    needed.to_vec()
}

/// Returns the vendor's error for an authorized request, if any.
pub(super) fn reject(request: &ReceivedRequest, shared: &Shared) -> Option<Response<Body>> {
    let vendor = *lock(&shared.vendor);
    let (path, route) = request.route();
    match (vendor, &request.head.method, route) {
        (Vendor::GitLab, &Method::PUT, Route::Manifest(_)) => {
            let problem = unknown_type(&request.body)?;
            let message = format!("manifest invalid: {problem}");
            Some(error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", &message))
        }
        (Vendor::Artifactory, ..) if reads_new_repository(request, shared) => {
            Some(error(StatusCode::FORBIDDEN, "DENIED", "forbidden"))
        }
        (Vendor::Ecr, &Method::POST, Route::Uploads)
            if !lock(&shared.store).has_repository(path) =>
        {
            let message = format!("The repository with name '{path}' does not exist");
            Some(error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message))
        }
        _ => None,
    }
}

/// Returns whether a request reads manifests or tags of a repository that does not exist.
fn reads_new_repository(request: &ReceivedRequest, shared: &Shared) -> bool {
    let (path, route) = request.route();
    matches!(request.head.method, Method::GET | Method::HEAD)
        && matches!(route, Route::Manifest(_) | Route::Tags)
        && !lock(&shared.store).has_repository(path)
}

/// Returns an error for a media type that GitLab does not know.
fn unknown_type(manifest: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    if let Some(kind) = manifest["artifactType"].as_str() {
        return Some(format!("unknown artifact type: {kind}"));
    }
    let config = manifest["config"]["mediaType"].as_str()?;
    let is_known = config == "application/vnd.oci.image.config.v1+json";
    (!is_known).then(|| format!("unknown media type: {config}"))
}
