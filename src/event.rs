//! What happened: the only thing that the core tells the outside while it works.
//!
//! The core emits, `report` listens. An event holds facts and no wording; every
//! [`Event`] can be written as one line of JSON, and that form is what
//! `--progress json` prints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::image::{Digest, Platform, Reference};

/// Something that happened to a run, or to one target of it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins; every target that it will report on is named.
    RunStarted {
        /// The targets in plan order.
        targets: Vec<String>,
        /// What builds them, for people: `Docker Engine 28.5.2 at unix:///var/run/docker.sock`.
        engine: String,
        /// How many are built at a time.
        jobs: usize,
    },
    /// A target's build begins.
    TargetStarted {
        /// The target's id.
        target: String,
    },
    /// Steps became known: BuildKit tells all of a build's steps at once.
    StepsKnown {
        /// The target's id.
        target: String,
        /// How many steps it has so far.
        total: usize,
    },
    /// A step begins, perhaps again: a step may start and finish several times.
    StepStarted {
        /// The target's id.
        target: String,
        /// The step.
        step: Step,
    },
    /// A step moved bytes.
    StepProgress {
        /// The target's id.
        target: String,
        /// The step's number, from 1.
        step: usize,
        /// What moves: a layer's digest, or an action such as `pushing layers`.
        item: String,
        /// Bytes done.
        current: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A step wrote a line.
    Log {
        /// The target's id.
        target: String,
        /// The step's number, from 1.
        step: usize,
        /// The line without its end, control sequences removed.
        line: String,
    },
    /// A target waits for another one. Only the live table shows this; it is not serialized.
    #[serde(skip)]
    TargetWaiting {
        /// The target's id.
        target: String,
        /// What it waits for.
        reason: WaitReason,
    },
    /// A step ended.
    StepFinished {
        /// The target's id.
        target: String,
        /// The step.
        step: Step,
        /// Whether its result was there already.
        cached: bool,
        /// How long it worked, all its intervals together.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
        /// Why it failed, where it did.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The target is where it should be.
    TargetFinished {
        /// The target's id.
        target: String,
        /// The digest that its references stand for, or will where they are set later.
        digest: Digest,
        /// Its references, the version tag first.
        references: Vec<Reference>,
        /// Whether no step had to run.
        cached: bool,
        /// From start to here.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The target's image is there already: it is neither built nor moved.
    TargetKept {
        /// The target's id.
        target: String,
        /// The digest that its references stand for, or will.
        digest: Digest,
        /// Its references, the version tag first.
        references: Vec<Reference>,
    },
    /// The target's image was built before, and has passed the target's checks now.
    TargetChecked {
        /// The target's id.
        target: String,
        /// The image.
        digest: Digest,
        /// Its references, the version tag first.
        references: Vec<Reference>,
        /// From start to here.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A tag stands for an image now.
    Tagged {
        /// The target's id.
        target: String,
        /// The tag.
        reference: Reference,
        /// The image.
        digest: Digest,
        /// What the tag stood for before.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
    },
    /// The target could not be built or not be put where it should be.
    TargetFailed {
        /// The target's id.
        target: String,
        /// What went wrong.
        failure: Failure,
        /// From start to here.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The target was not tried, or was stopped half way.
    TargetCancelled {
        /// The target's id.
        target: String,
        /// Why.
        reason: CancelReason,
    },
    /// Something that does not stop the run.
    Warning {
        /// The target's id, where it concerns one.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        /// What is the matter, and what to do.
        message: String,
    },
    /// Every image of a release is there under all its names.
    Published {
        /// How many tags had to be set.
        tags: usize,
        /// From the first look at the registry to here.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The run is over; every target has finished, failed or been cancelled.
    RunFinished {
        /// From start to here.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
}

impl Event {
    /// The target that it happened to, where it happened to one.
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
            | Self::Tagged { target, .. }
            | Self::TargetFailed { target, .. }
            | Self::TargetCancelled { target, .. } => Some(target),
        }
    }

    /// Whether it is the last that happens to its target.
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

/// One step of a build, as the Dockerfile's author would know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number within its target, from 1, in the order in which steps became known.
    pub number: usize,
    /// What it does: `[server 3/9] RUN apt-get update`, `exporting to image`.
    pub name: String,
}

/// Why a target failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind of thing failed.
    pub kind: FailureKind,
    /// What was being done and why it failed, cause after cause, in one line.
    pub message: String,
    /// The step that failed, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Where in the template of the Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceLine>,
    /// The command's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The platform that failed, when several were built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that is no step's.
    #[must_use]
    pub fn new(kind: FailureKind, message: String, hint: Option<String>) -> Self {
        Self { kind, message, step: None, source: None, exit_code: None, platform: None, hint }
    }
}

/// What kind of thing failed; it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A step of the Dockerfile.
    Build,
    /// A check: the image is not what it should be.
    Verify,
    /// Handing the image on: to the registry, to the engine or to disk.
    Export,
    /// The engine itself: lost, or out of disk.
    Engine,
}

/// A line of a Dockerfile, in the template that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// The template's path, or the name of the rendered file where the template is unknown.
    pub file: String,
    /// Its number, from 1.
    pub line: usize,
    /// Its first column that is not blank, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Its text as it was rendered.
    pub text: String,
}

impl SourceLine {
    /// The place as compilers write it: `dockerfiles/server.hbs:12:3`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.column {
            Some(column) => format!("{}:{}:{column}", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        }
    }
}

/// Why a target was not tried, or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The user interrupted the run.
    Interrupted,
    /// Another target failed under `--fail-fast`.
    FailFast,
}

/// What a running target waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// A step that is the same in another target and was started there first.
    SharedStep {
        /// The step's number in the waiting target.
        step: usize,
        /// The id of the target that started the step.
        owner: String,
    },
    /// The exports of the targets that upload the shared layers.
    Export,
}

/// Someone who wants to know what happens.
pub trait Listener: Send + Sync {
    /// Takes note of one event. Called from any thread, in the order in which things
    /// happen to one target; it should return soon.
    fn hear(&self, event: &Event);
}

/// Where the core says what happens.
#[derive(Clone)]
pub struct Events(Arc<dyn Listener>);

impl Events {
    /// Events go to `listener`.
    #[must_use]
    pub fn to(listener: Arc<dyn Listener>) -> Self {
        Self(listener)
    }

    /// Says what happened.
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
