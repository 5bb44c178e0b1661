//! `basegen explain NAME`: the variants with a name, the inputs of their images, and the rules that exclude them.

use std::slice::from_ref;

use indexmap::IndexSet;

use super::{Context, NameOptions, selection};
use crate::error::{ExitCode, Explain, Report};
use crate::image::Reference;
use crate::matrix::{Absent, Matrix, Selected, Selection, SelectionError, Term};
use crate::plan::{self, Fingerprint, GpuFacts, Graph, Inputs, Lock, Plan, Target};
use crate::render::{BuildContext, Renderer};

/// A name that no variant of the matrix has.
#[derive(Debug, thiserror::Error)]
#[error("no variant is called `{name}`, and the matrix cannot contain one{unknown}")]
struct UnknownName {
    name: String,
    unknown: String,
    similar: Option<String>,
}

impl Explain for UnknownName {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Selection
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.similar {
            Some(similar) => format!("did you mean `{similar}`? `basegen plan` lists all variants"),
            None => "`basegen plan` lists all variants".to_owned(),
        })
    }
}

#[derive(Debug, Clone)]
pub enum Subject {
    /// The id of a variant, or the tag or name of an image, or a part of it.
    Name(String),
    Terms(Vec<Term>),
}

#[derive(Debug)]
pub enum ExplainOutcome<'a> {
    /// The values exclude each other.
    Impossible(SelectionError),
    /// Variants that exist, and combinations that the matrix excludes.
    Found {
        plan: Box<Plan<'a>>,
        absent: Vec<Absent<'a>>,
        /// The inputs of the image, if there is one variant and no excluded combination.
        inputs: Option<Box<ImageInputs>>,
    },
}

/// The inputs of an image.
#[derive(Debug)]
pub struct ImageInputs {
    /// The rendered Dockerfile and its files.
    pub context: BuildContext,
    /// The images of the matrix below it, the nearest first: the ids of their variants, and their names.
    pub parents: Vec<(String, Reference)>,
    /// The pins of base images.
    pub lock: Lock,
    /// The base images without a pin, also those of images of the matrix below it.
    pub unpinned: IndexSet<String>,
    /// The fingerprint; `None` if a base image is not pinned.
    pub fingerprint: Option<Fingerprint>,
    /// The CUDA libraries, if it has any.
    pub gpu: Option<GpuFacts>,
}

impl ImageInputs {
    /// Renders the image of `target`, the only one of `plan`.
    fn render(plan: &Plan<'_>, target: &Target<'_>) -> Result<Self, Report> {
        let matrix = plan.matrix;
        let lock = Lock::read(matrix)?;
        let mut renderer = Renderer::new(matrix)?.pinned(lock.pins.clone());
        let (graph, mut contexts) = Graph::render(plan, &mut renderer)?;
        let secrets = matrix.build.secret_ids();
        let inputs = Inputs::for_targets(&graph.targets, &contexts, &secrets).remove(0);
        let parents = graph.below(0).into_iter().map(|at| {
            let Target { variant, reference, .. } = &graph.targets[at];
            (variant.id.clone(), reference.clone())
        });
        let parents = parents.collect();
        let upstreams = contexts.iter().flat_map(|context| &context.upstreams);
        let unpinned = upstreams.filter(|upstream| upstream.digest.is_none());
        let unpinned = unpinned.map(|upstream| upstream.familiar().to_owned()).collect();
        let context = contexts.remove(0);
        let gpu = GpuFacts::of_contexts(from_ref(target), from_ref(&context))?.remove(0);
        let fingerprint = inputs.fingerprint();
        Ok(Self { context, parents, lock, unpinned, fingerprint, gpu })
    }
}

/// Finds the variants and renders the image if there is only one.
pub fn run<'a>(
    context: &'a Context,
    subject: &Subject,
    naming: &NameOptions,
) -> Result<ExplainOutcome<'a>, Report> {
    let matrix = context.matrix()?;
    let request = naming.request(matrix)?;
    let (variants, absent) = match subject {
        Subject::Name(name) => {
            let meant = plan::find_by_name(matrix, &request, name)?;
            if meant.variants.is_empty() && meant.absent.is_empty() {
                return Err(unknown(matrix, name).into());
            }
            (meant.variants, meant.absent)
        }
        Subject::Terms(only) => {
            let selection = Selection { only: only.clone(), ..Selection::default() };
            match matrix.select(&selection) {
                Ok(selected) => (selected.variants, Vec::new()),
                Err(error @ SelectionError::Combination { .. }) => {
                    return Ok(ExplainOutcome::Impossible(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    // A plan of all variants includes the aliases.
    let selected = Selected { variants, whole: true };
    let plan = selection::plan_with_any_version(matrix, &selected, request)?;
    let inputs = match &plan.targets[..] {
        [target] if absent.is_empty() => Some(Box::new(ImageInputs::render(&plan, target)?)),
        _ => None,
    };
    Ok(ExplainOutcome::Found { plan: Box::new(plan), absent, inputs })
}

fn unknown(matrix: &Matrix, name: &str) -> UnknownName {
    let known = |part: &str| {
        let names = matrix.variants.iter().flat_map(|variant| [&variant.id, &variant.name]);
        names.flat_map(|name| name.split('-')).any(|other| other == part)
    };
    let stray = name.split('-').find(|part| !known(part));
    let stray = stray.filter(|part| !part.is_empty() && *part != name);
    UnknownName {
        name: name.escape_debug().to_string(),
        unknown: stray
            .map(|part| format!(": no axis has the value `{}`", part.escape_debug()))
            .unwrap_or_default(),
        similar: plan::similar_name(matrix, name).map(str::to_owned),
    }
}
