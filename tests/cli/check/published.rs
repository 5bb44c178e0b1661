//! `basegen check`, `status`, `plan` and `bump --if-changed` with a registry.

use basegen::image::Digest;
use insta::assert_snapshot;
use serde_json::json;

use crate::harness::project::{MATRIX, Project, output, stdout};
use crate::harness::registry::{Access, Account, FakeRegistry};
use crate::harness::variants::variants;

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A project and the registry that it is released to.
struct Released {
    registry: FakeRegistry,
    project: Project,
}

impl Released {
    /// Creates a project with all images of its version published, and their release set.
    fn new() -> Self {
        let released = Self::unreleased();
        released.publish();
        released
    }

    /// Adds tables to the matrix.
    fn add(&self, tables: &str) {
        let path = self.project.path().join("matrix.toml");
        let matrix = fs_err::read_to_string(path).expect("the matrix");
        self.project.write("matrix.toml", &format!("{matrix}\n{tables}"));
    }

    fn unreleased() -> Self {
        let registry = FakeRegistry::start_blocking();
        let project = Project::new();
        let image = format!("[image]\nregistry = \"{}\"\n", registry.host());
        project.write("matrix.toml", &MATRIX.replace("[image]\n", &image));
        project.write(
            "dockerfiles/Dockerfile.hbs",
            "FROM scratch\nENV A={{python}}-{{gpu}}\nCOPY {{job_type}}.txt /\n",
        );
        Self { registry, project }
    }

    /// Publishes the images and the release set of the version, as a release does.
    fn publish(&self) {
        self.publish_as(|path, tag, labels| self.image(path, tag, "amd64", labels));
    }

    /// Publishes images that `put` creates with a path, a tag and labels.
    fn publish_as(&self, put: impl Fn(&str, &str, &serde_json::Value) -> Digest) {
        self.publish_listed(put, str::to_owned);
    }

    /// Publishes a release set that lists each image under the name that `listed` returns for it.
    fn publish_listed(
        &self,
        put: impl Fn(&str, &str, &serde_json::Value) -> Digest,
        listed: impl Fn(&str) -> String,
    ) {
        let matrix = self.project.path().join("matrix.toml");
        let images = variants(&matrix, "v1.2.3").into_iter().map(|variant| {
            let path = variant.reference.repository.path();
            let labels = json!({ "dev.basegen.inputs": variant.inputs });
            let digest = put(path, variant.reference.tag.as_str(), &labels);
            let reference = listed(&variant.reference.canonical());
            let fingerprint = variant.fingerprint.to_string();
            let image =
                json!({ "reference": reference, "digest": digest, "fingerprint": fingerprint });
            (variant.id, image)
        });
        let images: serde_json::Map<_, _> = images.collect();
        let list = json!({ "schema": 1, "version": "v1.2.3", "images": images }).to_string();
        let empty = json!({
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::of(b"{}"),
            "size": 2,
        });
        let set = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "artifactType": "application/vnd.basegen.release.v1+json",
            "config": empty,
            "layers": [empty],
            "annotations": { "dev.basegen.release": list },
        });
        for tag in ["basegen-release-v1.2.3", "basegen-release"] {
            self.registry.add_manifest("acme/server-base", tag, OCI_IMAGE, set.to_string());
        }
    }

    /// Sets the staging tags of all images that the version tags point to.
    fn stage_all(&self) {
        for variant in variants(&self.project.path().join("matrix.toml"), "v1.2.3") {
            let path = variant.reference.repository.path();
            let image = self.registry.manifest(path, variant.reference.tag.as_str());
            let (image, staging) = (image.expect("an image"), variant.staging[0].as_str());
            self.registry.add_manifest(path, staging, OCI_IMAGE, image);
        }
    }

    /// Publishes an image for one platform.
    fn image(
        &self,
        path: &str,
        tag: &str,
        architecture: &str,
        labels: &serde_json::Value,
    ) -> Digest {
        let config = json!({
            "os": "linux", "architecture": architecture, "config": { "Labels": labels }, "tag": tag,
        });
        self.registry.add_image(path, tag, &config)
    }

    /// Returns the output and the exit code of a command, without the port of the registry.
    fn output(&self, arguments: &str) -> String {
        output(self.project.basegen(arguments)).replace(&self.registry.host(), "REGISTRY")
    }
}

#[test]
fn a_complete_release_has_no_drift() {
    let released = Released::new();
    assert_snapshot!("whole", released.output("check"));
    assert_snapshot!("whole_and_required", released.output("check --released"));
}

#[test]
fn reports_missing_tags_variants_and_platforms() {
    let released = Released::new();
    let path = "acme/server-base";
    released.registry.remove_tag(path, "3.9-v1.2.3");
    released.image(path, "3.11-v1.2.3", "amd64", &json!({ "other": "1" }));
    let text = released.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(&text).expect("the matrix");
    let more = matrix
        .replace("[\"3.9\", \"3.11\"]", "[\"3.9\", \"3.11\", \"3.12\"]")
        .replace("[\"linux/amd64\"]", "[\"linux/amd64\", \"linux/arm64\"]");
    released.project.write("matrix.toml", &more);
    assert_snapshot!("broken", released.output("check"));
    assert_snapshot!("broken_offline", released.output("check --offline"));
}

#[test]
fn an_index_without_one_of_its_images_is_incomplete() {
    let released = Released::unreleased();
    let text = released.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(&text).expect("the matrix");
    let both = matrix.replace("[\"linux/amd64\"]", "[\"linux/amd64\", \"linux/arm64\"]");
    released.project.write("matrix.toml", &both);
    released.publish_as(|path, tag, labels| {
        let present = released.image(path, tag, "amd64", labels);
        let entry = |digest: &Digest, architecture: &str| {
            json!({
                "mediaType": OCI_IMAGE, "digest": digest, "size": 1,
                "platform": { "os": "linux", "architecture": architecture },
            })
        };
        let missing = Digest::of(b"gone");
        let manifests = [entry(&present, "amd64"), entry(&missing, "arm64")];
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
            .to_string();
        released.registry.add_manifest(path, tag, OCI_INDEX, index.clone());
        Digest::of(index.as_bytes())
    });
    assert_snapshot!("index_with_a_gap", released.output("check"));
}

/// The error does not wait for the job that sets tags.
#[test]
fn changed_images_under_a_published_version_are_errors_in_all_commands() {
    let released = Released::new();
    released.project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!("unbumped_check", released.output("check"));
    assert_snapshot!("unbumped_check_allowed", released.output("check --allow-unbumped"));
    assert_snapshot!("unbumped_plan", released.output("plan --format github"));
    let overwriting = released.output("plan --format github --overwrite");
    assert!(
        overwriting.contains("count=3") && overwriting.ends_with("exit code 0"),
        "{overwriting}"
    );
    assert_snapshot!("unbumped_stage", released.output("--stage"));
    assert_snapshot!("unbumped_dry_run", released.output("--push --dry-run"));
    // A new version has no tags yet.
    let bumped = released.output("plan --format github --version-tag v1.2.4");
    assert!(bumped.ends_with("exit code 0"), "{bumped}");
}

#[test]
fn a_dry_run_of_a_push_lists_builds_and_tags() {
    let released = Released::new();
    assert_snapshot!("dry_run_published", released.output("--push --dry-run"));
    released.stage_all();
    released.registry.remove_tag("acme/server-base", "3.9-v1.2.3");
    assert_snapshot!("dry_run_tag", released.output("--push --dry-run"));
    released.project.write("dockerfiles/server.txt", "changed\n");
    let dry_run = released.output("--push --dry-run --version-tag v1.2.4");
    assert_snapshot!("dry_run_build", dry_run);
}

#[test]
fn status_accepts_versions_with_and_without_v() {
    let released = Released::new();
    let whole = released.output("status v1.2.3");
    assert!(whole.ends_with("exit code 0"), "{whole}");
    assert_eq!(released.output("status 1.2.3"), whole);
    assert_snapshot!("status_unknown", released.output("status 9.9.9"));
}

#[test]
fn status_lists_the_missing_tags_of_an_incomplete_version() {
    let released = Released::new();
    released.registry.remove_tag("acme/server-base", "basegen-release-v1.2.3");
    assert_snapshot!("status_without_a_set", released.output("status"));
    released.registry.remove_tag("acme/server-base", "3.9-v1.2.3");
    assert_snapshot!("status_incomplete", released.output("status"));
}

#[test]
fn reports_aliases_in_a_registry_with_immutable_tags() {
    let released = Released::new();
    let settings =
        format!("[registries.\"{}\"]\nimmutable_tags = true\n", released.registry.host());
    released.add(&settings);
    assert_snapshot!("immutable_aliases", released.output("check"));
    assert_snapshot!("immutable_aliases_merge", released.output("merge --push --progress plain"));
}

#[test]
fn a_release_without_a_set_is_compared_by_its_tags() {
    let released = Released::new();
    released.add("[publish]\nrelease_set = \"off\"\n");
    assert_snapshot!("no_set", released.output("check --released"));
    released.registry.remove_tag("acme/server-base", "3.9-v1.2.3");
    assert_snapshot!("no_set_and_a_gap", released.output("check"));
    assert_snapshot!("no_set_status", released.output("status"));
    // Without release sets, an older release could move the aliases back.
    let merge = released.output("merge --push --progress plain");
    assert_snapshot!("no_set_merge", merge);
}

#[test]
fn an_unreleased_version_is_no_error_unless_required() {
    let released = Released::unreleased();
    assert_snapshot!("unreleased", released.output("check"));
    assert_snapshot!("unreleased_and_required", released.output("check --released"));
}

#[test]
fn a_registry_that_denies_access_is_an_error() {
    let released = Released::new();
    released.registry.set_access(Access::Basic(Account::new("user", "password")));
    let schema = stdout(released.project.basegen("schema")).replacen('{', "{ ", 1);
    released.project.write("matrix.schema.json", &schema);
    assert_snapshot!("refused", released.output("check"));
    assert_snapshot!("refused_plan", released.output("plan"));
    stdout(released.project.basegen("check --offline --fix"));
    assert_snapshot!("refused_bump", released.output("bump patch --if-changed"));
    assert_snapshot!("offline", released.output("check --offline"));
}

#[test]
fn bumps_the_version_once_if_images_have_changed() {
    let released = Released::new();
    assert_snapshot!("unchanged", released.output("bump patch --if-changed"));
    assert_snapshot!("unchanged_json", released.output("bump patch --if-changed --format json"));
    released.project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!("changed_dry_run", released.output("bump patch --if-changed --dry-run"));
    assert_snapshot!("changed", released.output("bump patch --if-changed"));
    // The new version is not released yet, so it includes these changes.
    assert_snapshot!("bumped_once", released.output("bump patch --if-changed"));
}

#[test]
fn a_lock_is_compared_with_the_registries() {
    let released = Released::unreleased();
    let host = released.registry.host();
    let upstream = |tag: &str| released.image("python", tag, "amd64", &json!({}));
    let (first, _) = (upstream("3.9"), upstream("3.11"));
    released
        .project
        .write("dockerfiles/Dockerfile.hbs", &format!("FROM {host}/python:{{{{python}}}}\n"));
    let lock = |digest: &Digest| {
        let name = |tag: &str| format!("\"{host}/python:{tag}\" = \"{digest}\"\n");
        format!("schema = 1\n\n[images]\n{}{}", name("3.8"), name("3.9"))
    };
    released.project.write("basegen.lock", &lock(&first));
    assert_snapshot!("lock", released.output("check"));
    assert_snapshot!("lock_fixed", released.output("check --fix"));
    let moved =
        fs_err::read_to_string(released.project.path().join("basegen.lock")).expect("a lock");
    let moved = moved.replace(&first.to_string(), &Digest::of(b"older").to_string());
    released.project.write("basegen.lock", &moved);
    assert_snapshot!("lock_moved", released.output("check"));
    assert_snapshot!("lock_moved_strict", released.output("check --strict"));
}

/// A release set cannot make basegen connect to other hosts.
#[test]
fn images_outside_the_repositories_of_the_matrix_are_not_looked_up() {
    let other = FakeRegistry::start_blocking();
    for (case, registry, path) in
        [("host", Some(other.host()), "acme/server-base"), ("repository", None, "elsewhere/base")]
    {
        let released = Released::unreleased();
        let own = released.registry.host();
        let registry = registry.unwrap_or_else(|| own.clone());
        released.publish_listed(
            |path, tag, labels| released.image(path, tag, "amd64", labels),
            |_| format!("{registry}/{path}:v1"),
        );
        let shown = |text: String| text.replace(&other.host(), "OTHER");
        assert_snapshot!(format!("foreign_{case}_status"), shown(released.output("status")));
        assert_snapshot!(format!("foreign_{case}_check"), shown(released.output("check")));
        released.output("bump patch --if-changed");
        released.output("plan");
        released.output("plan --version-tag v2.0.0");
        assert_eq!(other.requests().len(), 0, "{case}");
        let requests = released.registry.requests();
        assert!(requests.iter().all(|request| !request.path.contains("elsewhere")), "{case}");
    }
}

/// The new checks have not run on the published images.
#[test]
fn new_checks_are_planned_for_published_images() {
    let released = Released::new();
    let path = released.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(&path).expect("the matrix");
    let verify = "[[verify]]\nname = \"gpu\"\nwhen = { gpu = true }\nrun = [\"true\"]\n";
    released.project.write("matrix.toml", &format!("{matrix}{verify}"));
    assert_snapshot!("checks", released.output("plan"));
    assert_snapshot!("checks_github", released.output("plan --format github"));
    // No image has changed.
    assert_snapshot!("checks_bump", released.output("bump patch --if-changed"));
}

#[test]
fn a_plan_shows_lost_gpus_and_growth() {
    let released = Released::unreleased();
    let facts = |sm: &str, size: u64| {
        let text = format!("version = \"12.8\"\n[\"linux/amd64\"]\nsize = {size}\nsm = [{sm}]\n");
        released.project.write("dockerfiles/cublas.facts.toml", &text);
    };
    let dockerfile = "FROM scratch\nENV A={{python}}-{{gpu}}\nCOPY {{job_type}}.txt /\n\
                      {{#if gpu}}\nCOPY cublas.facts.toml /\n{{/if}}\n";
    released.project.write("dockerfiles/Dockerfile.hbs", dockerfile);
    facts("\"50\", \"90\"", 700_000_000);
    released.publish_as(|path, tag, labels| {
        let library = json!({ "version": "12.8", "size": 700_000_000, "sm": ["50", "90"] });
        let libraries = json!({ "linux/amd64": { "cublas": library } }).to_string();
        let mut labels = labels.clone();
        labels["dev.basegen.gpu.libraries"] = libraries.into();
        released.image(path, tag, "amd64", &labels)
    });
    facts("\"90\"", 750_000_000);
    let selected = "--version-tag v1.2.4 --gpu --job-type server";
    assert_snapshot!("gpu_plan", released.output(&format!("plan {selected}")));
    assert_snapshot!("gpu_push", released.output(&format!("--push {selected}")));
    let permitted = "[[set]]\nwhen = { gpu = true }\ndrop_sm = [\"50\"]\n";
    released.add(permitted);
    assert_snapshot!("gpu_plan_permitted", released.output(&format!("plan {selected}")));
}

/// Creates a project whose images follow the version of a product, which is now `product`.
fn followed(product: &str) -> Released {
    let released = Released::new();
    released.add("[version.follows]\nfile = \"pyproject.toml\"\nkey = \"project.version\"\n");
    released.product(product);
    released
}

impl Released {
    fn product(&self, version: &str) {
        let text = format!("[project]\nname = \"acme\"\nversion = \"{version}\"\n");
        self.project.write("pyproject.toml", &text);
    }
}

#[test]
fn unchanged_images_keep_their_version_while_the_product_moves_on() {
    let released = followed("1.5.0");
    released.stage_all();
    assert_snapshot!("follows_unchanged", released.output("check"));
    assert_snapshot!("follows_unchanged_bump", released.output("bump follow"));
    assert_snapshot!("follows_unchanged_release", released.output("release follow --dry-run"));
    released.product("1.2.3");
    assert_snapshot!("follows_equal", released.output("check"));
}

#[test]
fn changed_images_get_the_version_of_the_product() {
    let released = followed("1.5.0");
    released.project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!("follows_changed", released.output("check"));
    assert_snapshot!("follows_changed_release", released.output("release follow --dry-run"));
    assert_snapshot!("follows_changed_bump", released.output("bump follow"));
    assert_snapshot!("follows_bumped", released.output("check"));
    // The product moves on before the images are released.
    released.product("1.6.0rc1");
    assert_snapshot!("follows_unreleased", released.output("check"));
    assert_snapshot!("follows_unreleased_bump", released.output("bump follow"));
}

#[test]
fn changed_images_under_the_version_of_the_product_need_a_new_one_of_the_product() {
    let released = followed("1.2.3");
    released.project.write("dockerfiles/server.txt", "changed\n");
    assert_snapshot!("follows_equal_and_changed", released.output("check"));
}

#[test]
fn images_are_not_ahead_of_their_product() {
    let released = followed("1.2.2");
    assert_snapshot!("follows_ahead", released.output("check --offline"));
    assert_snapshot!("follows_ahead_bump", released.output("bump follow"));
    assert_snapshot!("follows_level", released.output("bump patch"));
    assert_snapshot!("follows_release_level", released.output("release minor"));
    released.project.write("pyproject.toml", "[project]\nname = \"acme\"\n");
    assert_snapshot!("follows_nothing", released.output("check --offline"));
    released.project.write("matrix.toml", MATRIX);
    assert_snapshot!("follows_without_a_product", released.output("bump follow"));
}
