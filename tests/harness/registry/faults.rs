//! Fault injection: [`Rule`]s select requests, and a [`Fault`] says how these fail.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use glob::Pattern;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::{Notify, Semaphore};

use super::{Body, RecordedRequest, Shared, access, api, full, lock, vendor};

/// How a request fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Returns this response without processing the request.
    Response { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    /// Processes the request, and overrides headers of the response. An empty value removes the header.
    Headers(Vec<(&'static str, String)>),
    /// Processes the first bytes of the request, then closes the connection.
    CutRequest(usize),
    /// Processes the request, and closes the connection after so many bytes of the response's body.
    CutResponse(usize),
    /// Closes the connection without processing the request.
    Drop,
    /// Processes the request, then closes the connection without a response.
    CommitThenDrop,
    /// Suspends the request until its handle releases it, then processes it.
    Hang,
    /// Returns a response with this status and a body of one gigabyte.
    Gigabyte(u16),
}

impl Fault {
    /// Returns an error in the format of the specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Response { status, headers, body: errors.to_string().into() }
    }

    /// Returns a response without a body.
    pub fn status(status: u16) -> Self {
        Self::Response { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// Returns a response with one header and without a body.
    pub fn header(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Response { status, headers: vec![(name, value.into())], body: Bytes::new() }
    }
}

/// The requests that fail, and how.
#[derive(Debug, Clone)]
pub struct Rule {
    method: Option<Method>,
    path: Pattern,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Matches every request of a method (`*` for all) whose path matches a glob. A `*` of the glob also matches slashes.
    pub fn every(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: (method != "*").then(|| method.parse().expect("a method")),
            path: Pattern::new(path).expect("a glob"),
            skip: 0,
            times: usize::MAX,
            fault,
        }
    }

    /// Matches only the first of these requests.
    pub fn first(method: &str, path: &str, fault: Fault) -> Self {
        Self::every(method, path, fault).times(1)
    }

    /// Matches only the `number`th of these requests, counted from 1.
    pub fn nth(number: usize, method: &str, path: &str, fault: Fault) -> Self {
        Self::every(method, path, fault).skip(number - 1).times(1)
    }

    /// Excludes the first `skip` requests.
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Limits the number of requests that fail.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// Observes the uses of a rule, and releases the requests that it suspends.
#[derive(Debug, Clone)]
pub struct FaultHandle(Arc<Signals>);

#[derive(Debug)]
struct Signals {
    used: Mutex<usize>,
    megabytes: AtomicUsize,
    reached: Notify,
    released: Semaphore,
}

impl FaultHandle {
    fn new() -> Self {
        // The semaphore has no permits. Closing it releases all waiters.
        let released = Semaphore::new(0);
        let (used, megabytes, reached) = (Mutex::new(0), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Signals { used, megabytes, reached, released }))
    }

    /// Waits until a request matches the rule.
    pub async fn wait_until_used(&self) {
        loop {
            let next = self.0.reached.notified();
            if self.use_count() > 0 {
                return;
            }
            next.await;
        }
    }

    /// Returns the number of requests that failed by the rule.
    pub fn use_count(&self) -> usize {
        *lock(&self.0.used)
    }

    /// Returns how many megabytes of [`Fault::Gigabyte`] were sent, including those in the connection's buffers.
    pub fn sent_megabytes(&self) -> usize {
        self.0.megabytes.load(Ordering::SeqCst)
    }

    /// Releases every request that the rule suspends, now and later.
    pub fn release(&self) {
        self.0.released.close();
    }

    fn record_use(&self) {
        *lock(&self.0.used) += 1;
        self.0.reached.notify_waiters();
    }

    async fn released(&self) {
        let _closed = self.0.released.acquire().await;
    }
}

/// The active rules, with the number of requests that matched each.
#[derive(Default)]
pub(super) struct Table(Mutex<Vec<(Rule, FaultHandle, usize)>>);

impl Table {
    pub(super) fn add(&self, rule: Rule) -> FaultHandle {
        let handle = FaultHandle::new();
        lock(&self.0).push((rule, handle.clone(), 0));
        handle
    }

    pub(super) fn clear(&self) {
        for (_, handle, _) in lock(&self.0).drain(..) {
            handle.release();
        }
    }

    /// Returns the fault of a request: that of the first rule that applies. Every matching rule counts the request.
    pub(super) fn matching(&self, method: &Method, path: &str) -> Option<(Fault, FaultHandle)> {
        let mut fault = None;
        for (rule, handle, matches) in lock(&self.0).iter_mut() {
            let matches_method = rule.method.as_ref().is_none_or(|expected| expected == method);
            if !matches_method || !rule.path.matches(path) {
                continue;
            }
            *matches += 1;
            let index = *matches - 1;
            if fault.is_none() && index >= rule.skip && index - rule.skip < rule.times {
                handle.record_use();
                fault = Some((rule.fault.clone(), handle.clone()));
            }
        }
        fault
    }
}

/// Responds to a request with its fault. An error closes the connection.
pub(super) async fn respond_with(
    fault: Option<(Fault, FaultHandle)>,
    request: Request<Incoming>,
    recorded: RecordedRequest,
    shared: &Shared,
) -> io::Result<Response<Body>> {
    let closed = || Err(io::ErrorKind::ConnectionReset.into());
    let Some((fault, handle)) = fault else {
        return respond(request, recorded, shared, None).await;
    };
    match fault {
        Fault::Response { status, headers, body } => {
            // An unread body would close the connection before the client reads the response.
            let _body = request.into_body().collect().await;
            let mut response = Response::new(full(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            set_headers(response.headers_mut(), &headers);
            Ok(response)
        }
        Fault::Headers(headers) => {
            let mut response = respond(request, recorded, shared, None).await?;
            set_headers(response.headers_mut(), &headers);
            Ok(response)
        }
        Fault::CutRequest(after) => {
            respond(request, recorded, shared, Some(after)).await?;
            closed()
        }
        Fault::CutResponse(after) => {
            truncate(respond(request, recorded, shared, None).await?, after).await
        }
        Fault::Drop => closed(),
        Fault::CommitThenDrop => {
            respond(request, recorded, shared, None).await?;
            closed()
        }
        Fault::Hang => {
            handle.released().await;
            respond(request, recorded, shared, None).await
        }
        Fault::Gigabyte(status) => Ok(gigabyte(status, handle)),
    }
}

/// Closes the connection after the first `length` bytes of the response's body.
async fn truncate(response: Response<Body>, length: usize) -> io::Result<Response<Body>> {
    let (mut head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    head.headers.insert("content-length", body.len().into());
    let piece = Ok(Frame::data(body.slice(..length.min(body.len()))));
    let end = Err(io::ErrorKind::ConnectionReset.into());
    // Sends the first piece before the connection closes.
    let pieces = futures_util::stream::iter([piece, end]).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    });
    let body = http_body_util::BodyExt::boxed(StreamBody::new(Box::pin(pieces)));
    Ok(Response::from_parts(head, body))
}

/// Returns a response with a body of one gigabyte, and counts the megabytes that are sent.
fn gigabyte(status: u16, handle: FaultHandle) -> Response<Body> {
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let pieces = futures_util::stream::iter(0..1024).map(move |_| {
        handle.0.megabytes.fetch_add(1, Ordering::SeqCst);
        Ok(Frame::data(piece.clone()))
    });
    let mut response = Response::new(http_body_util::BodyExt::boxed(StreamBody::new(pieces)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// Responds to a request like a registry. Reads only the first `limit` bytes of its body.
async fn respond(
    request: Request<Incoming>,
    recorded: RecordedRequest,
    shared: &Shared,
    limit: Option<usize>,
) -> io::Result<Response<Body>> {
    let mut body = Vec::new();
    let (head, mut incoming) = request.into_parts();
    let is_truncated = limit.is_some();
    let limit = limit.unwrap_or(usize::MAX);
    while (!is_truncated || body.len() < limit)
        && let Some(frame) = incoming.frame().await
    {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        body.extend_from_slice(&data[..data.len().min(limit - body.len())]);
    }
    let request = api::ReceivedRequest {
        head: recorded,
        headers: head.headers,
        body: body.into(),
        is_truncated,
    };
    let error = access::check(&request, shared).or_else(|| vendor::reject(&request, shared));
    Ok(error.unwrap_or_else(|| api::respond(&request, shared)))
}

fn set_headers(headers: &mut HeaderMap, changes: &[(&'static str, String)]) {
    for (name, value) in changes {
        if value.is_empty() {
            headers.remove(*name)
        } else {
            headers.insert(*name, HeaderValue::from_str(value).expect("a value"))
        };
    }
}
