//! The API of the distribution specification.

use basegen::image::Digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::access::parameters;
use super::store::Store;
use super::{Body, RecordedRequest, Shared, full, lock};

/// A request with the part of its body that arrived.
pub(super) struct ReceivedRequest {
    pub(super) head: RecordedRequest,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) is_truncated: bool,
}

/// An endpoint below a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Root,
    Manifest(&'a str),
    Blob(&'a str),
    Uploads,
    Upload(&'a str),
    Tags,
    Unknown,
}

impl ReceivedRequest {
    /// Returns the repository's path and the endpoint.
    pub(super) fn route(&self) -> (&str, Route<'_>) {
        let Some(rest) = self.head.path.strip_prefix("/v2/") else {
            return ("", Route::Unknown);
        };
        if rest.is_empty() {
            return ("", Route::Root);
        }
        if let Some((path, id)) = rest.rsplit_once("/blobs/uploads/") {
            return (path, if id.is_empty() { Route::Uploads } else { Route::Upload(id) });
        }
        if let Some((path, digest)) = rest.rsplit_once("/blobs/") {
            return (path, Route::Blob(digest));
        }
        if let Some((path, name)) = rest.rsplit_once("/manifests/") {
            return (path, Route::Manifest(name));
        }
        match rest.strip_suffix("/tags/list") {
            Some(path) => (path, Route::Tags),
            None => ("", Route::Unknown),
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut all = parameters(&self.head.query).into_iter();
        all.find_map(|(key, value)| (key == name).then_some(value))
    }
}

pub(super) fn respond(request: &ReceivedRequest, shared: &Shared) -> Response<Body> {
    let (path, route) = request.route();
    let mut store = lock(&shared.store);
    match (&request.head.method, route) {
        (&Method::GET, Route::Root) => Response::new(full("{}")),
        (&Method::GET | &Method::HEAD, Route::Manifest(name)) => manifest(&store, path, name),
        (&Method::PUT, Route::Manifest(name)) => put_manifest(&mut store, path, name, request),
        (&Method::DELETE, Route::Manifest(name)) => delete(&mut store, path, name),
        (&Method::GET | &Method::HEAD, Route::Blob(digest)) => blob(&store, path, digest),
        (&Method::POST, Route::Uploads) => start_upload(&mut store, path, request),
        (method, Route::Upload(id)) => {
            if matches!(*method, Method::PATCH | Method::PUT) {
                *lock(&shared.uploaded) += request.body.len() as u64;
            }
            upload(&mut store, path, id, request)
        }
        (&Method::GET, Route::Tags) => tags(&store, path, request),
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported"),
    }
}

/// Returns an error in the format of the specification.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let mut response = with(status, &[("content-type", "application/json")]);
    *response.body_mut() = full(errors.to_string());
    response
}

fn with(status: StatusCode, headers: &[(&'static str, &str)]) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    response
}

fn manifest(store: &Store, path: &str, name: &str) -> Response<Body> {
    if !store.has_repository(path) {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    let stored = store.content(path);
    let found = stored.resolve(name).and_then(|digest| {
        stored.manifests.get(&digest).map(|manifest| (digest, manifest.clone()))
    });
    let Some((digest, (media_type, bytes))) = found else {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest");
    };
    let digest = digest.to_string();
    let length = bytes.len().to_string();
    let headers = [
        ("content-type", media_type.as_str()),
        ("docker-content-digest", &digest),
        ("content-length", &length),
    ];
    let mut response = with(StatusCode::OK, &headers);
    *response.body_mut() = full(bytes);
    response
}

fn put_manifest(
    store: &mut Store,
    path: &str,
    name: &str,
    request: &ReceivedRequest,
) -> Response<Body> {
    let digest = Digest::of(&request.body);
    let media_type = request.headers.get("content-type").and_then(|value| value.to_str().ok());
    let manifest = basegen::registry::Manifest {
        media_type: media_type.unwrap_or_default().to_owned(),
        bytes: request.body.clone(),
    };
    let (needs, stored) = (manifest.needs(), store.content(path));
    if needs.blobs.iter().any(|digest| !stored.blobs.contains_key(digest))
        || needs.manifests.iter().any(|digest| !stored.manifests.contains_key(digest))
    {
        let code = "MANIFEST_BLOB_UNKNOWN";
        return error(StatusCode::NOT_FOUND, code, "manifest references an unknown blob");
    }
    match name.parse::<Digest>() {
        Ok(named) if named != digest => {
            return error(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "the digest does not match the content",
            );
        }
        Ok(_) => {}
        Err(_) if store.immutable_tags && store.content(path).tags.contains_key(name) => {
            let message = format!("The image tag '{name}' already exists and is immutable");
            return error(StatusCode::BAD_REQUEST, "ImageTagAlreadyExistsException", &message);
        }
        Err(_) => store.tag(path, name, digest.clone()),
    }
    store.add_manifest(path, &manifest.media_type, request.body.clone());
    let location = format!("/v2/{path}/manifests/{digest}");
    let digest = digest.to_string();
    with(StatusCode::CREATED, &[("location", &location), ("docker-content-digest", &digest)])
}

fn delete(store: &mut Store, path: &str, name: &str) -> Response<Body> {
    let Some(digest) = store.content(path).resolve(name) else {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest");
    };
    let stored = store.repository(path);
    if name == digest.to_string() {
        stored.manifests.remove(&digest);
        stored.tags.retain(|_, tagged| *tagged != digest);
    } else {
        stored.tags.remove(name);
    }
    with(StatusCode::ACCEPTED, &[])
}

fn blob(store: &Store, path: &str, digest: &str) -> Response<Body> {
    let digest: Option<Digest> = digest.parse().ok();
    let found = digest.and_then(|digest| {
        store.content(path).blobs.get(&digest).cloned().map(|bytes| (digest, bytes))
    });
    let Some((digest, bytes)) = found else {
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob");
    };
    let (digest, length) = (digest.to_string(), bytes.len().to_string());
    let headers = [
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", &digest),
        ("content-length", &length),
    ];
    let mut response = with(StatusCode::OK, &headers);
    *response.body_mut() = full(bytes);
    response
}

fn start_upload(store: &mut Store, path: &str, request: &ReceivedRequest) -> Response<Body> {
    let mount = request.parameter("mount").and_then(|digest| digest.parse::<Digest>().ok());
    if let (Some(digest), Some(from)) = (mount, request.parameter("from"))
        && let Some(bytes) = store.content(&from).blobs.get(&digest).cloned()
    {
        store.add_blob(path, bytes);
        let digest = digest.to_string();
        return with(StatusCode::CREATED, &[("docker-content-digest", &digest)]);
    }
    let id = store.start_upload(path);
    session(StatusCode::ACCEPTED, path, &id, 0)
}

/// Returns the path of an upload session.
pub(super) fn session_path(path: &str, id: &str) -> String {
    format!("/v2/{path}/blobs/uploads/{id}?_state=canary-state%3D")
}

/// Returns the location and the progress of an upload session.
fn session(status: StatusCode, path: &str, id: &str, length: usize) -> Response<Body> {
    let location = session_path(path, id);
    let range = format!("0-{}", length.saturating_sub(1));
    with(status, &[("location", &location), ("range", &range)])
}

fn upload(store: &mut Store, path: &str, id: &str, request: &ReceivedRequest) -> Response<Body> {
    let is_session = request.parameter("_state").as_deref() == Some("canary-state=");
    let Some(upload) = store.uploads.get_mut(id).filter(|upload| upload.path == path && is_session)
    else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    };
    let start = request.head.content_range.as_deref().and_then(|range| range.split('-').next());
    if start.is_some_and(|start| start != upload.bytes.len().to_string()) {
        return session(StatusCode::RANGE_NOT_SATISFIABLE, path, id, upload.bytes.len());
    }
    match request.head.method {
        Method::GET => session(StatusCode::NO_CONTENT, path, id, upload.bytes.len()),
        Method::DELETE => {
            store.uploads.remove(id);
            with(StatusCode::NO_CONTENT, &[])
        }
        Method::PATCH => {
            upload.bytes.extend_from_slice(&request.body);
            session(StatusCode::ACCEPTED, path, id, upload.bytes.len())
        }
        Method::PUT if request.is_truncated => with(StatusCode::BAD_REQUEST, &[]),
        Method::PUT => {
            let mut bytes = upload.bytes.clone();
            bytes.extend_from_slice(&request.body);
            let digest = Digest::of(&bytes).to_string();
            if request.parameter("digest").as_deref() != Some(&digest) {
                return error(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    "the digest does not match the content",
                );
            }
            store.uploads.remove(id);
            store.add_blob(path, bytes.into());
            let location = format!("/v2/{path}/blobs/{digest}");
            let headers = [("location", location.as_str()), ("docker-content-digest", &digest)];
            with(StatusCode::CREATED, &headers)
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn tags(store: &Store, path: &str, request: &ReceivedRequest) -> Response<Body> {
    if !store.has_repository(path) {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    let size: usize = request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(100);
    let last = request.parameter("last").unwrap_or_default();
    let all = store.content(path).tags.keys().filter(|tag| **tag > last).cloned();
    let all: Vec<_> = all.collect();
    let page = &all[..size.min(all.len())];
    let body = serde_json::json!({ "name": path, "tags": page });
    let mut response = with(StatusCode::OK, &[("content-type", "application/json")]);
    if let (true, Some(last)) = (page.len() < all.len(), page.last()) {
        let link = format!("</v2/{path}/tags/list?n={size}&last={last}>; rel=\"next\"");
        response.headers_mut().insert("link", link.parse().expect("a value"));
    }
    *response.body_mut() = full(body.to_string());
    response
}
