//! The options that the matrix and the command line give to a Dockerfile.

use std::collections::BTreeMap;

use super::arguments::names;
use super::context::BuildContext;
use super::dockerfile::{Instruction, parse, stage};
use super::error::RenderError;
use super::options::{DockerfileOptions, NamedContext};
use super::upstream::Upstream;
use crate::matrix::{
    ContextSource, Diagnostic, Matrix, SourceError, Spanned, Variant, did_you_mean,
};

/// An argument that needs no `ARG`: the engine itself uses it for the times of files.
///
/// Reference: <https://docs.docker.com/build/ci/github-actions/reproducible-builds/>
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Returns the options of a variant, whose Dockerfile consists of `instructions`. Named contexts have no files yet,
/// and images of the matrix are among them.
pub(super) fn options_of(
    matrix: &Matrix,
    variant: &Variant,
    instructions: &[Instruction],
) -> Result<DockerfileOptions, SourceError> {
    let refuse = |place: &dyn Fn() -> Diagnostic| SourceError::new(&matrix.source, vec![place()]);
    let declared = names(instructions);
    let mut arguments = BTreeMap::new();
    for (name, value) in matrix.build_arguments(variant) {
        if !is_used(name, &declared) {
            return Err(refuse(&|| undeclared(variant, name, &value, &declared)));
        }
        arguments.insert(name.to_owned(), value.into_inner());
    }
    let given = matrix.build.arguments.iter().filter(|(name, _)| is_used(name, &declared));
    arguments.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    let target = matrix.target(variant);
    if let Some(target) = &target {
        let stages: Vec<String> = instructions.iter().filter_map(stage).collect();
        if !stages.contains(&target.to_ascii_lowercase()) {
            return Err(refuse(&|| no_stage(variant, target, &stages)));
        }
    }
    let mut contexts = BTreeMap::new();
    for (name, source) in matrix.named_contexts(variant) {
        let context = match source.get_ref() {
            ContextSource::Folder(_) | ContextSource::Variant(_) => NamedContext::Files(Vec::new()),
            ContextSource::Image(image) => match Upstream::image(image) {
                Some(image) => NamedContext::Image(image),
                None => return Err(refuse(&|| no_image(&source, image))),
            },
        };
        contexts.insert(name.to_owned(), context);
    }
    Ok(DockerfileOptions { arguments, target: target.map(Spanned::into_inner), contexts })
}

/// Returns true if a Dockerfile that declares these arguments uses the argument `name`.
fn is_used(name: &str, declared: &[&str]) -> bool {
    declared.contains(&name) || name == SOURCE_DATE_EPOCH
}

/// Returns true if a Dockerfile uses a build argument. Others are errors in a matrix.
pub(crate) fn uses_argument(instructions: &[Instruction], name: &str) -> bool {
    is_used(name, &names(instructions))
}

/// Refuses build arguments of the command line that none of the Dockerfiles declares.
pub(super) fn check_given(
    given: &BTreeMap<String, String>,
    contexts: &[BuildContext],
) -> Result<(), RenderError> {
    let is_used =
        |name: &String| contexts.iter().any(|context| context.options.arguments.contains_key(name));
    let Some(name) = given.keys().find(|name| !is_used(name)) else { return Ok(()) };
    let mut declared: Vec<String> = Vec::new();
    for context in contexts {
        let instructions = parse(&context.dockerfile).unwrap_or_default();
        declared.extend(names(&instructions).into_iter().map(str::to_owned));
    }
    let near = did_you_mean(name, declared.iter().map(String::as_str));
    Err(RenderError::NoArgument { name: name.clone(), near })
}

fn undeclared(
    variant: &Variant,
    name: &str,
    value: &Spanned<String>,
    declared: &[&str],
) -> Diagnostic {
    let message =
        format!("the Dockerfile of `{}` does not declare the argument `{name}`", variant.id);
    let advice =
        format!("add `ARG {name}` to it, or set the argument in a `[[set]]` for other variants");
    let near = did_you_mean(name, declared.iter().copied());
    Diagnostic::new(value.span(), message, "").help(near.unwrap_or(advice))
}

fn no_stage(variant: &Variant, target: &Spanned<String>, stages: &[String]) -> Diagnostic {
    let message = format!("the Dockerfile of `{}` has no stage `{}`", variant.id, target.as_str());
    let named = stages.iter().map(String::as_str).filter(|name| !name.is_empty());
    let near = did_you_mean(target, named);
    Diagnostic::new(target.span(), message, "").maybe_help(near)
}

fn no_image(source: &Spanned<ContextSource>, image: &str) -> Diagnostic {
    let message = format!("`{}` is not the name of an image", image.escape_debug());
    Diagnostic::new(source.span(), message, "such as `docker-image://python:3.14-slim`")
}
