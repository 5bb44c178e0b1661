//! Chooses the exporter for a job, and its attributes.

use std::collections::HashMap;

use crate::engine::{BuildJob, BuildOptions, Destination};
use crate::image::{CompressionAlgorithm, Reference, Repository};

/// An exporter and its attributes, with the names of `BuildKit`'s documentation.
pub(super) struct Exporter {
    pub(super) kind: &'static str,
    pub(super) attributes: HashMap<String, String>,
}

impl Exporter {
    /// Returns the exporter of a build without output.
    pub(super) fn none() -> Self {
        Self { kind: "", attributes: HashMap::new() }
    }
}

/// The properties of an engine that determine the exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Whether a Docker Engine stores images in a graph driver. Only the `moby` exporter writes to it, and
    /// it does not preserve the compression of layers.
    pub(super) graph_driver: bool,
    /// Whether it is a Docker Engine. Its own configuration lists the registries with plain HTTP.
    pub(super) is_docker: bool,
}

/// Returns the exporter that takes `job` to the destination of `options`.
///
/// New layers are compressed as the job specifies. Only if the job asks for it, the layers of the upstream image are
/// compressed again, since they then have other digests than everywhere else.
pub(super) fn exporter(job: &BuildJob, options: &BuildOptions, able: Abilities) -> Exporter {
    let destination = &options.destination;
    if job.existing.is_some() {
        return Exporter::none();
    }
    if able.graph_driver {
        let staged = job.staged().map(|staged| staged.canonical());
        let name = match destination {
            Destination::Registry => staged.unwrap_or_default(),
            _ => local_names(job),
        };
        return Exporter { kind: "moby", attributes: HashMap::from([("name".to_owned(), name)]) };
    }
    let (kind, more) = match destination {
        Destination::Engine => ("moby", vec![("name", local_names(job))]),
        Destination::OciLayout(_) => ("oci", vec![("tar", "false".to_owned())]),
        Destination::Registry => ("image", push(job, options, able)),
    };
    let mut attributes = compression(job);
    attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Exporter { kind, attributes }
}

/// Returns the exporter that compresses layers like that of `job`, and delivers them nowhere.
pub(super) fn layer_exporter(job: &BuildJob) -> Exporter {
    let mut attributes = compression(job);
    let nowhere = ["push", "store", "unpack"].map(|key| (key.to_owned(), "false".to_owned()));
    attributes.extend(nowhere);
    Exporter { kind: "image", attributes }
}

/// Returns the attributes of a push by digest. The tags are set later, after all images of the run were
/// pushed.
///
/// The engine pushes to one repository after the other, and trusts all of them as it trusts the first. So it does not
/// push to those that differ in this: `publish` copies the image there.
fn push(job: &BuildJob, options: &BuildOptions, able: Abilities) -> Vec<(&'static str, String)> {
    let is_plain = |repository: &Repository| {
        let registry = repository.registry();
        let configured = options.plain_http.get(registry).copied();
        configured.unwrap_or_else(|| !able.is_docker && is_loopback(registry))
    };
    let is_first_plain = job.repositories().next().is_some_and(is_plain);
    let same = job.repositories().filter(|repository| is_plain(repository) == is_first_plain);
    let mut attributes = vec![
        ("name", same.map(Repository::canonical).collect::<Vec<_>>().join(",")),
        ("push", "true".to_owned()),
        ("push-by-digest", "true".to_owned()),
        ("store", "false".to_owned()),
        ("unpack", "false".to_owned()),
    ];
    if is_first_plain {
        // The engine first tries TLS with any certificate, then plain HTTP.
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
    if job.compression.force {
        attributes.insert("force-compression".to_owned(), "true".to_owned());
    }
    if let Some(level) = job.compression.level {
        attributes.insert("compression-level".to_owned(), level.to_string());
    }
    attributes
}

fn local_names(job: &BuildJob) -> String {
    let names: Vec<String> = job.local_names().iter().map(Reference::canonical).collect();
    names.join(",")
}

/// Returns true if the registry runs on the engine's machine, where plain HTTP is safe.
fn is_loopback(registry: &str) -> bool {
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
    use super::*;
    use crate::image::Compression;

    const DOCKER: Abilities = Abilities { graph_driver: false, is_docker: true };

    fn job(references: &[&str]) -> BuildJob {
        let reference = |text: &&str| text.parse().expect("a reference");
        BuildJob {
            target: "t".to_owned(),
            references: references.iter().map(reference).collect(),
            compression: Compression {
                algorithm: CompressionAlgorithm::Gzip,
                level: Some(9),
                force: true,
            },
            ..BuildJob::of_dockerfile("")
        }
    }

    fn push_options(plain_http: &[(&str, bool)]) -> BuildOptions {
        let plain_http = plain_http.iter().map(|(host, is_plain)| ((*host).to_owned(), *is_plain));
        BuildOptions { plain_http: plain_http.collect(), ..BuildOptions::to(Destination::Registry) }
    }

    fn lines(exporter: &Exporter) -> Vec<String> {
        let attributes = exporter.attributes.iter();
        let mut lines: Vec<String> =
            attributes.map(|(key, value)| format!("{key}={value}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_push_is_by_digest_and_unpacks_nothing() {
        let exporter = exporter(&job(&["acme/a:1", "acme/a:2"]), &push_options(&[]), DOCKER);
        assert_eq!(exporter.kind, "image");
        let expected = [
            "compression-level=9",
            "compression=gzip",
            "force-compression=true",
            "name=docker.io/acme/a",
            "oci-mediatypes=true",
            "push-by-digest=true",
            "push=true",
            "store=false",
            "unpack=false",
        ];
        assert_eq!(lines(&exporter), expected);
    }

    #[test]
    fn the_engine_gets_the_registries_with_plain_http() {
        const BUILDKITD: Abilities = Abilities { is_docker: false, ..DOCKER };
        let hosts = [("10.0.0.1:5000", true), ("localhost:5001", false)];
        for (reference, buildkitd, docker) in [
            ("127.0.0.1:5000/a:1", true, false),
            ("localhost:5000/b:1", true, false),
            ("[::1]:5000/c:1", true, false),
            ("ghcr.io/b:1", false, false),
            ("localhost.example.com/a:1", false, false),
            ("10.0.0.1:5000/a:1", true, true),
            ("10.0.0.1/a:1", false, false),
            ("localhost:5001/a:1", false, false),
        ] {
            for (abilities, insecure) in [(BUILDKITD, buildkitd), (DOCKER, docker)] {
                let exporter = exporter(&job(&[reference]), &push_options(&hosts), abilities);
                let is_insecure =
                    exporter.attributes.get("registry.insecure").is_some_and(|v| v == "true");
                assert_eq!(is_insecure, insecure, "{reference}, {abilities:?}");
            }
        }
    }

    #[test]
    fn one_export_pushes_to_all_registries_with_the_same_transport() {
        let references = ["acme/a:1", "acme/a:2", "10.0.0.1/a:1", "10.0.0.1/a:2", "ghcr.io/a:1"];
        let exporter = exporter(&job(&references), &push_options(&[("10.0.0.1", true)]), DOCKER);
        assert_eq!(exporter.attributes["name"], "docker.io/acme/a,ghcr.io/a");
        assert_eq!(exporter.attributes.get("registry.insecure"), None);
    }

    #[test]
    fn a_graph_driver_gets_only_names_and_the_staging_tag_for_a_push() {
        let old = Abilities { graph_driver: true, ..DOCKER };
        for (destination, name) in
            [(Destination::Engine, "docker.io/a:1"), (Destination::Registry, "docker.io/a:staged")]
        {
            let exporter = exporter(&job(&["a:1"]), &BuildOptions::to(destination), old);
            assert_eq!(exporter.kind, "moby");
            assert_eq!(lines(&exporter), [format!("name={name}")]);
        }
    }
}
