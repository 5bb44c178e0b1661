//! The secrets that a Dockerfile mounts.

use std::collections::BTreeSet;

use super::copied::flags;
use super::dockerfile::Instruction;

/// The ids of the secrets that steps mount.
pub(super) fn mounted(instructions: &[Instruction]) -> BTreeSet<String> {
    let steps = instructions.iter().filter(|instruction| instruction.keyword == "RUN");
    let flags = steps.flat_map(|step| flags(&step.arguments).0);
    flags.filter_map(|flag| flag.strip_prefix("--mount=")).filter_map(secret).collect()
}

/// The id of a mount that is a secret's; where it says none, the last part of its target is it.
fn secret(options: &str) -> Option<String> {
    let option = |names: &[&str]| {
        let pairs = options.split(',').filter_map(|option| option.split_once('='));
        pairs.filter(|(name, _)| names.contains(name)).map(|(_, value)| value).next_back()
    };
    if option(&["type"]) != Some("secret") {
        return None;
    }
    let target = || option(&["target", "dst", "destination"])?.rsplit('/').next();
    option(&["id"]).or_else(target).map(str::to_owned)
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
