//! The images of others that a rendered Dockerfile names.

use crate::image::{Reference, Repository};

/// The base that is no image.
const SCRATCH: &str = "scratch";

/// The tagged images in `FROM` and `--from=`, without the Dockerfile's own stages. A name that
/// only the engine can make out, by an argument, is left out.
pub(super) fn of(dockerfile: &str) -> Vec<Reference> {
    let mut stages: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for line in dockerfile.lines() {
        let mut words = line.split_whitespace();
        let is_from = words.next().is_some_and(|word| word.eq_ignore_ascii_case("FROM"));
        if is_from {
            let mut words = words.filter(|word| !word.starts_with("--"));
            let name = words.next();
            found.extend(name.filter(|name| !stages.iter().any(|stage| stage == name)));
            if words.next().is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
                stages.extend(words.next().map(str::to_owned));
            }
        } else {
            let sources = words.filter_map(|word| word.strip_prefix("--from="));
            let of_others = |name: &&str| !stages.iter().any(|stage| stage == name);
            found.extend(sources.filter(of_others).filter(|name| name.parse::<u16>().is_err()));
        }
    }
    let mut references: Vec<Reference> =
        found.into_iter().filter(|name| *name != SCRATCH).filter_map(reference).collect();
    references.sort();
    references.dedup();
    references
}

/// `python` is `docker.io/library/python:latest`.
fn reference(name: &str) -> Option<Reference> {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    let repository: Repository = path.parse().ok()?;
    let repository = match repository.registry() == "docker.io" && !repository.path().contains('/')
    {
        true => Repository::new(repository.registry(), &format!("library/{}", repository.path()))
            .ok()?,
        false => repository,
    };
    Some(Reference { repository, tag: tag.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_once_and_stages_are_none() {
        let found = of("FROM --platform=$BUILDPLATFORM python:3.11 AS base\n\
                        from base as other\nFROM ghcr.io/acme/base\n\
                        COPY --from=base /a /a\nCOPY --from=0 /a /a\n\
                        COPY --from=nvcr.io/nvidia/cuda:12@sha256:00 /b /b\n\
                        FROM scratch\nFROM $ARGUMENT\nFROM python:3.11\n");
        let found: Vec<String> = found.iter().map(Reference::canonical).collect();
        assert_eq!(
            found,
            ["docker.io/library/python:3.11", "ghcr.io/acme/base:latest", "nvcr.io/nvidia/cuda:12"]
        );
    }
}
