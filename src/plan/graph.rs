//! The graph of a plan: which images are based on which others of the same matrix.
//!
//! [`Graph::render`] renders the targets of a plan and, if other images of the matrix are below them, these too.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};

use indexmap::{IndexMap, IndexSet};

use super::{ImageNames, NameError, Plan, PlanRequest, Target};
use crate::error::{ExitCode, Explain};
use crate::image::Platform;
use crate::matrix::{Matrix, Variant};
use crate::render::{BuildContext, RenderError, Renderer};

/// The images of a plan and those below them.
#[derive(Debug)]
pub struct Graph<'a> {
    /// The targets of the plan, then the other images that they are based on.
    pub targets: Cow<'a, [Target<'a>]>,
    /// The number of targets in the plan.
    planned: usize,
    /// For each target, the indices of the targets that it is based on or copies from.
    parents: Vec<Vec<usize>>,
}

#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Name(#[from] NameError),
    /// Images that are based on each other. The last is the first.
    #[error("images are based on each other: {}{}", path(.0), lines(.0))]
    Cycle(Vec<Edge>),
    /// An image is built for a platform that its parent lacks.
    #[error(
        "{place}: `{child}` is built for {}, but `{parent}`, which it is based on, is built for {}",
        Platform::list(.missing),
        Platform::list(.own)
    )]
    Platforms {
        place: String,
        child: String,
        parent: String,
        missing: Vec<Platform>,
        own: Vec<Platform>,
    },
}

/// A variant and the one that it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    child: String,
    parent: String,
    /// The place in a template that names the parent.
    place: String,
}

fn path(edges: &[Edge]) -> String {
    let ids = edges.iter().map(|edge| edge.child.as_str());
    let last = edges.last().map(|edge| edge.parent.as_str());
    let ids: Vec<String> = ids.chain(last).map(|id| format!("`{id}`")).collect();
    ids.join(" → ")
}

fn lines(edges: &[Edge]) -> String {
    let line =
        |edge: &Edge| format!("\n  {}: `{}` names `{}`", edge.place, edge.child, edge.parent);
    edges.iter().map(line).collect()
}

impl Explain for GraphError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Render(error) => error.exit_code(),
            Self::Name(error) => error.exit_code(),
            Self::Cycle(_) | Self::Platforms { .. } => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Render(error) => return error.hint(),
            Self::Name(error) => return error.hint(),
            Self::Cycle(_) => "base one of them on another image",
            Self::Platforms { .. } => {
                "add the platform to the parent, or limit `platforms` of the image that is based on it"
            }
        };
        Some(hint.to_owned())
    }
}

impl<'a> Graph<'a> {
    /// Renders the targets of `plan` and all images of its matrix below them. Returns the contexts in the order of
    /// [`Graph::targets`].
    pub fn render(
        plan: &'a Plan<'a>,
        renderer: &mut Renderer<'_>,
    ) -> Result<(Self, Vec<BuildContext>), GraphError> {
        let mut targets = Cow::Borrowed(&plan.targets[..]);
        let mut contexts = renderer.render_for(&rows(&targets))?;
        loop {
            let variants = missing(plan, &targets, &contexts);
            if variants.is_empty() {
                break;
            }
            let below = plan.named(&variants)?;
            contexts.extend(renderer.render_for(&rows(&below))?);
            targets.to_mut().extend(below);
        }
        let planned = plan.targets.len();
        let graph = Self { parents: edges(&targets, &contexts), targets, planned };
        graph.refuse_cycles(&contexts)?;
        graph.check_platforms(&contexts)?;
        Ok((graph, contexts))
    }

    /// Returns the graph of a whole plan with rendered `contexts`.
    #[must_use]
    pub fn new(plan: &'a Plan<'a>, contexts: &[BuildContext]) -> Self {
        let targets = Cow::Borrowed(&plan.targets[..]);
        Self { parents: edges(&targets, contexts), planned: targets.len(), targets }
    }

    /// Returns the indices of the targets that a target is based on or copies from.
    #[must_use]
    pub fn parents(&self, target: usize) -> &[usize] {
        &self.parents[target]
    }

    /// Returns all targets below one, the nearest first.
    #[must_use]
    pub fn below(&self, target: usize) -> Vec<usize> {
        let mut below = IndexSet::new();
        let mut waiting: VecDeque<usize> = self.parents(target).iter().copied().collect();
        while let Some(at) = waiting.pop_front() {
            if below.insert(at) {
                waiting.extend(self.parents(at));
            }
        }
        below.into_iter().collect()
    }

    /// Returns the targets that others are based on or copy from.
    #[must_use]
    pub fn all_parents(&self) -> BTreeSet<usize> {
        self.parents.iter().flatten().copied().collect()
    }

    /// Returns true if the plan contains a target, rather than only an image that is based on it.
    #[must_use]
    pub fn is_planned(&self, target: usize) -> bool {
        target < self.planned
    }

    /// Returns the targets of the plan, and the images below those of them that are `missing`, as far down as images are
    /// missing.
    #[must_use]
    pub fn needed(&self, missing: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        needed(self.planned, &self.parents, missing)
    }

    /// Divides targets into the smallest groups without parents in other groups. Targets and groups are in the
    /// order of `targets`.
    #[must_use]
    pub fn families(&self, targets: &[usize]) -> Vec<Vec<usize>> {
        // Each points to an earlier member of its family, and the first one to itself.
        let mut earlier: HashMap<usize, usize> = targets.iter().map(|at| (*at, *at)).collect();
        let first = |earlier: &HashMap<usize, usize>, mut at: usize| {
            while earlier[&at] != at {
                at = earlier[&at];
            }
            at
        };
        for child in targets {
            for parent in self.parents(*child) {
                if !earlier.contains_key(parent) {
                    continue;
                }
                let (one, other) = (first(&earlier, *child), first(&earlier, *parent));
                earlier.insert(one.max(other), one.min(other));
            }
        }
        let mut families: IndexMap<usize, Vec<usize>> = IndexMap::new();
        for at in targets {
            families.entry(first(&earlier, *at)).or_default().push(*at);
        }
        families.into_values().collect()
    }

    fn refuse_cycles(&self, contexts: &[BuildContext]) -> Result<(), GraphError> {
        let levels = levels(&self.parents);
        let sorted: BTreeSet<usize> = levels.into_iter().flatten().collect();
        let Some(first) = (0..self.parents.len()).find(|at| !sorted.contains(at)) else {
            return Ok(());
        };
        // Each of the others has a parent among them.
        let next = |at: usize| {
            let parents = self.parents[at].iter();
            parents.copied().find(|parent| !sorted.contains(parent)).expect("a parent in the cycle")
        };
        let mut walk = vec![first];
        let begin = loop {
            let parent = next(walk[walk.len() - 1]);
            if let Some(begin) = walk.iter().position(|at| *at == parent) {
                walk.push(parent);
                break begin;
            }
            walk.push(parent);
        };
        let edges = walk[begin..].windows(2).map(|pair| {
            let (child, parent) = (&contexts[pair[0]], self.targets[pair[1]].id());
            let named = child.parents.iter().find(|named| named.id == parent);
            Edge {
                child: self.targets[pair[0]].id().to_owned(),
                parent: parent.to_owned(),
                place: named.map(|named| child.place(named.line)).unwrap_or_default(),
            }
        });
        Err(GraphError::Cycle(edges.collect()))
    }

    fn check_platforms(&self, contexts: &[BuildContext]) -> Result<(), GraphError> {
        for (child, context) in contexts.iter().enumerate() {
            for (parent, named) in self.parents[child].iter().zip(&context.parents) {
                let (child, parent) = (&self.targets[child], &self.targets[*parent]);
                let platforms = child.platforms.iter().cloned();
                let missing: Vec<Platform> =
                    platforms.filter(|platform| !parent.platforms.contains(platform)).collect();
                // A mirrored image has the platforms of its source.
                let is_known = named.has_same_platforms && !parent.is_mirror;
                if is_known && !missing.is_empty() {
                    return Err(GraphError::Platforms {
                        place: context.place(named.line),
                        child: child.id().to_owned(),
                        parent: parent.id().to_owned(),
                        missing,
                        own: parent.platforms.to_vec(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Returns the first `planned` images, and the images below those of them that are `missing`, as far down as images are
/// missing. `parents` has the images that each image is based on.
#[must_use]
pub fn needed(
    planned: usize,
    parents: &[Vec<usize>],
    missing: impl Fn(usize) -> bool,
) -> BTreeSet<usize> {
    let mut needed: BTreeSet<usize> = (0..planned).collect();
    let mut waiting: Vec<usize> = (0..planned).filter(|at| missing(*at)).collect();
    while let Some(child) = waiting.pop() {
        for parent in &parents[child] {
            if needed.insert(*parent) && missing(*parent) {
                waiting.push(*parent);
            }
        }
    }
    needed
}

/// Writes names for people into the Dockerfiles of `contexts` where they name images of the same matrix: the name of the
/// image without its version. `docker build` can use an image of this name.
pub fn name_parents(matrix: &Matrix, contexts: &mut [BuildContext]) -> Result<(), NameError> {
    let request = PlanRequest::default();
    let naming = ImageNames::new(matrix, &request)?;
    for context in contexts.iter_mut().filter(|context| !context.parents.is_empty()) {
        let mut names = HashMap::new();
        for parent in &context.parents {
            let variant = matrix.variants.iter().find(|variant| variant.id == parent.id);
            let variant = variant.expect("a parent is a variant of the matrix");
            names.insert(parent.id.clone(), naming.without_version(variant)?);
        }
        context.set_names(&|parent| names.get(&parent.id).cloned());
        context.parents.clear();
    }
    Ok(())
}

/// Returns the variant and the platforms of each target.
fn rows<'t>(targets: &'t [Target<'_>]) -> Vec<(&'t Variant, &'t [Platform])> {
    targets.iter().map(|target| (target.variant, &*target.platforms)).collect()
}

/// Returns the variants that `contexts` are based on and that have no target, in the order of the matrix.
fn missing<'a>(
    plan: &Plan<'a>,
    targets: &[Target<'_>],
    contexts: &[BuildContext],
) -> Vec<&'a Variant> {
    let parents = contexts.iter().flat_map(|context| &context.parents);
    let mut ids: BTreeSet<&str> = parents.map(|parent| parent.id.as_str()).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    for target in targets {
        ids.remove(target.id());
    }
    plan.matrix.variants.iter().filter(|variant| ids.contains(variant.id.as_str())).collect()
}

/// Returns the indices of the targets that each of `targets` is based on or copies from, in the order of its context.
/// Others than `targets` are left out.
fn edges(targets: &[Target<'_>], contexts: &[BuildContext]) -> Vec<Vec<usize>> {
    if contexts.iter().all(|context| context.parents.is_empty()) {
        return vec![Vec::new(); contexts.len()];
    }
    let by_id: HashMap<&str, usize> = targets.iter().map(Target::id).zip(0..).collect();
    let parents = contexts.iter().map(|context| {
        let parents = context.parents.iter();
        parents.filter_map(|parent| by_id.get(parent.id.as_str()).copied()).collect()
    });
    parents.collect()
}

/// Sorts `targets` into levels. All parents of a target are in earlier levels. Targets that are based on each other are in
/// no level.
pub(super) fn levels_of(targets: &[Target<'_>], contexts: &[BuildContext]) -> Vec<Vec<usize>> {
    levels(&edges(targets, contexts))
}

fn levels(parents: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut waiting: Vec<usize> = (0..parents.len()).collect();
    let mut is_sorted = vec![false; parents.len()];
    let mut levels = Vec::new();
    loop {
        let is_ready = |at: &usize| parents[*at].iter().all(|parent| is_sorted[*parent]);
        let (level, others): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(is_ready);
        if level.is_empty() {
            return levels;
        }
        for at in &level {
            is_sorted[*at] = true;
        }
        levels.push(level);
        waiting = others;
    }
}

#[cfg(test)]
mod tests;
