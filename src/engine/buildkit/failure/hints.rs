use super::{DISK_FULL, Fault};
use crate::engine::BuildJob;
use crate::engine::buildkit::export::Abilities;
use crate::image::Platform;

/// Returns the hint for a failure of `job`, if there is a remedy.
pub(super) fn hint(
    fault: Fault,
    message: &str,
    exit_code: Option<i32>,
    job: &BuildJob,
    able: Abilities,
) -> Option<String> {
    let hint = match fault {
        Fault::DiskFull => return Some(full_disk(message, able)),
        Fault::LayoutFull => "free some space on the disk of the OCI layout, and run again",
        _ if exit_code == Some(137) => {
            "the command was killed, probably for lack of memory: give the engine more, \
             or build fewer variants at a time with `--jobs`"
        }
        Fault::Overload => "the engine is overloaded: build fewer variants at a time with `--jobs`",
        Fault::LostData => {
            "the build cache was pruned during the build: run again to build the missing images"
        }
        _ if message.contains("HTTP response to HTTPS client") => {
            return plain_http(message, job, able);
        }
        _ if message.contains("unsupported diff media type") => {
            return Some(format!(
                "the engine's disk is probably full, which this message hides: {}",
                full_disk("", able)
            ));
        }
        Fault::Connection => {
            "check that the engine is running, and run again: finished steps are in its cache"
        }
        Fault::Export if message.contains("could not be found") => {
            "this is the BuildKit of a Docker Engine without containerd's image store: \
             name that engine with DOCKER_HOST, without `--builder`"
        }
        Fault::Export => return login(message, job),
        Fault::Step => return None,
    };
    Some(hint.to_owned())
}

/// Returns the hint for a full disk. The message names the file before the problem, as in
/// `write /var/lib/docker/tmp/a: no space left on device`.
fn full_disk(message: &str, able: Abilities) -> String {
    let before = message.split(DISK_FULL).next().unwrap_or_default().trim_end_matches([':', ' ']);
    let path = before.rsplit(' ').next().filter(|word| word.starts_with('/'));
    let place = path.map(|path| format!(", on the disk with `{path}`")).unwrap_or_default();
    let prune = if able.is_docker {
        "`docker builder prune` frees Docker's build cache, and `docker system df` lists the rest"
    } else {
        "`buildctl prune` frees buildkitd's cache, and `buildctl du` lists it"
    };
    format!("free some space on the engine's machine{place}: {prune}")
}

/// Returns the hint for a step whose output reports a full disk: the engine's, or that of a mount.
pub(super) fn full_disk_in_step(able: Abilities) -> String {
    format!("a command of the step found a full disk: {}", full_disk("", able))
}

fn login(message: &str, job: &BuildJob) -> Option<String> {
    const DENIALS: [&str; 5] = ["denied", "unauthorized", "authorization failed", "401", "403"];
    let repository = job.references.first().map(|first| &first.repository)?;
    DENIALS.iter().any(|word| message.contains(word)).then(|| {
        format!(
            "`docker login {}` with an account that may push to `{repository}`",
            repository.registry()
        )
    })
}

/// Returns the hint for a registry without TLS that was accessed with TLS.
fn plain_http(message: &str, job: &BuildJob, able: Abilities) -> Option<String> {
    // Go prints the URL before the problem: `Head "https://10.0.0.1:5000/v2/…": http: server …`.
    let url = message.split_once("\"https://").map(|(_, url)| url);
    let named = url.and_then(|url| url.split(['/', '"']).next());
    let destination = || job.references.first().map(|first| first.repository.registry());
    let registry = named.or_else(destination)?;
    let setting = if able.is_docker {
        "add it to `insecure-registries` in Docker's daemon.json".to_owned()
    } else {
        format!("set `http = true` under `[registry.\"{registry}\"]` in buildkitd.toml")
    };
    Some(format!("`{registry}` uses plain HTTP: {setting}"))
}

/// Returns the hint for a failed program of `platform`, if the engine can only run programs of
/// `native`.
pub(super) fn emulation(platform: &Platform, native: &[Platform]) -> Option<String> {
    (!native.contains(platform)).then(|| {
        format!(
            "the engine cannot run programs for `{platform}`: install emulation on its machine \
             (`docker run --privileged --rm tonistiigi/binfmt --install all`), \
             or exclude the platform with `--platform`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DOCKER, job};
    use super::*;

    #[test]
    fn plain_http_hints_name_the_setting_of_the_engine() {
        let buildkitd = Abilities { is_docker: false, ..DOCKER };
        let pull = "base:1: failed to resolve source metadata for 10.0.0.1:5000/base:1: failed to \
                    do request: Head \"https://10.0.0.1:5000/v2/base/manifests/1\": http: server \
                    gave HTTP response to HTTPS client";
        let hints = [DOCKER, buildkitd]
            .map(|abilities| hint(Fault::Step, pull, None, &job(), abilities).expect("a hint"));
        insta::assert_snapshot!(hints.join("\n"));
    }

    /// BuildKit reports the fallback that failed, not the full disk before it.
    #[test]
    fn unsupported_diffs_hint_at_a_full_disk() {
        let message = "failed to compute diff: unsupported diff media type: \
                       application/vnd.oci.image.layer.v1.tar+zstd: not implemented";
        let hint = hint(Fault::Export, message, None, &job(), DOCKER).expect("a hint");
        assert!(hint.contains("disk is probably full") && hint.contains("prune"), "{hint}");
    }

    #[test]
    fn emulation_hints_depend_on_native_platforms() {
        let [amd64, arm64] = ["linux/amd64", "linux/arm64"].map(|text| text.parse().expect(text));
        let hint = emulation(&arm64, std::slice::from_ref(&amd64)).expect("a hint");
        assert!(hint.contains("`linux/arm64`") && hint.contains("binfmt"), "{hint}");
        assert_eq!(emulation(&amd64, std::slice::from_ref(&amd64)), None);
    }

    #[test]
    fn disk_hints_name_the_tool_of_the_engine() {
        let buildkitd = Abilities { is_docker: false, ..DOCKER };
        assert!(full_disk("", buildkitd).contains("`buildctl prune`"));
    }
}
