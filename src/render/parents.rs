//! The helper `image`, with which a Dockerfile is based on another image of the same matrix.
//!
//! The helper does not know which variant is rendered, so it writes its arguments between marks. [`Parents::name`]
//! replaces them by a placeholder: an image name that does not depend on the names of the matrix. Everything that needs
//! the name of the image replaces the placeholder, see
//! [`BuildContext::with_parents`](super::BuildContext::with_parents).

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, PathAndJson, RenderContext,
    RenderError,
};
use serde_json::Value as Json;

use super::dockerfile::{Instruction, Misuse};
use super::flags::flags;
use super::parameters::{Refusal, present};
use crate::image::Digest;
use crate::matrix::{NoVariant, Relations, Variant, WantedValue};

/// The characters around the arguments of a call. Both are noncharacters.
pub(super) const BEGIN: char = '\u{fdd4}';
pub(super) const END: char = '\u{fdd5}';

/// The registry in placeholders. It cannot exist, see [RFC 2606](https://www.rfc-editor.org/rfc/rfc2606).
const REGISTRY: &str = "basegen.invalid/";

/// The number of hexadecimal digits in a placeholder.
const DIGITS: usize = 16;

/// An image of the same matrix that a Dockerfile is based on, or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The id of its variant.
    pub id: String,
    /// The first line of the Dockerfile with its name, from 1.
    pub line: usize,
    /// Whether it must exist for the platforms of the Dockerfile's own image. Otherwise each `FROM` with it selects a
    /// platform.
    pub has_same_platforms: bool,
    /// Whether a `FROM` selects one of its platforms, so that it must exist for others than the one that is built.
    pub selects_platform: bool,
}

impl Parent {
    /// Returns the name of the image in a [`BuildContext`](super::BuildContext).
    #[must_use]
    pub fn placeholder(&self) -> String {
        placeholder(&self.id)
    }
}

/// Returns the placeholder of the image of the variant `id`. All have the same length.
pub(super) fn placeholder(id: &str) -> String {
    format!("{REGISTRY}{}", &Digest::of(id.as_bytes()).hex()[..DIGITS])
}

/// Returns true for a text that begins with a placeholder.
pub(super) fn is_placeholder(name: &str) -> bool {
    name.starts_with(REGISTRY)
}

/// Returns true for a text that contains a placeholder.
pub(super) fn has_placeholder(text: &str) -> bool {
    text.contains(REGISTRY)
}

/// The arguments of a call: the axis, if it is named, and the value.
type Call = Vec<(Option<String>, Json)>;

/// The helper. It writes its arguments between marks.
pub(super) struct ImageHelper;

impl HelperDef for ImageHelper {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        if helper.is_block() {
            let advice = "write `FROM {{image \"value\"}}`".to_owned();
            return Err(Refusal::new("`image` is not a block", Some(advice)).into());
        }
        let argument = |axis: Option<&str>, value: &PathAndJson<'_>| -> Result<_, RenderError> {
            Ok((axis.map(str::to_owned), present(value)?.clone()))
        };
        let values = helper.params().iter().map(|value| argument(None, value));
        let named = helper.hash().iter().map(|(axis, value)| argument(Some(axis), value));
        let call: Call = values.chain(named).collect::<Result<_, _>>()?;
        let call = serde_json::to_string(&call).expect("arguments are JSON");
        out.write(&format!("{BEGIN}{call}{END}"))?;
        Ok(())
    }
}

/// The images that a variant's Dockerfile can name.
pub(super) struct Parents<'a> {
    relations: &'a Relations<'a>,
    variant: &'a Variant,
}

impl<'a> Parents<'a> {
    pub(super) fn new(relations: &'a Relations<'a>, variant: &'a Variant) -> Self {
        Self { relations, variant }
    }

    /// Returns the variant whose Dockerfile names the images.
    pub(super) fn variant(&self) -> &'a Variant {
        self.variant
    }

    /// Returns the placeholder of the image that a `call` names, and adds the id of its variant to `ids`.
    pub(super) fn name(&self, call: &str, ids: &mut Vec<&'a str>) -> Result<String, NoVariant> {
        let id = self.resolve(call)?;
        ids.push(id);
        Ok(placeholder(id))
    }

    /// Returns the id of the variant that a `call` names.
    fn resolve(&self, call: &str) -> Result<&'a str, NoVariant> {
        let call: Call = serde_json::from_str(call).expect("the helper writes JSON");
        let wanted: Vec<WantedValue<'_>> =
            call.iter().map(|(axis, value)| WantedValue { axis: axis.as_deref(), value }).collect();
        let parent = self.relations.find(self.variant, &wanted)?;
        if parent.id == self.variant.id {
            let message = "an image cannot be based on itself".to_owned();
            let help = "name a value that another variant has".to_owned();
            return Err(NoVariant { message, help: Some(help) });
        }
        Ok(&parent.id)
    }
}

/// Returns the images of the matrix with these `ids` that a rendered Dockerfile names. Refuses other places for their
/// names than those of images, because the name of an image is not known before it is built.
pub(super) fn parents(
    text: &str,
    instructions: &[Instruction],
    ids: &[&str],
) -> Result<Vec<Parent>, Misuse> {
    let mut parents: Vec<Parent> = Vec::new();
    for id in ids.iter().copied() {
        if parents.iter().any(|parent| parent.id == id) {
            continue;
        }
        let name = placeholder(id);
        let (mut first, mut has_same_platforms, mut selects_platform) = (None, false, false);
        let stages = instructions.iter().find(|instruction| instruction.keyword == "FROM");
        let stages = stages.map_or(text.len(), |first| first.begin);
        for (at, _) in text.match_indices(&name) {
            let begin = text[..at].rfind('\n').map_or(0, |before| before + 1);
            if text[begin..at].trim_start().starts_with('#') {
                continue;
            }
            let line = text[..at].matches('\n').count() + 1;
            let before = instructions.iter().rev().find(|instruction| instruction.begin <= at);
            let is_allowed = |instruction: &&Instruction| match instruction.keyword.as_str() {
                "ARG" => at < stages,
                _ => is_image(instruction, &name),
            };
            let Some(instruction) = before.filter(is_allowed) else {
                let what = "`image` is the name of an image: use it in `FROM`, `--from=` or `from=` of a mount, \
                            or in an `ARG` before the first `FROM`";
                return Err(Misuse { line, what: what.to_owned() });
            };
            first.get_or_insert(line);
            let (flags, _) = flags(&instruction.arguments);
            has_same_platforms |= !flags.iter().any(|flag| flag.starts_with("--platform="));
            selects_platform |= match instruction.keyword.as_str() {
                // Any stage can be based on a variable.
                "ARG" => instructions.iter().any(selects),
                _ => selects(instruction),
            };
        }
        if let Some(line) = first {
            parents.push(Parent { id: id.to_owned(), line, has_same_platforms, selects_platform });
        }
    }
    Ok(parents)
}

/// Returns true for a `FROM` with a platform that is not the one of the image.
fn selects(instruction: &Instruction) -> bool {
    let (flags, _) = flags(&instruction.arguments);
    let platform = flags.iter().find_map(|flag| flag.strip_prefix("--platform="));
    let is_own =
        |name: &str| matches!(name.trim_matches('"'), "$TARGETPLATFORM" | "${TARGETPLATFORM}");
    instruction.keyword == "FROM" && platform.is_some_and(|platform| !is_own(platform))
}

/// Returns true if `name` is the name of an image in an instruction.
fn is_image(instruction: &Instruction, name: &str) -> bool {
    let (flags, rest) = flags(&instruction.arguments);
    match instruction.keyword.as_str() {
        "FROM" => rest.starts_with(name),
        "COPY" | "RUN" => flags.iter().any(|flag| flag.contains(name)) && !rest.contains(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    fn found(text: &str) -> String {
        let ids = ["a", "b"];
        let text = ids
            .iter()
            .fold(text.to_owned(), |text, id| text.replace(&format!("<{id}>"), &placeholder(id)));
        match parents(&text, &parse(&text).expect("a Dockerfile"), &["a", "b", "a"]) {
            Ok(parents) => {
                let shown = parents.iter().map(|parent| {
                    let platforms = if parent.has_same_platforms { "" } else { " any" };
                    let selected = if parent.selects_platform { " selected" } else { "" };
                    format!("{}:{}{platforms}{selected}", parent.id, parent.line)
                });
                shown.collect::<Vec<_>>().join(" ")
            }
            Err(misuse) => format!("{}: refused", misuse.line),
        }
    }

    #[test]
    fn images_are_found_where_dockerfiles_name_images() {
        for (text, expected) in [
            ("FROM <a>\n", "a:1"),
            ("# <b>\nFROM <a> AS x\nCOPY --link --from=<b> /x /\n", "a:2 b:3"),
            ("ARG BASE=<a>\nFROM $BASE\n", "a:1"),
            (
                "ARG BASE=<a>\nFROM --platform=linux/amd64 $BASE AS x\nFROM <b>\n",
                "a:1 selected b:3",
            ),
            ("FROM --platform=$TARGETPLATFORM <a>\n", "a:1 any"),
            ("FROM x:1\nRUN --mount=type=bind,from=<a>,target=/a x\n", "a:2"),
            ("FROM --platform=$BUILDPLATFORM <a> AS x\nFROM <b>\n", "a:1 any selected b:2"),
            ("FROM --platform=linux/amd64 <a> AS x\nFROM <a>\n", "a:1 selected"),
            ("FROM x:1\n", ""),
            ("FROM x:1\nRUN echo <a>\n", "2: refused"),
            ("FROM x:1\nRUN <<EOF\necho <a>\nEOF\n", "3: refused"),
            ("FROM x:1\nENV BASE=<a>\n", "2: refused"),
            ("FROM x/<a>\n", "1: refused"),
            ("FROM x:1\nARG BASE=<a>\n", "2: refused"),
            ("FROM x:1\nCOPY --from=x:1 <a> /\n", "2: refused"),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
