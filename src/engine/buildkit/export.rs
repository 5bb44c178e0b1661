//! Which exporter takes an image to its destination, and what it is told.

use std::collections::HashMap;

use crate::engine::{BuildJob, Destination};
use crate::image::{CompressionAlgorithm, Reference};

/// An exporter and its attributes, under the names that `BuildKit` documents.
pub(super) struct Exporter {
    pub(super) kind: &'static str,
    pub(super) attributes: HashMap<String, String>,
}

impl Exporter {
    /// Nothing is exported: the steps run, and the engine keeps what they made.
    pub(super) fn none() -> Self {
        Self { kind: "", attributes: HashMap::new() }
    }
}

/// What decides how the images of a run are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Whether a Docker Engine keeps images in its old store, which only the `moby` exporter
    /// reaches and which forgets how layers were compressed.
    pub(super) graph_driver: bool,
    /// Whether the engine decides by itself which registries may speak plain HTTP, as Docker does.
    pub(super) knows_insecure_registries: bool,
}

/// How `job` goes to `destination`.
///
/// Layers are compressed as the job asks when they are first made. `force-compression` is not
/// asked for, since it would also recompress the layers of the upstream image, which then would
/// be other blobs than those that everyone has.
pub(super) fn exporter(job: &BuildJob, destination: &Destination, able: Abilities) -> Exporter {
    let names = names(&job.references);
    if able.graph_driver || *destination == Destination::Engine {
        let mut attributes = compression(job);
        if able.graph_driver {
            attributes.clear();
        }
        attributes.insert("name".to_owned(), names);
        return Exporter { kind: "moby", attributes };
    }
    let mut attributes = compression(job);
    let (kind, more) = match destination {
        Destination::OciLayout(_) => ("oci", vec![("tar", "false".to_owned())]),
        _ => ("image", push(job, names, able)),
    };
    attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Exporter { kind, attributes }
}

fn push(job: &BuildJob, names: String, able: Abilities) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        ("name", names),
        ("push", "true".to_owned()),
        ("store", "false".to_owned()),
        ("unpack", "false".to_owned()),
    ];
    if !able.knows_insecure_registries && job.references.iter().all(is_loopback) {
        attributes.push(("registry.insecure", "true".to_owned()));
    }
    attributes
}

fn compression(job: &BuildJob) -> HashMap<String, String> {
    let algorithm = match job.compression.algorithm {
        CompressionAlgorithm::Zstd => "zstd",
        CompressionAlgorithm::Gzip => "gzip",
        CompressionAlgorithm::Estargz => "estargz",
        CompressionAlgorithm::Uncompressed => "uncompressed",
    };
    let mut attributes = HashMap::from([
        ("oci-mediatypes".to_owned(), "true".to_owned()),
        ("compression".to_owned(), algorithm.to_owned()),
    ]);
    if let Some(level) = job.compression.level {
        attributes.insert("compression-level".to_owned(), level.to_string());
    }
    attributes
}

fn names(references: &[Reference]) -> String {
    let names: Vec<String> = references.iter().map(Reference::canonical).collect();
    names.join(",")
}

/// Whether the registry is on the engine's own machine, where plain HTTP harms nobody.
fn is_loopback(reference: &Reference) -> bool {
    let registry = reference.repository.registry();
    let host = registry
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next())
        .or_else(|| registry.split(':').next())
        .unwrap_or_default();
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::Compression;
    use crate::render::BuildContext;

    const DOCKER: Abilities = Abilities { graph_driver: false, knows_insecure_registries: true };

    fn job(references: &[&str]) -> BuildJob {
        let reference = |text: &&str| text.parse().expect("a reference");
        BuildJob {
            target: "t".to_owned(),
            context: BuildContext::default(),
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            references: references.iter().map(reference).collect(),
            compression: Compression { algorithm: CompressionAlgorithm::Gzip, level: Some(9) },
            after: Vec::new(),
        }
    }

    fn lines(exporter: &Exporter) -> Vec<String> {
        let attributes = exporter.attributes.iter();
        let mut lines: Vec<String> =
            attributes.map(|(key, value)| format!("{key}={value}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_push_takes_every_name_and_unpacks_nothing() {
        let exporter = exporter(&job(&["a:1", "ghcr.io/b:2"]), &Destination::Registry, DOCKER);
        assert_eq!(exporter.kind, "image");
        let expected = [
            "compression-level=9",
            "compression=gzip",
            "name=docker.io/a:1,ghcr.io/b:2",
            "oci-mediatypes=true",
            "push=true",
            "store=false",
            "unpack=false",
        ];
        assert_eq!(lines(&exporter), expected);
    }

    #[test]
    fn a_buildkitd_is_told_that_loopback_registries_speak_plain_http() {
        let buildkitd = Abilities { knows_insecure_registries: false, ..DOCKER };
        let cases = [
            (vec!["127.0.0.1:5000/a:1", "localhost:5000/b:1", "[::1]:5000/c:1"], true),
            (vec!["127.0.0.1:5000/a:1", "ghcr.io/b:1"], false),
            (vec!["localhost.example.com/a:1"], false),
        ];
        for (references, insecure) in cases {
            let exporter = exporter(&job(&references), &Destination::Registry, buildkitd);
            let told = exporter.attributes.contains_key("registry.insecure");
            assert_eq!(told, insecure, "{references:?}");
        }
    }

    #[test]
    fn a_graph_driver_takes_names_alone() {
        let old = Abilities { graph_driver: true, ..DOCKER };
        let exporter = exporter(&job(&["a:1"]), &Destination::Registry, old);
        assert_eq!(exporter.kind, "moby");
        assert_eq!(lines(&exporter), ["name=docker.io/a:1"]);
    }
}
