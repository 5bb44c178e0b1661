//! What goes wrong, and when.

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

use super::{Body, Seen, Shared, access, api, full, lock, vendor};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another answer, and nothing is done.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    /// Everything is done, and these headers of the answer are set, or left out when empty.
    Headers(Vec<(&'static str, String)>),
    /// So many bytes of the request arrive and count; then the connection breaks.
    CutRequest(usize),
    /// Everything is done, and so many bytes of the answer's body arrive.
    CutAnswer(usize),
    /// Nothing is done, and the connection breaks.
    Drop,
    /// Everything is done, and the connection breaks before the answer.
    CommitThenDrop,
    /// The request waits until its handle releases it, and is then answered as usual.
    Hang,
    /// An answer whose body has a gigabyte.
    Gigabyte(u16),
}

impl Fault {
    /// An answer in the words of the specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer { status, headers, body: errors.to_string().into() }
    }

    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer without a body, and with one header.
    pub fn header(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Answer { status, headers: vec![(name, value.into())], body: Bytes::new() }
    }
}

/// Which requests something goes wrong with.
#[derive(Debug, Clone)]
pub struct Rule {
    method: Option<Method>,
    path: Pattern,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Every request of a method (`*` for all) whose path matches a glob, in which `*` is any
    /// text, slashes included.
    pub fn every(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: (method != "*").then(|| method.parse().expect("a method")),
            path: Pattern::new(path).expect("a glob"),
            skip: 0,
            times: usize::MAX,
            fault,
        }
    }

    /// The first of those.
    pub fn first(method: &str, path: &str, fault: Fault) -> Self {
        Self::every(method, path, fault).times(1)
    }

    /// The `number`th of those, counted from 1.
    pub fn nth(number: usize, method: &str, path: &str, fault: Fault) -> Self {
        Self::every(method, path, fault).skip(number - 1).times(1)
    }

    /// Not the first `skip` of those.
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Only so many of those.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// Tells when a rule was used, and lets go of what hangs by it.
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
        // There are no permits: closing it lets go.
        let released = Semaphore::new(0);
        let (used, megabytes, reached) = (Mutex::new(0), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Signals { used, megabytes, reached, released }))
    }

    /// Waits until the rule was used.
    pub async fn reached(&self) {
        loop {
            let next = self.0.reached.notified();
            if self.used() > 0 {
                return;
            }
            next.await;
        }
    }

    /// How often the rule was used.
    pub fn used(&self) -> usize {
        *lock(&self.0.used)
    }

    /// How many megabytes of [`Fault::Gigabyte`] were taken, be it by the connection's buffers.
    pub fn megabytes(&self) -> usize {
        self.0.megabytes.load(Ordering::SeqCst)
    }

    /// Lets go of every request that hangs by the rule, now and later.
    pub fn release(&self) {
        self.0.released.close();
    }

    fn use_it(&self) {
        *lock(&self.0.used) += 1;
        self.0.reached.notify_waiters();
    }

    async fn released(&self) {
        let _closed = self.0.released.acquire().await;
    }
}

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

    /// What goes wrong with this request. Every rule that it matches counts it.
    pub(super) fn of(&self, method: &Method, path: &str) -> Option<(Fault, FaultHandle)> {
        let mut found = None;
        for (rule, handle, matched) in lock(&self.0).iter_mut() {
            let is_meant = rule.method.as_ref().is_none_or(|meant| meant == method);
            if !is_meant || !rule.path.matches(path) {
                continue;
            }
            *matched += 1;
            let number = *matched - 1;
            if found.is_none() && number >= rule.skip && number - rule.skip < rule.times {
                handle.use_it();
                found = Some((rule.fault.clone(), handle.clone()));
            }
        }
        found
    }
}

/// Answers a request as its fault says.
pub(super) async fn answer(
    fault: Option<(Fault, FaultHandle)>,
    request: Request<Incoming>,
    seen: Seen,
    shared: &Shared,
) -> io::Result<Response<Body>> {
    let broken = || Err(io::ErrorKind::ConnectionReset.into());
    let Some((fault, handle)) = fault else {
        return usual(request, seen, shared, Arriving::All).await;
    };
    match fault {
        Fault::Answer { status, headers, body } => {
            // What is unread would break the connection before the answer is read.
            let _unread = request.into_body().collect().await;
            let mut response = Response::new(full(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            set(response.headers_mut(), &headers);
            Ok(response)
        }
        Fault::Headers(headers) => {
            let mut response = usual(request, seen, shared, Arriving::All).await?;
            set(response.headers_mut(), &headers);
            Ok(response)
        }
        Fault::CutRequest(after) => {
            usual(request, seen, shared, Arriving::Cut(after)).await?;
            broken()
        }
        Fault::CutAnswer(after) => {
            let response = usual(request, seen, shared, Arriving::All).await?;
            let (mut head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            head.headers.insert("content-length", body.len().into());
            let piece = Ok(Frame::data(body.slice(..after.min(body.len()))));
            let end = Err(io::ErrorKind::ConnectionReset.into());
            let pieces = futures_util::stream::iter([piece, end]);
            // The first piece must be on its way before the connection breaks.
            let pieces = pieces.then(|piece| async {
                tokio::task::yield_now().await;
                piece
            });
            Ok(Response::from_parts(
                head,
                http_body_util::BodyExt::boxed(StreamBody::new(Box::pin(pieces))),
            ))
        }
        Fault::Drop => broken(),
        Fault::CommitThenDrop => {
            usual(request, seen, shared, Arriving::All).await?;
            broken()
        }
        Fault::Hang => {
            handle.released().await;
            usual(request, seen, shared, Arriving::All).await
        }
        Fault::Gigabyte(status) => {
            let piece = Bytes::from(vec![b'x'; 1 << 20]);
            let pieces = futures_util::stream::iter(0..1024);
            let pieces = pieces.map(move |_| {
                handle.0.megabytes.fetch_add(1, Ordering::SeqCst);
                Ok(Frame::data(piece.clone()))
            });
            let mut response =
                Response::new(http_body_util::BodyExt::boxed(StreamBody::new(pieces)));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok(response)
        }
    }
}

/// How much of a request's body counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arriving {
    All,
    /// The first bytes, and the rest is never read.
    Cut(usize),
}

/// Answers a request as a registry does.
async fn usual(
    request: Request<Incoming>,
    seen: Seen,
    shared: &Shared,
    arriving: Arriving,
) -> io::Result<Response<Body>> {
    let mut body = Vec::new();
    let (head, mut incoming) = request.into_parts();
    let is_cut = matches!(arriving, Arriving::Cut(_));
    let limit = match arriving {
        Arriving::All => usize::MAX,
        Arriving::Cut(limit) => limit,
    };
    while (!is_cut || body.len() < limit)
        && let Some(frame) = incoming.frame().await
    {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        body.extend_from_slice(&data[..data.len().min(limit - body.len())]);
    }
    let request = api::Asked { seen, headers: head.headers, body: body.into(), is_cut };
    if let Some(refusal) = access::answer(&request, shared) {
        return Ok(refusal);
    }
    if let Some(refusal) = vendor::refuse(&request, shared) {
        return Ok(refusal);
    }
    Ok(api::answer(&request, shared))
}

fn set(headers: &mut HeaderMap, changes: &[(&'static str, String)]) {
    for (name, value) in changes {
        if value.is_empty() {
            headers.remove(*name)
        } else {
            headers.insert(*name, HeaderValue::from_str(value).expect("a value"))
        };
    }
}
