//! Releases to several registries, and mirrored images, without an engine.

use basegen::image::Digest;
use basegen::registry::Manifest;
use insta::assert_snapshot;
use serde_json::json;

use crate::harness::project::{MATRIX, Project, output};
use crate::harness::registry::FakeRegistry;

/// A project whose images are copies of images of a vendor, and two registries for them.
struct Mirrors {
    source: FakeRegistry,
    registries: [FakeRegistry; 2],
    project: Project,
}

impl Mirrors {
    fn new() -> Self {
        let start = FakeRegistry::start_blocking;
        let (source, registries) = (start(), [start(), start()]);
        let mirrors = Self { source, registries, project: Project::new() };
        for python in ["3.9", "3.11"] {
            mirrors.add(python, python);
        }
        mirrors.write("\"server\", tag = \"\"", "");
        mirrors
    }

    /// Points the tag `python` of the vendor to an image with `content`. Returns its digest.
    fn add(&self, python: &str, content: &str) -> Digest {
        let path = "vendor/server";
        let config = json!({ "os": "linux", "architecture": "amd64", "of": content }).to_string();
        let (size, config) = (config.len(), self.source.add_blob(path, config));
        let kind = "application/vnd.oci.image.config.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Manifest::OCI_IMAGE,
            "config": { "mediaType": kind, "digest": config, "size": size },
            "layers": [],
        });
        let manifest = manifest.to_string();
        self.source.add_manifest(path, python, Manifest::OCI_IMAGE, manifest.clone());
        Digest::of(manifest.as_bytes())
    }

    /// Writes the matrix, with these values of `job_type` and more tables.
    fn write(&self, job_types: &str, more: &str) {
        let [one, two] = &self.registries;
        let matrix = MATRIX
            .replace("gpu = [false, true]\n", "")
            .replace(
                "{ value = \"server\", tag = \"\" }, { value = \"training\", tag = \"\" }",
                &format!("{{ value = {job_types} }}"),
            )
            .replace(
                "dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n",
                &format!(
                    "registry = [\"{}\", \"{}\"]\nmirror = \"{}/vendor/server:{{{{python}}}}\"\n",
                    one.host(),
                    two.host(),
                    self.source.host()
                ),
            );
        let matrix = matrix.split("[[exclude]]").next().expect("a matrix").to_owned();
        self.project.write("matrix.toml", &format!("{matrix}{more}"));
    }

    /// Returns the output and the exit code of a command, without ports and times.
    fn output(&self, arguments: &str) -> String {
        let text = output(self.project.basegen(arguments));
        let [one, two] = &self.registries;
        let text = text
            .replace(&self.source.host(), "SOURCE")
            .replace(&one.host(), "ONE")
            .replace(&two.host(), "TWO");
        let mut lines: Vec<&str> = text.lines().map(without_variation).collect();
        // The order of copies varies.
        let copies: Vec<usize> =
            (0..lines.len()).filter(|at| lines[*at].contains("copied to")).collect();
        if let (Some(first), Some(last)) = (copies.first(), copies.last()) {
            lines[*first..=*last].sort_unstable();
        }
        lines.join("\n")
    }
}

/// Returns a line without its time, and without the digest of a release set, which depends on ports.
fn without_variation(line: &str) -> &str {
    let line = match line.rsplit_once("  ") {
        Some((before, time)) if time.ends_with('s') && before.contains("copied to") => before,
        _ => line,
    };
    let line = line.split(" in 0.").next().unwrap_or(line);
    match line.split_once('@') {
        Some((set, _)) if set.contains(":basegen-release") => set,
        _ => line,
    }
}

#[test]
fn mirrored_images_are_published_to_both_registries_without_an_engine() {
    let mirrors = Mirrors::new();
    assert_snapshot!("list", mirrors.output("list"));
    assert_snapshot!("unpinned_plan", mirrors.output("plan"));
    assert_snapshot!("dry_run", mirrors.output("--push --dry-run"));
    assert_snapshot!("push", mirrors.output("--push"));
    for registry in &mirrors.registries {
        let original = mirrors.source.manifest("vendor/server", "3.9");
        assert_eq!(registry.manifest("acme/server-base", "3.9-v1.2.3"), original);
        assert_eq!(registry.manifest("acme/server-base", "3.9-latest"), original);
    }
    assert_snapshot!("again", mirrors.output("--push"));
    assert_snapshot!("status", mirrors.output("status"));
    assert_snapshot!("check", mirrors.output("check --released"));
    assert_snapshot!("plan", mirrors.output("plan"));
    assert_snapshot!("explain", mirrors.output("explain 3.9"));
    mirrors.registries[1].remove_tag("acme/server-base", "3.9-v1.2.3");
    assert_snapshot!("status_of_a_missing_tag", mirrors.output("status"));
    assert_snapshot!("check_of_a_missing_tag", mirrors.output("check"));
}

#[test]
fn a_release_of_another_matrix_is_not_compared() {
    let mirrors = Mirrors::new();
    mirrors.output("--push");
    let matrix = fs_err::read_to_string(mirrors.project.path().join("matrix.toml")).expect("text");
    let other = "tag = \"other-{{variant}}-{{version}}\"\naliases = [\"other-{{variant}}\"]";
    let matrix = matrix.replace("aliases = [\"{{variant}}-latest\"]", other);
    mirrors.project.write("matrix.toml", &matrix);
    assert_snapshot!("status_of_another_matrix", mirrors.output("status"));
    assert_snapshot!("check_of_another_matrix", mirrors.output("check"));
}

#[test]
fn the_lock_pins_mirrored_images() {
    let mirrors = Mirrors::new();
    assert_snapshot!("update", mirrors.output("update"));
    let before = mirrors.source.manifest("vendor/server", "3.9");
    assert_eq!(mirrors.output("--push").lines().last(), Some("exit code 0"));
    // The vendor moves the tag.
    mirrors.add("3.9", "newer");
    assert_eq!(mirrors.output("--push").lines().last(), Some("exit code 0"));
    for registry in &mirrors.registries {
        assert_eq!(registry.manifest("acme/server-base", "3.9-v1.2.3"), before);
    }
    assert_snapshot!("check_of_a_moved_source", mirrors.output("check"));
    assert_snapshot!("update_of_a_moved_source", mirrors.output("update"));
    assert_snapshot!("plan_of_a_moved_source", mirrors.output("plan"));
    assert_snapshot!("conflict", mirrors.output("--push"));
}

#[test]
fn accepts_a_digest_and_rejects_invalid_names_of_mirrored_images() {
    let mirrors = Mirrors::new();
    let digest = mirrors.add("pinned", "pinned");
    let path = mirrors.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(&path).expect("the matrix");
    let pinned = matrix.replace("server:{{python}}\"", &format!("server@{digest}\""));
    mirrors.project.write("matrix.toml", &pinned);
    let pushed = mirrors.output("--push");
    assert!(pushed.ends_with("exit code 0"), "{pushed}");
    assert_eq!(mirrors.registries[0].tag("acme/server-base", "3.11-v1.2.3"), Some(digest));
    for text in ["server\"", "server:{{python}} x\"", "server@sha256:abc\""] {
        mirrors.project.write("matrix.toml", &matrix.replace("server:{{python}}\"", text));
        let printed = mirrors.output("--push");
        assert!(printed.contains("which is not an image"), "{printed}");
        assert!(printed.ends_with("exit code 3"), "{printed}");
    }
}

#[test]
fn registries_on_the_command_line_replace_those_of_the_matrix() {
    let project = Project::new();
    let printed = |arguments: &str| output(project.basegen(arguments));
    assert_snapshot!(
        "registry_options",
        printed("list --registry ghcr.io --registry quay.io,docker.io")
    );
    assert_snapshot!(
        "registry_option_invalid",
        printed("list --registry ghcr.io --registry https://quay.io")
    );
    assert_snapshot!(
        "registry_options_as_json",
        printed(
            "plan --offline --only python=3.9,job-type=server --registry ghcr.io,quay.io --format json"
        )
    );
}
