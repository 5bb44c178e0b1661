//! `basegen update`: pins base images in basegen.lock to the digests that registries have now.

use std::collections::BTreeSet;
use std::path::Path;

use super::{ArgumentError, Context, registries};
use crate::error::{ExitCode, Explain, FileError, Report, list};
use crate::files::{self, Access};
use crate::image::Reference;
use crate::matrix::{Matrix, nearest};
use crate::plan::{Lock, Move, OwnImage, own_images};
use crate::registry::{Registries, RegistryOptions};
use crate::render::{Pins, Renderer, UnusedContents, familiar, unused_contents};

/// The number of differences or images that an error lists.
const MAX_LISTED: usize = 50;

/// A lock file that cannot be updated, or is out of date.
#[derive(Debug, thiserror::Error)]
enum UpdateError {
    #[error("base images not found in their registries:{}", list(MAX_LISTED, .0))]
    Missing(Vec<String>),
    #[error("`{}` is out of date:{}", Lock::NAME, list(MAX_LISTED, align(.0)))]
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
        let hint = match self {
            Self::Missing(_) => {
                "check the names in `FROM`, `COPY --from` and mounts of the templates; private \
                 images need credentials"
            }
            Self::Drift(_) => "run `basegen update`",
        };
        Some(hint.to_owned())
    }
}

/// Formats moves as lines with aligned columns.
pub fn align(moves: &[Move]) -> Vec<String> {
    let names: Vec<String> = moves.iter().map(|pin| short_name(&pin.reference)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    names.iter().zip(moves).map(|(name, pin)| format!("{name:width$}  {pin}")).collect()
}

/// Returns the name of an image as Docker shows it.
pub(super) fn short_name(reference: &Reference) -> String {
    familiar(&reference.canonical()).to_owned()
}

#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// The images, with or without their tags; empty for all.
    pub images: Vec<String>,
    /// Whether to fail if a pin would change, instead of writing the lock file.
    pub check: bool,
}

#[derive(Debug)]
pub struct UpdateOutcome {
    /// The pins that were added, changed or removed.
    pub moves: Vec<Move>,
    /// The number of other pins.
    pub unchanged: usize,
    /// The base images that only the engine can identify.
    pub unknown: BTreeSet<String>,
    /// Why the engine's mirrors of Docker Hub are not known.
    pub mirrors_problem: Option<String>,
}

/// Looks up the requested base images and writes basegen.lock.
pub async fn run(context: &Context, request: UpdateRequest) -> Result<UpdateOutcome, Report> {
    let matrix = context.matrix()?;
    let before = Lock::read(matrix)?;
    let Upstreams { references, unknown, .. } = Upstreams::of(matrix)?;
    let wanted = choose(&references, &request.images)?;
    let Pinned { mut pins, mirrors_problem } = look_up(context, &wanted).await?;
    if !request.images.is_empty() {
        // The other images keep their pins, if they are still needed.
        for (reference, digest) in &before.pins {
            if references.contains(reference) {
                pins.entry(reference.clone()).or_insert_with(|| digest.clone());
            }
        }
    }
    let now = Lock { pins };
    let moves = before.moves_to(&now);
    if !moves.is_empty() {
        if request.check {
            return Err(UpdateError::Drift(moves).into());
        }
        let path = matrix.checkout.resolve(Path::new(Lock::NAME), Access::Write)?;
        files::replace(&path, now.print().as_bytes(), false)
            .map_err(FileError::failed_to("write the lock file"))?;
    }
    let unchanged = now.pins.len() - moves.iter().filter(|pin| pin.now.is_some()).count();
    Ok(UpdateOutcome { moves, unchanged, unknown, mirrors_problem })
}

/// The base images of a matrix.
pub(super) struct Upstreams {
    /// The images that can be pinned.
    pub(super) references: BTreeSet<Reference>,
    /// The names that only the engine can resolve.
    unknown: BTreeSet<String>,
    /// The images of the matrix that its own Dockerfiles name by their published names.
    pub(super) own_images: Vec<OwnImage>,
    /// The contents that no image has.
    pub(super) unused: Vec<UnusedContents>,
    /// The private files that contexts have left out.
    pub(super) left_out: BTreeSet<String>,
}

impl Upstreams {
    /// Renders all variants and collects their base images.
    pub(super) fn of(matrix: &Matrix) -> Result<Self, Report> {
        let variants: Vec<_> = matrix.variants.iter().collect();
        let mut renderer = Renderer::new(matrix)?;
        let contexts = renderer.render_all(&variants)?;
        let own_images = own_images(matrix, variants.iter().copied().zip(&contexts))?;
        let unused = unused_contents(matrix, variants.iter().copied().zip(&contexts));
        let (mut references, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for upstream in contexts.into_iter().flat_map(|context| context.upstreams) {
            if upstream.digest.is_some() || upstream.is_url() {
                continue;
            }
            match upstream.reference {
                Some(reference) => references.insert(reference),
                None => unknown.insert(upstream.name),
            };
        }
        Ok(Self { references, unknown, own_images, unused, left_out: renderer.left_out() })
    }
}

/// Returns the images of `all` with one of these names; all of them without names.
fn choose(all: &BTreeSet<Reference>, names: &[String]) -> Result<Vec<Reference>, ArgumentError> {
    if names.is_empty() {
        return Ok(all.iter().cloned().collect());
    }
    let has_name = |reference: &Reference, name: &str| {
        let repository = reference.repository.canonical();
        [&*reference.canonical(), &*repository]
            .iter()
            .any(|full| name == *full || name == familiar(full))
    };
    for name in names {
        if !all.iter().any(|reference| has_name(reference, name)) {
            let known: Vec<String> = all.iter().map(short_name).collect();
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let reason = format!("no variant is based on it{near}");
            return Err(ArgumentError::new("update", name, &reason));
        }
    }
    let is_chosen = |reference: &&Reference| names.iter().any(|name| has_name(reference, name));
    Ok(all.iter().filter(is_chosen).cloned().collect())
}

pub(super) struct Pinned {
    pub(super) pins: Pins,
    /// Why the engine's mirrors of Docker Hub are not known.
    mirrors_problem: Option<String>,
}

/// Looks up the digests of `wanted`, through the engine's mirrors of Docker Hub too.
pub(super) async fn look_up(context: &Context, wanted: &[Reference]) -> Result<Pinned, Report> {
    let (mut mirrors, mut mirrors_problem) = (Vec::new(), None);
    if wanted.iter().any(|image| image.repository.registry() == "docker.io") {
        match context.mirrors().await {
            Ok(known) => mirrors = known,
            Err(problem) => mirrors_problem = Some(problem),
        }
    }
    let options = RegistryOptions { mirrors, ..context.registry_options()?.clone() };
    let answers = registries::digests(&Registries::new(&options)?, wanted).await;
    let mut pins = Pins::new();
    let mut missing = Vec::new();
    for (reference, answer) in wanted.iter().zip(answers) {
        match answer? {
            Some(digest) => drop(pins.insert(reference.clone(), digest)),
            None => missing.push(short_name(reference)),
        }
    }
    if missing.is_empty() {
        Ok(Pinned { pins, mirrors_problem })
    } else {
        Err(UpdateError::Missing(missing).into())
    }
}
