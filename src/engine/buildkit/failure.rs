//! Converts `BuildKit`'s errors to [`Failure`]s.
//!
//! [`build_failure`] is the entry point. It determines the [`Fault`] from the engine's message and its
//! details, and from that the kind, the message and the hint.

mod details;
mod hints;

use tonic::{Code, Status};

use self::details::Details;
use super::export::Abilities;
use super::gateway::is_unknown_build;
use super::layout;
use super::progress::Progress;
use super::text::one_line_name;
use crate::engine::BuildJob;
use crate::event::{Failure, FailureKind, SourceLine, Step};
use crate::image::Platform;
use crate::render::TemplateLine;
use crate::verify::FailedCheck;

/// The message of every system about a full disk.
const DISK_FULL: &str = "no space left on device";

/// The cause of a failure, as far as the engine's message shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A disk of the engine is full.
    DiskFull,
    /// The disk of the OCI layout is full.
    LayoutFull,
    /// The engine's store lost data that the build needs.
    LostData,
    /// The engine timed out or forgot the build.
    Overload,
    /// The connection to the engine broke.
    Connection,
    Export,
    Step,
}

impl Fault {
    fn classify(status: &Status, message: &str, step: Option<&Step>, details: &Details) -> Self {
        let is_about_build = details.vertex.is_none() && step.is_none();
        // The name of a failed command may contain the message about a full disk.
        if details.exit_code.is_none() && message.contains(DISK_FULL) {
            Self::DiskFull
        } else if is_data_lost(message) {
            Self::LostData
        } else if message == "context deadline exceeded" || is_unknown_build(message) {
            Self::Overload
        } else if is_layout_full(message) {
            Self::LayoutFull
        } else if is_about_build
            && (matches!(status.code(), Code::Unavailable | Code::Cancelled)
                || std::error::Error::source(status).is_some())
        {
            Self::Connection
        } else if step.is_some_and(is_export)
            || message.starts_with("failed to push ")
            || is_exporter_missing(message)
        {
            Self::Export
        } else {
            Self::Step
        }
    }

    fn kind(self) -> FailureKind {
        match self {
            Self::DiskFull | Self::LostData | Self::Overload | Self::Connection => {
                FailureKind::Engine
            }
            Self::LayoutFull | Self::Export => FailureKind::Export,
            Self::Step => FailureKind::Build,
        }
    }

    /// Adds the fault to the engine's message, if the message alone is unclear.
    fn explain(self, message: String, step: Option<&Step>, job: &BuildJob) -> String {
        match self {
            Self::DiskFull => format!("a disk of the engine is full: {message}"),
            Self::LostData => {
                let user =
                    step.filter(|step| !is_export(step)).map_or(&job.target, |step| &step.name);
                format!("the engine lost data that `{user}` needs: {message}")
            }
            Self::Connection => format!("lost the connection to the engine: {message}"),
            Self::LayoutFull | Self::Overload | Self::Export | Self::Step => message,
        }
    }
}

/// Returns the failure of `job`, from the engine's error and the progress of the build.
///
/// `native` are the platforms whose programs the engine can run.
pub(super) fn build_failure(
    status: &Status,
    job: &BuildJob,
    progress: &Progress,
    native: &[Platform],
    able: Abilities,
) -> Failure {
    let mut details = Details::decode(status.details());
    let failed_vertex = details.vertex.as_deref().and_then(|digest| progress.step_of(digest));
    let step = failed_vertex.or_else(|| progress.failed_step());
    let mut message = one_line_name(status.message());
    if let Some((line, rest)) = parse_error(&message) {
        message = rest;
        details.line.get_or_insert(line);
    }
    let fault = Fault::classify(status, &message, step, &details);
    let platform = step.and_then(|step| platform(&step.name, &job.platforms));
    let hint = hints::hint(fault, &message, details.exit_code, job, able)
        .or_else(|| {
            step.filter(|step| progress.ran_out_of_space(step))
                .map(|_| hints::full_disk_in_step(able))
        })
        .or_else(|| {
            details.exit_code?;
            hints::emulation(platform.as_ref().or_else(|| only(&job.platforms))?, native)
        });
    let mut message = fault.explain(message, step, job);
    let mut kind = fault.kind();
    let checks = step.filter(|step| kind == FailureKind::Build && !step.checks.is_empty());
    if let Some(step) = checks {
        let failed = progress.failed_checks(step);
        if let [failed] = failed {
            details.exit_code = Some(failed.exit_code);
        }
        message = failed_checks(step, failed, &message);
        kind = FailureKind::Verify;
    }
    let line = details.line.filter(|_| kind == FailureKind::Build);
    Failure {
        kind,
        message,
        step: step.cloned(),
        source: line.and_then(|line| source_line(job, platform.as_ref(), line)),
        exit_code: details.exit_code,
        platform,
        hint,
    }
}

/// Describes the `failed` checks of a step that runs several or one.
fn failed_checks(step: &Step, failed: &[FailedCheck], message: &str) -> String {
    let name = |failed: &FailedCheck| format!("`{}`", step.checks[failed.index]);
    match (&step.checks[..], failed) {
        ([check], _) => format!("the image fails the check `{check}`: {message}"),
        (_, []) => {
            // The message contains the script of all checks.
            let end = message.rsplit_once("\" did not complete").map(|(_, end)| end);
            let problem = end.map_or_else(
                || message.to_owned(),
                |end| format!("their script did not complete{end}"),
            );
            format!("the checks of the image cannot run: {problem}")
        }
        (_, [failed]) => {
            format!("the image fails the check {}: exit code {}", name(failed), failed.exit_code)
        }
        _ => {
            let names: Vec<String> = failed.iter().map(name).collect();
            format!("the image fails {} checks: {}", failed.len(), names.join(", "))
        }
    }
}

/// Returns the failure of an image that was built but not exported.
pub(super) fn export_failure(job: &BuildJob, problem: &str, able: Abilities) -> Failure {
    let message = format!("failed to export `{}`: {problem}", job.target);
    let fault = if is_layout_full(&message) { Fault::LayoutFull } else { Fault::Export };
    let hint = hints::hint(fault, &message, None, job, able);
    Failure::new(FailureKind::Export, message, hint)
}

/// Returns the platform of a step. For several platforms, the Dockerfile frontend puts it before the
/// stage: `[linux/arm64 server 3/9] RUN …`.
fn platform(step: &str, platforms: &[Platform]) -> Option<Platform> {
    let word = step.strip_prefix('[')?.split([' ', ']']).next()?;
    word.parse().ok().filter(|platform| platforms.len() > 1 && platforms.contains(platform))
}

fn only(platforms: &[Platform]) -> Option<&Platform> {
    if let [platform] = platforms { Some(platform) } else { None }
}

fn source_line(job: &BuildJob, platform: Option<&Platform>, line: usize) -> Option<SourceLine> {
    let context = platform.map_or(&job.context, |platform| job.context.on(platform));
    let text = context.dockerfile.lines().nth(line.checked_sub(1)?)?.to_owned();
    Some(match context.template_line(line) {
        Some(TemplateLine { file, line, column }) => {
            SourceLine { file: file.to_string(), line: *line, column: Some(*column), text }
        }
        None => SourceLine { file: context.dockerfile_name.clone(), line, column: None, text },
    })
}

/// Splits the message of the Dockerfile parser into the line of the rendered Dockerfile and the rest.
fn parse_error(message: &str) -> Option<(usize, String)> {
    const PARSE_ERROR: &str = "dockerfile parse error";
    let (before, after) = message.split_once(&format!("{PARSE_ERROR} on line "))?;
    let (number, rest) = after.split_once(':')?;
    Some((number.parse().ok()?, format!("{before}{PARSE_ERROR}:{rest}")))
}

fn is_layout_full(message: &str) -> bool {
    message.contains(layout::WRITE_ERROR) && message.contains("No space left on device")
}

/// Returns true if the engine lacks an exporter, such as the `BuildKit` within a Docker Engine with a
/// graph driver.
fn is_exporter_missing(message: &str) -> bool {
    message.starts_with("exporter ") && message.ends_with(" could not be found")
}

/// Returns true if the engine's own store lost data. Such messages contain only digests. If an
/// upstream registry or the context lacks something, the message contains a name.
fn is_data_lost(message: &str) -> bool {
    let is_nameless = message.rsplit(": ").all(|part| match part.split_once(' ') {
        Some(("not", "found")) => true,
        Some(("content", digest)) => digest.starts_with("digest sha256:"),
        _ => part.starts_with("sha256:"),
    });
    is_nameless && message.ends_with("not found")
}

fn is_export(step: &Step) -> bool {
    step.name.starts_with("exporting ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::details::tests::encoded;
    use super::*;
    use crate::engine::buildkit::reported::ReportedSteps;
    use crate::event::{Event, Events, Listener};

    #[test]
    fn steps_of_several_platforms_name_their_platform() {
        let both = ["linux/amd64", "linux/arm64"].map(|text| text.parse().expect(text));
        assert_eq!(platform("[linux/arm64 server 3/9] RUN x", &both), Some(both[1].clone()));
        assert_eq!(platform("[linux/amd64->arm64 cuda 1/2] RUN x", &both), None);
        assert_eq!(platform("[server 3/9] RUN x", &both), None);
        assert_eq!(platform("[linux/arm64 3/9] RUN x", &both[1..]), None);
    }

    pub(super) fn job() -> BuildJob {
        let references = vec!["acme/a:1".parse().expect("a reference")];
        BuildJob { target: "server".to_owned(), references, ..BuildJob::of_dockerfile("") }
    }

    pub(super) const DOCKER: Abilities = Abilities { graph_driver: false, is_docker: true };

    struct Ignore;

    impl Listener for Ignore {
        fn hear(&self, _event: &Event) {}
    }

    fn failure_for(message: &str) -> Failure {
        let events = Events::to(Arc::new(Ignore));
        let status = Status::new(Code::NotFound, message);
        build_failure(
            &status,
            &job(),
            &Progress::new("server", &events, ReportedSteps::default()),
            &[],
            DOCKER,
        )
    }

    #[test]
    fn data_lost_by_the_engine_is_reported_with_its_target_or_step() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for message in ["not found", &format!("content digest {digest}: not found")] {
            let failure = failure_for(message);
            assert_eq!(failure.kind, FailureKind::Engine);
            let expected = format!("the engine lost data that `server` needs: {message}");
            assert_eq!(failure.message, expected);
            assert!(failure.hint.is_some_and(|hint| hint.contains("run again")));
        }
        let step = |name: &str| Step { number: 1, name: name.to_owned(), checks: Vec::new() };
        for (name, expected) in [
            ("exporting to image", "the engine lost data that `server` needs: x"),
            ("[2/3] RUN make", "the engine lost data that `[2/3] RUN make` needs: x"),
        ] {
            let message = Fault::LostData.explain("x".to_owned(), Some(&step(name)), &job());
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn missing_upstream_content_is_not_lost_data() {
        for message in [
            "python:no-such-tag: failed to resolve source metadata for docker.io/python: not found",
            "failed to calculate checksum of ref x::y: \"/gone\": not found",
            "process \"/bin/sh -c true\" did not complete: not found",
        ] {
            let failure = failure_for(message);
            assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Build, message));
        }
    }

    /// The messages of `BuildKit` 0.13, containerd and runc.
    #[test]
    fn a_full_disk_is_reported_with_its_path() {
        let messages = [
            "failed to copy: failed to send write: write /var/lib/docker/containerd/daemon/io.containerd.content.v1.content/ingest/1/data: no space left on device: unknown",
            "failed to prepare sha256:1 as 2: failed to create temp dir: mkdir /var/lib/buildkit/runc-overlayfs/snapshots/new-1: no space left on device",
            "failed to solve: database or disk: no space left on device",
        ]
        .map(|message| {
            let failure = failure_for(message);
            assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
            format!("{}\nhint: {}\n", failure.message, failure.hint.expect("a hint"))
        });
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn a_command_that_found_a_full_disk_is_a_failed_step_with_a_hint() {
        use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};
        let events = Events::to(Arc::new(Ignore));
        let mut progress = Progress::new("server", &events, ReportedSteps::default());
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
        let failure = build_failure(&status, &job(), &progress, &[], DOCKER);
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        let hint = failure.hint.expect("a hint");
        assert!(hint.starts_with("a command of the step found a full disk"), "{hint}");
    }

    #[test]
    fn dockerfile_lines_are_mapped_to_template_lines() {
        let mut job = job();
        job.context.dockerfile = "FROM a\nRUN --foo x\n".to_owned();
        job.context.dockerfile_name = "server.Dockerfile".to_owned();
        let message = "dockerfile parse error on line 2: unknown flag: foo";
        let events = Events::to(Arc::new(Ignore));
        let progress = Progress::new("server", &events, ReportedSteps::default());
        let place = |job: &BuildJob| {
            let status = Status::new(Code::Unknown, message);
            let failure = build_failure(&status, job, &progress, &[], DOCKER);
            assert_eq!(failure.message, "dockerfile parse error: unknown flag: foo");
            failure.source.expect("a place").place()
        };
        assert_eq!(place(&job), "server.Dockerfile:2");
        let line = |line, column| TemplateLine { file: "dockerfiles/a.hbs".into(), line, column };
        job.context.lines = [line(1, 1), line(7, 3)].into();
        assert_eq!(place(&job), "dockerfiles/a.hbs:7:3");
    }
}
