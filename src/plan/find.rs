//! What somebody means by the name of an image.

use super::{NameError, Naming, PlanRequest};
use crate::image::{Reference, Repository};
use crate::matrix::{Absent, Matrix, Variant, nearest_spelling};
use crate::version::Version;

/// Stands for the version in a tag; no version is written so.
const ANY_VERSION: &str = "0_any_version_0";

/// What a name means.
#[derive(Debug, Default)]
pub struct Meant<'a> {
    /// Variants that are called so.
    pub variants: Vec<&'a Variant>,
    /// Combinations that would be called so, and are no variants.
    pub absent: Vec<Absent<'a>>,
}

/// The variants, and the combinations that are none, that `name` means: an id, the parts of a
/// tag that values contribute, a tag of any version, or such a tag in its repository.
///
/// Nothing is empty in both where nothing is called so.
pub fn meant<'a>(
    matrix: &'a Matrix,
    request: &PlanRequest,
    name: &str,
) -> Result<Meant<'a>, NameError> {
    let version = Version::custom(ANY_VERSION).ok();
    let request = PlanRequest { version, ..request.clone() };
    let naming = Naming::new(matrix, &request)?;
    let wanted = Wanted::new(name);
    let rank = |variant: &Variant| -> Result<Option<usize>, NameError> {
        if [&variant.id, &variant.name].contains(&&wanted.text) && !name.is_empty() {
            return Ok(Some(0));
        }
        let references = naming.references(variant)?;
        Ok(references.iter().filter_map(|reference| wanted.version_in(reference)).min())
    };
    // The shorter the version would be, the more of the name is explained: `3.9-gpu-v1` is not
    // the version `gpu-v1` of `3.9`, where there could be a `3.9-gpu`.
    let mut variants = Vec::new();
    for variant in &matrix.variants {
        variants.extend(rank(variant)?.map(|rank| (rank, variant)));
    }
    let mut absent = Vec::new();
    for none in matrix.absent() {
        // What cannot be named is not called so, and need not be: it is no image.
        absent.extend(rank(&none.variant).ok().flatten().map(|rank| (rank, none)));
    }
    let ranks = variants.iter().map(|(rank, _)| rank).chain(absent.iter().map(|(rank, _)| rank));
    let best = ranks.min().copied().unwrap_or_default();
    let is_best = |rank: usize| rank == best;
    Ok(Meant {
        variants: variants
            .into_iter()
            .filter(|(rank, _)| is_best(*rank))
            .map(|found| found.1)
            .collect(),
        absent: absent
            .into_iter()
            .filter(|(rank, _)| is_best(*rank))
            .map(|found| found.1)
            .collect(),
    })
}

/// The id, or the name without what several ids have in common, that is most like `name`.
#[must_use]
pub fn similar<'a>(matrix: &'a Matrix, name: &str) -> Option<&'a str> {
    let ids = matrix.variants.iter().map(|variant| variant.id.as_str());
    let names = matrix.variants.iter().map(|variant| variant.name.as_str());
    nearest_spelling(name, names.chain(ids).filter(|name| !name.is_empty()))
}

/// A name that somebody has written.
struct Wanted {
    /// All of it.
    text: String,
    repository: Option<Repository>,
    tag: String,
}

impl Wanted {
    fn new(name: &str) -> Self {
        let text = name.split_once('@').map_or(name, |(name, _)| name).to_owned();
        let reference: Option<Reference> = text.parse().ok();
        match reference {
            Some(Reference { repository, tag }) => {
                Self { text, repository: Some(repository), tag: tag.to_string() }
            }
            None => Self { tag: text.clone(), repository: None, text },
        }
    }

    /// How long the version is with which `reference`, whose tag has [`ANY_VERSION`] in its
    /// place, is this name; `None` where it is not.
    fn version_in(&self, reference: &Reference) -> Option<usize> {
        if self.repository.as_ref().is_some_and(|wanted| *wanted != reference.repository) {
            return None;
        }
        let tag = reference.tag.as_str();
        match tag.split_once(ANY_VERSION) {
            None => (tag == self.tag).then_some(0),
            Some((before, after)) => {
                let version = self.tag.strip_prefix(before)?.strip_suffix(after)?;
                (!version.is_empty()).then_some(version.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::matrix::parse;

    const MATRIX: &str = r#"
[image]
repository = "acme/{{job_type}}-base"
aliases = ["{{variant}}-latest"]
dockerfile = "d"
platforms = ["linux/amd64"]
[axes]
python = ["3.9", "3.11"]
gpu = [false, true]
job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]
[[exclude]]
when = { python = "3.9", gpu = true }
reason = "too old"
"#;

    #[test]
    fn names_mean_variants_and_what_is_none() {
        let matrix = parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
        let told = |name: &str| {
            let meant = meant(&matrix, &PlanRequest::default(), name).expect("names");
            let variants = meant.variants.iter().map(|variant| variant.id.clone());
            let absent = meant.absent.iter().map(|absent| format!("no {}", absent.variant.id));
            variants.chain(absent).collect::<Vec<_>>().join(", ")
        };
        for (name, expected) in [
            ("3.11-gpu-server", "3.11-gpu-server"),
            ("3.11-gpu", "3.11-gpu-server, 3.11-gpu-training"),
            ("3.11-gpu-v0.2.2", "3.11-gpu-server, 3.11-gpu-training"),
            ("3.11-latest", "3.11-server, 3.11-training"),
            ("acme/server-base:3.11-v1", "3.11-server"),
            ("docker.io/acme/server-base:3.11-gpu-latest", "3.11-gpu-server"),
            ("acme/server-base:3.11-v1@sha256:00", "3.11-server"),
            ("ghcr.io/acme/server-base:3.11-v1", ""),
            ("3.9-gpu-training", "no 3.9-gpu-training"),
            ("3.9-gpu", "no 3.9-gpu-server, no 3.9-gpu-training"),
            ("acme/training-base:3.9-gpu-v1", "no 3.9-gpu-training"),
            ("3.8", ""),
            ("", ""),
        ] {
            assert_eq!(told(name), expected, "{name}");
        }
        assert_eq!(similar(&matrix, "3.11-gqu"), Some("3.11-gpu"));
        assert_eq!(similar(&matrix, "3.12-gpu"), None);
    }

    #[test]
    fn what_is_no_variant_need_not_have_a_name() {
        let text = MATRIX
            .replace("{{job_type}}-base", "base-{{gpu}}")
            .replace("{ python = \"3.9\", gpu = true }", "{ gpu = false }");
        let matrix = parse(Path::new("matrix.toml"), &text).expect("a matrix");
        let meant = |name: &str| {
            let meant = meant(&matrix, &PlanRequest::default(), name).expect("names");
            (meant.variants.len(), meant.absent.len())
        };
        assert_eq!(meant("3.9-gpu"), (2, 0));
        assert_eq!(meant("acme/base-gpu:3.9-gpu-v1"), (2, 0));
        assert_eq!(meant("3.9-server"), (0, 1));
    }
}
