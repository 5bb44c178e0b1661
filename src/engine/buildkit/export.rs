//! Which exporter takes an image to its destination, and what it is told.

use std::collections::HashMap;

use crate::engine::{BuildJob, Destination};
use crate::image::{CompressionAlgorithm, Reference};

/// An exporter and its attributes, under the names that `BuildKit` documents.
pub(super) struct Exporter {
    pub(super) kind: &'static str,
    pub(super) attributes: HashMap<String, String>,
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
