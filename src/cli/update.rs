//! `basegen update`: pins what the matrix builds on to what registries have now.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::files::{self, Access};
use crate::image::Reference;
use crate::matrix::{Matrix, nearest};
use crate::plan::{Lock, Move};
use crate::registry::Registries;
use crate::render::{Pins, Renderer, familiar};
use crate::report::Verbosity;

use super::Session;
use super::args::UpdateArgs;
use crate::ops::{ArgumentError, registries};

/// How many differences or images are told one by one.
const MAX_TOLD: usize = 50;

/// Why the lock is not what it should be.
#[derive(Debug, thiserror::Error)]
enum UpdateError {
    /// Registries do not have what the matrix builds on.
    #[error("registries do not have what the matrix builds on:{}", list(.0))]
    Missing(Vec<String>),
    /// Registries have moved on, or the matrix has.
    #[error("`{}` is not what the matrix builds on now:{}", Lock::NAME, list(&lines(.0)))]
    Drift(Vec<Move>),
}

impl Explain for UpdateError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Missing(_) => ExitCode::Registry,
            Self::Drift(_) => ExitCode::Drift,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(_) => "the templates name them in `FROM`, `COPY --from` or a mount; \
                                 a private one needs credentials"
                .to_owned(),
            Self::Drift(_) => "`basegen update` writes it anew".to_owned(),
        })
    }
}

fn list(items: &[String]) -> String {
    let shown = items.iter().take(MAX_TOLD).map(|item| format!("\n  {item}"));
    let more = items.len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("\n  and {more} more"));
    shown.chain(more).collect()
}

/// What moved, a line each, the names aligned.
fn lines(moves: &[Move]) -> Vec<String> {
    let names: Vec<String> = moves.iter().map(|pin| told(&pin.reference)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    names.iter().zip(moves).map(|(name, pin)| format!("{name:width$}  {pin}")).collect()
}

/// An image as people write it.
fn told(reference: &Reference) -> String {
    familiar(&reference.canonical()).to_owned()
}

pub(super) fn run(args: &UpdateArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let matrix = context.matrix()?;
    let before = Lock::read(&matrix)?;
    let upstreams = upstreams(&matrix)?;
    for name in &upstreams.unknown {
        let told = format!("`{name}` cannot be pinned: only the engine can make out what it is");
        printer.message(&told);
    }
    let wanted = chosen(&upstreams.references, &args.images)?;
    let pins = Lookup { session }.pins(&wanted)?;
    let now = Lock { pins: kept(&before, &upstreams.references, pins, args.images.is_empty()) };
    let moves = before.moves_to(&now);
    if args.check && !moves.is_empty() {
        return Err(UpdateError::Drift(moves).into());
    }
    if !moves.is_empty() {
        write(&matrix, &now)?;
    }
    let unchanged = now.pins.len() - moves.iter().filter(|pin| pin.now.is_some()).count();
    printer.done(&summary(&moves, unchanged));
    Ok(ExitCode::Success)
}

fn summary(moves: &[Move], unchanged: usize) -> String {
    let rest = match unchanged {
        0 if moves.is_empty() => "there is no image to pin".to_owned(),
        0 => return lines(moves).join("\n"),
        1 => "1 image is unchanged".to_owned(),
        several => format!("{several} images are unchanged"),
    };
    match moves {
        [] => rest,
        _ => format!("{}\n\n{rest}", lines(moves).join("\n")),
    }
}

/// What the variants of a matrix build on.
pub(super) struct Upstreams {
    /// What can be pinned.
    pub(super) references: BTreeSet<Reference>,
    /// Names that mean nothing before the build.
    unknown: BTreeSet<String>,
    /// The files that contexts have left out.
    pub(super) left_out: BTreeSet<String>,
}

pub(super) fn upstreams(matrix: &Matrix) -> Result<Upstreams, Report> {
    let variants: Vec<_> = matrix.variants.iter().collect();
    let mut renderer = Renderer::new(matrix)?;
    let contexts = renderer.render_all(&variants)?;
    let mut upstreams = Upstreams {
        references: BTreeSet::new(),
        unknown: BTreeSet::new(),
        left_out: renderer.left_out(),
    };
    let found = contexts.into_iter().flat_map(|context| context.upstreams);
    for upstream in found.filter(|upstream| upstream.digest.is_none() && !upstream.is_url()) {
        match upstream.reference {
            Some(reference) => drop(upstreams.references.insert(reference)),
            None => drop(upstreams.unknown.insert(upstream.name)),
        }
    }
    Ok(upstreams)
}

/// Those of `all` that are called as one of `names`, with or without their tag; without names,
/// all of them.
fn chosen(all: &BTreeSet<Reference>, names: &[String]) -> Result<Vec<Reference>, ArgumentError> {
    if names.is_empty() {
        return Ok(all.iter().cloned().collect());
    }
    let is_called = |reference: &Reference, name: &str| {
        let repository = reference.repository.canonical();
        [&*reference.canonical(), &*repository]
            .iter()
            .any(|full| name == *full || name == familiar(full))
    };
    for name in names {
        if !all.iter().any(|reference| is_called(reference, name)) {
            let known: Vec<String> = all.iter().map(told).collect();
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let reason = format!("no variant builds on it{near}");
            return Err(ArgumentError::new("update", name, &reason));
        }
    }
    let is_chosen = |reference: &&Reference| names.iter().any(|name| is_called(reference, name));
    Ok(all.iter().filter(is_chosen).cloned().collect())
}

/// The pins of the new lock: what was looked up, and where that is not everything what else was
/// pinned and still is needed.
fn kept(before: &Lock, needed: &BTreeSet<Reference>, found: Pins, is_whole: bool) -> Pins {
    let mut pins = found;
    if !is_whole {
        for (reference, digest) in &before.pins {
            if needed.contains(reference) {
                pins.entry(reference.clone()).or_insert_with(|| digest.clone());
            }
        }
    }
    pins
}

/// Asks registries what images are now.
pub(super) struct Lookup<'a> {
    pub(super) session: &'a Session,
}

impl Lookup<'_> {
    /// The digests of `wanted`; an error where a registry does not have one.
    pub(super) fn pins(&self, wanted: &[Reference]) -> Result<Pins, Report> {
        let Session { context, printer, style, .. } = self.session;
        let mut options = context.registry_options()?.clone();
        let of_docker_hub = wanted.iter().any(|image| image.repository.registry() == "docker.io");
        let answers = context.block_on(async {
            if of_docker_hub {
                match context.mirrors().await {
                    Ok(mirrors) => options.mirrors = mirrors,
                    Err(problem) if style.verbosity == Verbosity::Verbose => printer
                        .message(&format!("no engine tells of mirrors of Docker Hub: {problem}")),
                    Err(_) => {}
                }
            }
            Ok(registries::digests(&Registries::new(&options)?, wanted).await)
        })?;
        let mut pins = Pins::new();
        let mut missing = Vec::new();
        for (reference, answer) in wanted.iter().zip(answers) {
            match answer? {
                Some(digest) => drop(pins.insert(reference.clone(), digest)),
                None => missing.push(told(reference)),
            }
        }
        match missing.is_empty() {
            true => Ok(pins),
            false => Err(UpdateError::Missing(missing).into()),
        }
    }
}

/// Puts the lock in its place whole.
fn write(matrix: &Matrix, lock: &Lock) -> Result<(), Report> {
    let path = matrix.checkout.resolve(Path::new(Lock::NAME), Access::Write)?;
    let written = files::replace(&path, lock.print().as_bytes(), false);
    Ok(written.map_err(FileError::failed_to("write the lock file"))?)
}
