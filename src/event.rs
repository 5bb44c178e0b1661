//! Events of a run: the only interface between the core and progress output.
//!
//! The core emits an [`Event`] through [`Events`], and a [`Listener`] in `report` shows it. Events contain facts, no
//! wording. `--progress json` prints each event as one line of JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::image::{Digest, Platform, Reference};

/// An event of a run or of one of its targets. `elapsed` is in seconds since the start of the target or run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run started with these targets.
    RunStarted {
        /// The targets in plan order.
        targets: Vec<String>,
        /// The engine, such as `Docker Engine 28.5.2 at unix:///var/run/docker.sock`.
        engine: String,
        /// The maximum number of parallel builds.
        jobs: usize,
    },
    /// The build of a target started.
    TargetStarted { target: String },
    /// The number of steps of a build is known.
    StepsKnown {
        target: String,
        /// The number of steps so far.
        total: usize,
    },
    /// A step started. A step can start and finish several times.
    StepStarted { target: String, step: Step },
    /// A step transferred bytes of a layer or another item.
    StepProgress {
        target: String,
        step: usize,
        /// The digest of a layer, or an action such as `pushing layers`.
        item: String,
        current: u64,
        /// The total number of bytes, if known.
        total: Option<u64>,
    },
    /// A step wrote a line of output.
    Log {
        target: String,
        step: usize,
        /// The line without line ending and control sequences.
        line: String,
    },
    /// A target waits for another one. Only the live table shows this; it is not serialized.
    #[serde(skip)]
    TargetWaiting { target: String, reason: WaitReason },
    /// A step finished, with or without an error.
    StepFinished {
        target: String,
        step: Step,
        /// Whether the result was cached.
        cached: bool,
        /// The total duration of all executions.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
        /// The error, if the step failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A target was built and exported.
    TargetFinished {
        target: String,
        /// The digest to which the references point, or will point.
        digest: Digest,
        /// The references, starting with the version tag.
        references: Vec<Reference>,
        cached: bool,
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The image of a target already exists and is neither built nor moved.
    TargetKept {
        target: String,
        /// The digest to which the references point, or will point.
        digest: Digest,
        /// The references, starting with the version tag.
        references: Vec<Reference>,
    },
    /// An existing image of a target passed the checks.
    TargetChecked {
        target: String,
        digest: Digest,
        /// The references, starting with the version tag.
        references: Vec<Reference>,
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// Commands in the image of a target have printed aliases, which are references of the target, too.
    AliasesPrinted {
        target: String,
        /// All references of the target, starting with the version tag.
        references: Vec<Reference>,
    },
    /// The image of a target was copied to a repository, byte for byte and without the engine.
    ImageCopied {
        target: String,
        /// The repository with its registry.
        repository: String,
        /// The number of bytes that were sent. Blobs that the registry had are not sent.
        bytes: u64,
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A tag was set to an image.
    Tagged {
        target: String,
        reference: Reference,
        digest: Digest,
        /// The previous digest of the tag.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
    },
    /// A target failed to build or export.
    TargetFailed {
        target: String,
        failure: Failure,
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A target was not started, or was stopped.
    TargetCancelled { target: String, reason: CancelReason },
    /// A problem that does not stop the run.
    Warning {
        /// The target, if the warning is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        message: String,
    },
    /// All tags of a release are set.
    Published {
        /// The number of tags that had to be set.
        tags: usize,
        /// The duration since the first request to the registry.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The run ended. Every target has finished, failed or been cancelled.
    RunFinished {
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
}

impl Event {
    /// Returns the target of the event, if it has one.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::RunStarted { .. } | Self::Published { .. } | Self::RunFinished { .. } => None,
            Self::Warning { target, .. } => target.as_deref(),
            Self::TargetStarted { target }
            | Self::StepsKnown { target, .. }
            | Self::StepStarted { target, .. }
            | Self::StepProgress { target, .. }
            | Self::Log { target, .. }
            | Self::TargetWaiting { target, .. }
            | Self::StepFinished { target, .. }
            | Self::TargetFinished { target, .. }
            | Self::TargetKept { target, .. }
            | Self::TargetChecked { target, .. }
            | Self::AliasesPrinted { target, .. }
            | Self::ImageCopied { target, .. }
            | Self::Tagged { target, .. }
            | Self::TargetFailed { target, .. }
            | Self::TargetCancelled { target, .. } => Some(target),
        }
    }

    /// Returns true if the event is the last one of its target.
    #[must_use]
    pub fn ends_target(&self) -> bool {
        matches!(
            self,
            Self::TargetFinished { .. }
                | Self::TargetChecked { .. }
                | Self::TargetFailed { .. }
                | Self::TargetCancelled { .. }
        )
    }
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The number within the target, from 1, in order of appearance.
    pub number: usize,
    /// The description, such as `[server 3/9] RUN apt-get update` or `exporting to image`.
    pub name: String,
    /// The names of the checks that the step runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
}

/// The failure of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// The error with its causes, in one line.
    pub message: String,
    /// The failed step, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The line of the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLine>,
    /// The exit code of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The failed platform, if several were built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// Creates a failure without a step.
    #[must_use]
    pub fn new(kind: FailureKind, message: String, hint: Option<String>) -> Self {
        Self { kind, message, step: None, source: None, exit_code: None, platform: None, hint }
    }
}

/// The kind of a failure, which determines the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A step of the Dockerfile.
    Build,
    /// A check of the image.
    Verify,
    /// The export to the registry, the engine or the disk.
    Export,
    /// The engine: the connection was lost, or its disk is full.
    Engine,
}

/// A line of a Dockerfile or of its template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// The path of the template, or the name of the rendered file if the template is unknown.
    pub file: String,
    /// The number of the line, from 1.
    pub line: usize,
    /// The first column that is not whitespace, from 1, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    pub text: String,
}

impl SourceLine {
    /// Returns the location, such as `dockerfiles/server.hbs:12:3`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.column {
            Some(column) => format!("{}:{}:{column}", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        }
    }
}

/// The reason why a target was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The user interrupted the run.
    Interrupted,
    /// Another target failed under `--fail-fast`.
    FailFast,
    /// The build of an image that it is based on failed.
    ParentFailed,
}

/// The reason why a running target waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// An equal step of the target `owner`, which started first. `step` is its number in the waiting target.
    SharedStep { step: usize, owner: String },
    /// The exports of the targets that upload the shared layers.
    Export,
}

pub trait Listener: Send + Sync {
    /// Handles an event. It is called from any thread, in order for each target, and should return quickly.
    fn hear(&self, event: &Event);
}

#[derive(Clone)]
pub struct Events(Arc<dyn Listener>);

impl Events {
    #[must_use]
    pub fn to(listener: Arc<dyn Listener>) -> Self {
        Self(listener)
    }

    pub fn emit(&self, event: &Event) {
        self.0.hear(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Events")
    }
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((elapsed.as_secs_f64() * 1000.0).round() / 1000.0)
}
