//! Finds variants by the name of an image.

use super::{ImageNames, NameError, PlanRequest};
use crate::image::{Reference, Repository, Tag};
use crate::matrix::{Absent, Matrix, Variant, nearest_spelling};
use crate::version::Version;

/// The variants and combinations with a name.
#[derive(Debug, Default)]
pub struct NameMatches<'a> {
    pub variants: Vec<&'a Variant>,
    /// Combinations that would have the name but are not variants.
    pub absent: Vec<Absent<'a>>,
}

/// Finds the variants and other combinations with a name. `name` is an id, the value of `{{variant}}`, a tag with any
/// version, or an image with such a tag.
pub fn find_by_name<'a>(
    matrix: &'a Matrix,
    request: &PlanRequest,
    name: &str,
) -> Result<NameMatches<'a>, NameError> {
    let request = PlanRequest { version: Some(Version::any()), ..request.clone() };
    let naming = ImageNames::new(matrix, &request)?;
    let wanted = Wanted::new(name);
    let rank = |variant: &Variant| -> Result<Option<usize>, NameError> {
        if [&variant.id, &variant.name].contains(&&wanted.text) && !name.is_empty() {
            return Ok(Some(0));
        }
        let names = naming.names(variant)?;
        let lengths = names
            .everywhere()
            .filter_map(|(name, repository)| wanted.version_in(repository, &name.reference.tag));
        Ok(lengths.min())
    };
    // The match with the shortest version is the best: `3.9-gpu-v1` is not the version `gpu-v1` of `3.9` if there is
    // a `3.9-gpu`.
    let mut variants = Vec::new();
    for variant in &matrix.variants {
        variants.extend(rank(variant)?.map(|rank| (rank, variant)));
    }
    let mut absent = Vec::new();
    for none in matrix.absent() {
        // A combination that is not an image need not have a valid name.
        absent.extend(rank(&none.variant).ok().flatten().map(|rank| (rank, none)));
    }
    let ranks = variants.iter().map(|(rank, _)| rank).chain(absent.iter().map(|(rank, _)| rank));
    let best = ranks.min().copied().unwrap_or_default();
    variants.retain(|(rank, _)| *rank == best);
    absent.retain(|(rank, _)| *rank == best);
    Ok(NameMatches {
        variants: variants.into_iter().map(|(_, variant)| variant).collect(),
        absent: absent.into_iter().map(|(_, absent)| absent).collect(),
    })
}

/// Returns the id or name of a variant that is most similar to `name`.
#[must_use]
pub fn similar_name<'a>(matrix: &'a Matrix, name: &str) -> Option<&'a str> {
    let ids = matrix.variants.iter().map(|variant| variant.id.as_str());
    let names = matrix.variants.iter().map(|variant| variant.name.as_str());
    nearest_spelling(name, names.chain(ids).filter(|name| !name.is_empty()))
}

/// A name written by the user.
struct Wanted {
    /// The whole name, without a digest.
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

    /// Returns the length of the version with which a tag equals this name. The tag contains [`Version::ANY`].
    fn version_in(&self, repository: &Repository, tag: &Tag) -> Option<usize> {
        if self.repository.as_ref().is_some_and(|wanted| wanted != repository) {
            return None;
        }
        let tag = tag.as_str();
        match tag.split_once(Version::ANY) {
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
    fn names_match_variants_and_absent_combinations() {
        let matrix = parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
        let found = |name: &str| {
            let found = find_by_name(&matrix, &PlanRequest::default(), name).expect("names");
            let variants = found.variants.iter().map(|variant| variant.id.clone());
            let absent = found.absent.iter().map(|absent| format!("no {}", absent.variant.id));
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
            assert_eq!(found(name), expected, "{name}");
        }
        assert_eq!(similar_name(&matrix, "3.11-gqu"), Some("3.11-gpu"));
        assert_eq!(similar_name(&matrix, "3.12-gpu"), None);
    }

    #[test]
    fn names_in_every_registry_match() {
        let registries = "[image]\nregistry = [\"docker.io\", \"ghcr.io/images\"]\n";
        let text = MATRIX.replace("[image]\n", registries);
        let matrix = parse(Path::new("matrix.toml"), &text).expect("a matrix");
        for name in ["acme/server-base:3.11-v1", "ghcr.io/images/acme/server-base:3.11-latest"] {
            let found = find_by_name(&matrix, &PlanRequest::default(), name).expect("names");
            let ids: Vec<&str> = found.variants.iter().map(|variant| variant.id.as_str()).collect();
            assert_eq!(ids, ["3.11-server"], "{name}");
        }
    }

    #[test]
    fn absent_combinations_need_no_valid_name() {
        let text = MATRIX
            .replace("{{job_type}}-base", "base-{{gpu}}")
            .replace("{ python = \"3.9\", gpu = true }", "{ gpu = false }");
        let matrix = parse(Path::new("matrix.toml"), &text).expect("a matrix");
        let counts = |name: &str| {
            let found = find_by_name(&matrix, &PlanRequest::default(), name).expect("names");
            (found.variants.len(), found.absent.len())
        };
        assert_eq!(counts("3.9-gpu"), (2, 0));
        assert_eq!(counts("acme/base-gpu:3.9-gpu-v1"), (2, 0));
        assert_eq!(counts("3.9-server"), (0, 1));
    }
}
