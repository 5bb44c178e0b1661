//! `BuildKit`'s errors as [`Failure`]s.

use bollard_buildkit_proto::google::rpc;
use prost::Message;
use serde_json::Value;
use tonic::{Code, Status};

use super::export::Abilities;
use super::gateway::knows_no_build;
use super::progress::Progress;
use super::text::one_line_name;
use crate::engine::BuildJob;
use crate::event::{Failure, FailureKind, SourceLine, Step};
use crate::image::Platform;
use crate::render::TemplateLine;
use crate::verify;

/// How every system says that a disk is full.
const DISK_FULL: &str = "no space left on device";

/// How failures begin where the engine has no space left.
const FULL: &str = "a disk of the engine is full";

/// How failures begin where the engine misses something of its own.
const LOST: &str = "the engine lost a part of";

/// What the details of a gRPC error say about a build.
#[derive(Debug, Default, PartialEq, Eq)]
struct Details {
    /// The digest of the vertex that failed.
    vertex: Option<String>,
    /// The line of the Dockerfile, from 1.
    line: Option<usize>,
    exit_code: Option<i32>,
}

/// Why `job` failed, from what the engine answered and what it had told before.
///
/// `native` are the platforms whose programs the engine can run, and `able` is what else it can.
pub(super) fn failure(
    status: &Status,
    job: &BuildJob,
    progress: &Progress,
    native: &[Platform],
    able: Abilities,
) -> Failure {
    let mut details = Details::decode(status.details());
    let step = details
        .vertex
        .as_deref()
        .and_then(|digest| progress.step_of(digest))
        .or_else(|| progress.failed_step())
        .cloned();
    let mut message = one_line_name(status.message());
    if let Some((line, rest)) = parse_error(&message) {
        message = rest;
        details.line.get_or_insert(line);
    }
    let kind = kind(status, &message, step.as_ref(), &details);
    if is_disk_full(&message, &details) {
        message = format!("{FULL}: {message}");
    } else if is_gone(&message) {
        message = gone(&message, step.as_ref(), job);
    } else if kind == FailureKind::Engine && !is_overload(&message) {
        message = format!("lost the connection to the engine: {message}");
    }
    let platform = step.as_ref().and_then(|step| platform(&step.name, &job.platforms));
    let is_step_full = step.as_ref().is_some_and(|step| progress.ran_out_of_space(step));
    let hint = hint(&message, kind, details.exit_code, job, able).or_else(|| {
        // A command of the step reported it: the full disk is the engine's or that of a mount.
        is_step_full.then(|| {
            let hint = disk_full_hint("", able);
            format!("a command of the step found a full disk: {hint}")
        })
    });
    let hint = hint.or_else(|| {
        details.exit_code?;
        emulation_hint(platform.as_ref().or_else(|| only(&job.platforms))?, native)
    });
    let check = step.as_ref().and_then(|step| verify::check_of(&step.name, &job.checks));
    let kind = match (kind, check) {
        (FailureKind::Build, Some(check)) => {
            message = format!("the image fails the check `{}`: {message}", check.name);
            FailureKind::Verify
        }
        _ => kind,
    };
    let source = details.line.filter(|_| kind == FailureKind::Build);
    Failure {
        kind,
        message,
        step,
        source: source.and_then(|line| source_line(job, line)),
        exit_code: details.exit_code,
        platform,
        hint,
    }
}

/// The platform that a step works for: where there are several, the Dockerfile frontend puts it
/// before the step's number, as in `[linux/arm64 server 3/9] RUN …`.
fn platform(step: &str, platforms: &[Platform]) -> Option<Platform> {
    let word = step.strip_prefix('[')?.split([' ', ']']).next()?;
    word.parse().ok().filter(|platform| platforms.len() > 1 && platforms.contains(platform))
}

fn only(platforms: &[Platform]) -> Option<&Platform> {
    match platforms {
        [platform] => Some(platform),
        _ => None,
    }
}

/// What to do when a program of `platform` has failed on an engine that runs those of `native`.
fn emulation_hint(platform: &Platform, native: &[Platform]) -> Option<String> {
    (!native.contains(platform)).then(|| {
        format!(
            "the engine cannot run programs of `{platform}`: install emulation on its machine \
             (`docker run --privileged --rm tonistiigi/binfmt --install all`), \
             or leave the platform out with `--platform`"
        )
    })
}

/// The failure of an image that was built and did not get to where it should.
pub(super) fn not_handed_on(job: &BuildJob, problem: &str, able: Abilities) -> Failure {
    let kind = FailureKind::Export;
    let message = format!("failed to hand on `{}`: {problem}", job.target);
    let hint = hint(&message, kind, None, job, able);
    Failure::new(kind, message, hint)
}

fn source_line(job: &BuildJob, line: usize) -> Option<SourceLine> {
    let text = job.context.dockerfile.lines().nth(line.checked_sub(1)?)?.to_owned();
    Some(match job.context.template_line(line) {
        Some(TemplateLine { file, line, column }) => {
            SourceLine { file: file.to_string(), line: *line, column: Some(*column), text }
        }
        None => SourceLine { file: job.context.dockerfile_name.clone(), line, column: None, text },
    })
}

/// The line that the Dockerfile's parser names in `message`, and the message without it: it counts
/// the lines of the rendered Dockerfile.
fn parse_error(message: &str) -> Option<(usize, String)> {
    const PARSE_ERROR: &str = "dockerfile parse error";
    let (before, after) = message.split_once(&format!("{PARSE_ERROR} on line "))?;
    let (number, rest) = after.split_once(':')?;
    Some((number.parse().ok()?, format!("{before}{PARSE_ERROR}:{rest}")))
}

fn kind(status: &Status, message: &str, step: Option<&Step>, details: &Details) -> FailureKind {
    let is_full = is_disk_full(message, details);
    let is_lost = details.vertex.is_none()
        && step.is_none()
        && (matches!(status.code(), Code::Unavailable | Code::Cancelled)
            || std::error::Error::source(status).is_some());
    if is_full || is_lost || is_overload(message) || is_gone(message) {
        FailureKind::Engine
    } else if step.is_some_and(exports)
        || message.starts_with("failed to push ")
        || lacks_exporter(message)
        || is_layout_full(message)
    {
        FailureKind::Export
    } else {
        FailureKind::Build
    }
}

/// Whether a disk of the engine is full. A command that failed may have these words in its name.
fn is_disk_full(message: &str, details: &Details) -> bool {
    details.exit_code.is_none() && message.contains(DISK_FULL)
}

/// Returns the hint for a full disk. The message names the file before the problem, as in
/// `write /var/lib/docker/tmp/a: no space left on device`.
fn disk_full_hint(message: &str, able: Abilities) -> String {
    let before = message.split(DISK_FULL).next().unwrap_or_default().trim_end_matches([':', ' ']);
    let path = before.rsplit(' ').next().filter(|word| word.starts_with('/'));
    let place = path.map(|path| format!(", on the disk that holds `{path}`")).unwrap_or_default();
    let prune = match able.is_docker {
        true => {
            "`docker builder prune` frees Docker's build cache, and `docker system df` lists the rest"
        }
        false => "`buildctl prune` frees buildkitd's cache, and `buildctl du` lists it",
    };
    format!("free some space on the engine's machine{place}: {prune}")
}

/// Whether our own disk is full, which an OCI layout is written to.
fn is_layout_full(message: &str) -> bool {
    message.contains(super::layout::WRITING) && message.contains("No space left on device")
}

/// Whether what builds cannot export, as the `BuildKit` within a Docker Engine whose images are in
/// a graph driver's store.
fn lacks_exporter(message: &str) -> bool {
    message.starts_with("exporter ") && message.ends_with(" could not be found")
}

/// Whether the engine lost a part of its own store, and says no more than that. What an upstream
/// registry or the context does not have is told by its name.
fn is_gone(message: &str) -> bool {
    let is_nameless = message.rsplit(": ").all(|part| match part.split_once(' ') {
        Some(("not", "found")) => true,
        Some(("content", digest)) => digest.starts_with("digest sha256:"),
        _ => part.starts_with("sha256:"),
    });
    is_nameless && message.ends_with("not found")
}

/// The same with what the engine was asked for.
fn gone(message: &str, step: Option<&Step>, job: &BuildJob) -> String {
    match step {
        Some(step) if exports(step) => {
            format!("{LOST} `{}` that it was to hand on: {message}", job.target)
        }
        Some(step) => format!("{LOST} what `{}` needs: {message}", step.name),
        None => format!("{LOST} what `{}` needs: {message}", job.target),
    }
}

fn exports(step: &Step) -> bool {
    step.name.starts_with("exporting ")
}

/// Whether the engine gave a build up for lack of time, or forgot it.
fn is_overload(message: &str) -> bool {
    message == "context deadline exceeded" || knows_no_build(message)
}

fn hint(
    message: &str,
    kind: FailureKind,
    exit_code: Option<i32>,
    job: &BuildJob,
    able: Abilities,
) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if message.starts_with(FULL) {
        return Some(disk_full_hint(message, able));
    }
    if is_layout_full(message) {
        return Some(
            "the disk of the OCI layout is full: free some space, and run again".to_owned(),
        );
    }
    if exit_code == Some(137) {
        return Some(
            "the command was killed, most often for lack of memory: give the engine more, \
             or build fewer variants at a time with `--jobs`"
                .to_owned(),
        );
    }
    if is_overload(message) {
        return Some(
            "the engine did not keep up: build fewer variants at a time with `--jobs`".to_owned(),
        );
    }
    if message.starts_with(LOST) {
        return Some(
            "its build cache was pruned meanwhile: run again, which builds what is missing"
                .to_owned(),
        );
    }
    if says(&["HTTP response to HTTPS client"]) {
        return plain_http_hint(message, job, able);
    }
    match kind {
        FailureKind::Engine => Some(
            "see whether the engine still runs, and run again: what was built is still there"
                .to_owned(),
        ),
        FailureKind::Export => export_hint(&says, job),
        FailureKind::Build | FailureKind::Verify => None,
    }
}

fn export_hint(says: &dyn Fn(&[&str]) -> bool, job: &BuildJob) -> Option<String> {
    let repository = job.references.first().map(|first| &first.repository)?;
    if says(&["could not be found"]) {
        return Some(
            "this is the BuildKit of a Docker Engine without containerd's image store: \
             name that engine with DOCKER_HOST, without `--builder`"
                .to_owned(),
        );
    }
    says(&["denied", "unauthorized", "authorization failed", "401", "403"]).then(|| {
        format!(
            "`docker login {}` with an account that may push to `{repository}`",
            repository.registry()
        )
    })
}

/// What to do when a registry without TLS was pulled from, or pushed to, with TLS.
fn plain_http_hint(message: &str, job: &BuildJob, able: Abilities) -> Option<String> {
    // Go tells the URL before the problem: `Head "https://10.0.0.1:5000/v2/…": http: server …`.
    let url = message.split_once("\"https://").map(|(_, url)| url);
    let told = url.and_then(|url| url.split(['/', '"']).next());
    let pushed = || job.references.first().map(|first| first.repository.registry());
    let registry = told.or_else(pushed)?;
    Some(match able.is_docker {
        true => format!(
            "`{registry}` speaks plain HTTP: add it to `insecure-registries` in Docker's daemon.json"
        ),
        false => format!(
            "`{registry}` speaks plain HTTP: tell buildkitd so, with `http = true` under \
             `[registry.\"{registry}\"]` in its buildkitd.toml"
        ),
    })
}

impl Details {
    /// Reads the details that `BuildKit` adds to an error: a `google.rpc.Status` whose
    /// details are the JSON of Go values, each under the name of its type.
    fn decode(bytes: &[u8]) -> Self {
        let mut details = Self::default();
        // Engines differ in what they add; what cannot be read is left out.
        for any in rpc::Status::decode(bytes).unwrap_or_default().details {
            if let Ok(value) = serde_json::from_slice(&any.value) {
                details.read(&any.type_url, &value);
            }
        }
        details
    }

    fn read(&mut self, type_url: &str, value: &Value) {
        let name = type_url.rsplit(['/', '.']).next().unwrap_or_default();
        match name.trim_end_matches("+json") {
            "Vertex" => self.vertex = value["digest"].as_str().map(str::to_owned),
            "Source" => self.line = self.line.or_else(|| first_line(value)),
            "ExitMessage" | "ExitError" => {
                let code = value["Code"].as_i64().or_else(|| value["code"].as_i64());
                self.exit_code = code.and_then(|code| i32::try_from(code).ok());
            }
            _ => {}
        }
    }
}

fn first_line(source: &Value) -> Option<usize> {
    let line = source["ranges"][0]["start"]["line"].as_u64()?;
    usize::try_from(line).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use bollard_buildkit_proto::google::protobuf::Any;
    use serde_json::json;

    use super::*;
    use crate::engine::buildkit::past::Past;
    use crate::event::{Event, Events, Listener};
    use crate::image::Compression;
    use crate::render::BuildContext;

    fn encoded(details: &[(&str, Value)]) -> Vec<u8> {
        let details = details.iter().map(|(name, value)| Any {
            type_url: format!("github.com/moby/buildkit/{name}"),
            value: value.to_string().into_bytes(),
        });
        let status = rpc::Status { details: details.collect(), ..rpc::Status::default() };
        status.encode_to_vec()
    }

    #[test]
    fn the_details_of_a_failed_step_are_read() {
        let range = json!({"start": {"line": 4}, "end": {"line": 5}});
        let bytes = encoded(&[
            ("stack.Stack+json", json!({"frames": []})),
            ("errdefs.Source+json", json!({"info": {}, "ranges": [range]})),
            ("errdefs.Vertex+json", json!({"digest": "sha256:1"})),
            ("gatewayapi.ExitMessage+json", json!({"Code": 7})),
        ]);
        let expected =
            Details { vertex: Some("sha256:1".to_owned()), line: Some(4), exit_code: Some(7) };
        assert_eq!(Details::decode(&bytes), expected);
    }

    #[test]
    fn the_platform_of_a_step_is_told_where_there_are_several() {
        let both = ["linux/amd64", "linux/arm64"].map(|text| text.parse().expect(text));
        assert_eq!(platform("[linux/arm64 server 3/9] RUN x", &both), Some(both[1].clone()));
        assert_eq!(platform("[linux/amd64->arm64 cuda 1/2] RUN x", &both), None);
        assert_eq!(platform("[server 3/9] RUN x", &both), None);
        assert_eq!(platform("[linux/arm64 3/9] RUN x", &both[1..]), None);
    }

    fn job() -> BuildJob {
        BuildJob {
            target: "server".to_owned(),
            context: BuildContext::default(),
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            references: vec!["acme/a:1".parse().expect("a reference")],
            compression: Compression::default(),
            after: Vec::new(),
            checks: Vec::new(),
            existing: None,
            staging: "staged".parse().expect("a tag"),
        }
    }

    const DOCKER: Abilities = Abilities { graph_driver: false, is_docker: true };

    struct Deaf;

    impl Listener for Deaf {
        fn hear(&self, _event: &Event) {}
    }

    fn failed(message: &str) -> Failure {
        let events = Events::to(Arc::new(Deaf));
        let status = Status::new(Code::NotFound, message);
        failure(
            &status,
            &job(),
            &Progress::new("server", &events, Past::default().now()),
            &[],
            DOCKER,
        )
    }

    #[test]
    fn a_part_that_the_engine_lost_is_told_with_what_needed_it() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for message in ["not found", &format!("content digest {digest}: not found")] {
            let failure = failed(message);
            assert_eq!(failure.kind, FailureKind::Engine);
            let told = format!("the engine lost a part of what `server` needs: {message}");
            assert_eq!(failure.message, told);
            assert!(failure.hint.is_some_and(|hint| hint.contains("run again")));
        }
        let step = |name: &str| Step { number: 1, name: name.to_owned() };
        for (name, told) in [
            ("exporting to image", "the engine lost a part of `server` that it was to hand on: x"),
            ("[2/3] RUN make", "the engine lost a part of what `[2/3] RUN make` needs: x"),
        ] {
            assert_eq!(gone("x", Some(&step(name)), &job()), told);
        }
    }

    #[test]
    fn what_others_do_not_have_is_not_lost_by_the_engine() {
        for message in [
            "python:no-such-tag: failed to resolve source metadata for docker.io/python: not found",
            "failed to calculate checksum of ref x::y: \"/gone\": not found",
            "process \"/bin/sh -c true\" did not complete: not found",
        ] {
            let failure = failed(message);
            assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Build, message));
        }
    }

    /// As `BuildKit` 0.13, containerd and runc say it.
    #[test]
    fn a_full_disk_of_the_engine_is_named_with_its_path() {
        let told = [
            "failed to copy: failed to send write: write /var/lib/docker/containerd/daemon/io.containerd.content.v1.content/ingest/1/data: no space left on device: unknown",
            "failed to prepare sha256:1 as 2: failed to create temp dir: mkdir /var/lib/buildkit/runc-overlayfs/snapshots/new-1: no space left on device",
            "failed to solve: database or disk: no space left on device",
        ]
        .map(|message| {
            let failure = failed(message);
            assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
            format!("{}\nhint: {}\n", failure.message, failure.hint.expect("a hint"))
        });
        insta::assert_snapshot!(told.join("\n"));
        let buildkitd = Abilities { is_docker: false, ..DOCKER };
        assert!(disk_full_hint("", buildkitd).contains("`buildctl prune`"));
    }

    #[test]
    fn a_command_that_found_a_full_disk_is_a_failed_step_with_a_hint() {
        use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};
        let events = Events::to(Arc::new(Deaf));
        let mut progress = Progress::new("server", &events, Past::default().now());
        let name = "[2/2] RUN echo no space left on device && dd of=/a".to_owned();
        progress.update(&StatusResponse {
            vertexes: vec![Vertex {
                digest: "sha256:1".to_owned(),
                name,
                error: "exit code: 1".to_owned(),
                ..Vertex::default()
            }],
            logs: vec![VertexLog {
                vertex: "sha256:1".to_owned(),
                msg: b"dd: error writing '/a': No space left on device\n".to_vec(),
                ..VertexLog::default()
            }],
            ..StatusResponse::default()
        });
        let details = encoded(&[
            ("errdefs.Vertex+json", json!({"digest": "sha256:1"})),
            ("gatewayapi.ExitMessage+json", json!({"Code": 1})),
        ]);
        let message = "process \"/bin/sh -c echo no space left on device && dd of=/a\" did not \
                       complete successfully: exit code: 1";
        let status = Status::with_details(Code::Unknown, message, details.into());
        let failure = failure(&status, &job(), &progress, &[], DOCKER);
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        let hint = failure.hint.expect("a hint");
        assert!(hint.starts_with("a command of the step found a full disk"), "{hint}");
    }

    #[test]
    fn lines_of_the_dockerfile_are_told_as_lines_of_templates() {
        let mut job = job();
        job.context.dockerfile = "FROM a\nRUN --foo x\n".to_owned();
        job.context.dockerfile_name = "server.Dockerfile".to_owned();
        let message = "dockerfile parse error on line 2: unknown flag: foo";
        let events = Events::to(Arc::new(Deaf));
        let progress = Progress::new("server", &events, Past::default().now());
        let told = |job: &BuildJob| {
            let status = Status::new(Code::Unknown, message);
            let failure = failure(&status, job, &progress, &[], DOCKER);
            assert_eq!(failure.message, "dockerfile parse error: unknown flag: foo");
            failure.source.expect("a place").place()
        };
        assert_eq!(told(&job), "server.Dockerfile:2");
        let line = |line, column| TemplateLine { file: "dockerfiles/a.hbs".into(), line, column };
        job.context.lines = [line(1, 1), line(7, 3)].into();
        assert_eq!(told(&job), "dockerfiles/a.hbs:7:3");
    }

    #[test]
    fn a_registry_without_tls_is_named_with_the_setting_that_the_engine_has() {
        let buildkitd = Abilities { is_docker: false, ..DOCKER };
        let pull = "base:1: failed to resolve source metadata for 10.0.0.1:5000/base:1: failed to \
                    do request: Head \"https://10.0.0.1:5000/v2/base/manifests/1\": http: server \
                    gave HTTP response to HTTPS client";
        let hints = [DOCKER, buildkitd]
            .map(|able| hint(pull, FailureKind::Build, None, &job(), able).expect("a hint"));
        insta::assert_snapshot!(hints.join("\n"));
    }

    #[test]
    fn emulation_is_named_where_the_engine_has_none() {
        let [amd64, arm64] = ["linux/amd64", "linux/arm64"].map(|text| text.parse().expect(text));
        let hint = emulation_hint(&arm64, std::slice::from_ref(&amd64)).expect("a hint");
        assert!(hint.contains("`linux/arm64`") && hint.contains("binfmt"), "{hint}");
        assert_eq!(emulation_hint(&amd64, std::slice::from_ref(&amd64)), None);
    }

    #[test]
    fn details_that_are_strange_are_left_out() {
        for bytes in [
            vec![0xff; 9],
            encoded(&[("errdefs.Source+json", json!([]))]),
            encoded(&[("errdefs.Source+json", json!({"ranges": [{"start": {"line": -1}}]}))]),
        ] {
            assert_eq!(Details::decode(&bytes), Details::default());
        }
    }
}
