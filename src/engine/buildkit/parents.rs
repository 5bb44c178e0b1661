//! Names images of the matrix for the images that are based on them.
//!
//! A pushed image is named by its digest. An engine has no names with digests for its own images, so there the staging
//! tag, which contains the fingerprint, is the name. An image in an OCI layout has no name: the engine reads it through
//! the session.

use std::collections::HashMap;

use crate::engine::{BuildJob, Destination, ParentImage};

/// The name of the OCI layout in the session. The session has only one, so the engine could use any.
const LAYOUT: &str = "basegen";

/// Returns `job` with the names of its parents in its Dockerfile, and the attributes of the frontend that it needs.
pub(super) fn with_parents(
    job: &BuildJob,
    destination: &Destination,
) -> (BuildJob, HashMap<String, String>) {
    let (mut job, mut attributes) = (job.clone(), HashMap::new());
    for parent in std::mem::take(&mut job.parents) {
        let ParentImage { placeholder, repository, staging, digest: Some(digest), .. } = parent
        else {
            continue;
        };
        let repository = repository.canonical();
        let name = match destination {
            Destination::Registry => format!("{repository}@{digest}"),
            Destination::Engine => {
                attributes.insert("image-resolve-mode".to_owned(), "local".to_owned());
                format!("{repository}:{staging}")
            }
            Destination::OciLayout(_) => {
                let source = format!("oci-layout://{LAYOUT}@{digest}");
                attributes.insert(format!("context:{placeholder}"), source);
                continue;
            }
        };
        let others = job.context.platforms.values_mut().map(|other| &mut other.dockerfile);
        for dockerfile in others.chain([&mut job.context.dockerfile]) {
            *dockerfile = dockerfile.replace(&placeholder, &name);
        }
    }
    (job, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    #[test]
    fn the_name_of_a_parent_depends_on_the_destination() {
        let digest = Digest::of(b"parent");
        let parent = ParentImage {
            placeholder: "basegen.invalid/0123".to_owned(),
            target: "parent".to_owned(),
            repository: "acme/parent".parse().expect("a repository"),
            staging: "basegen-1".parse().expect("a tag"),
            digest: Some(digest.clone()),
        };
        let job = BuildJob::of_dockerfile("FROM basegen.invalid/0123 AS a\nRUN x\n");
        let job = BuildJob { parents: vec![parent], ..job };
        let pinned = format!("docker.io/acme/parent@{digest}");
        let layout = format!("context:basegen.invalid/0123=oci-layout://basegen@{digest}");
        for (destination, name, attribute) in [
            (Destination::Registry, pinned.as_str(), ""),
            (Destination::Engine, "docker.io/acme/parent:basegen-1", "image-resolve-mode=local"),
            (Destination::OciLayout("out".into()), "basegen.invalid/0123", &layout),
        ] {
            let (named, attributes) = with_parents(&job, &destination);
            assert_eq!(named.context.dockerfile, format!("FROM {name} AS a\nRUN x\n"));
            let attributes: Vec<String> =
                attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(attributes.join(","), attribute);
        }
    }
}
