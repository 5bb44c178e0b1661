//! Finds the secrets that a Dockerfile mounts.

use std::collections::BTreeSet;

use super::dockerfile::Instruction;
use super::flags::{flags, mount_option};

/// Returns the ids of the secrets that build steps mount.
pub(super) fn mounted(instructions: &[Instruction]) -> BTreeSet<String> {
    let steps = instructions.iter().filter(|instruction| instruction.keyword == "RUN");
    let flags = steps.flat_map(|step| flags(&step.arguments).0);
    flags.filter_map(|flag| flag.strip_prefix("--mount=")).filter_map(secret).collect()
}

/// Returns the id of a secret mount. The default is the last part of the target.
fn secret(options: &str) -> Option<String> {
    if mount_option(options, &["type"]) != Some("secret") {
        return None;
    }
    let target = || mount_option(options, &["target", "dst", "destination"])?.rsplit('/').next();
    mount_option(options, &["id"]).or_else(target).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    #[test]
    fn secrets_have_an_id_or_a_target() {
        let text = "FROM a\nRUN --mount=type=secret,id=one,target=/x \\\n \
            --mount=type=secret,target=/run/two --mount=type=cache,id=no,target=/c \\\n  y\n\
            RUN --mount=type=secret,id=one z\n";
        let found = mounted(&parse(text).expect(text));
        assert_eq!(found, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
    }
}
