//! Checks of images (`[[verify]]`), as the last stage of a Dockerfile.
//!
//! [`with_checks`] adds a stage `FROM` the image that is never exported. So checks run in a container with exactly the
//! layers that are pushed, with the user and environment of the image, and their results are in the build cache of the
//! engine.

use std::fmt::Write as _;

use crate::image::Digest;
use crate::matrix::{Check, CheckCommand};
use crate::render::FinalStage;

/// The stage of the checks.
const STAGE: &str = "basegen-verify";

/// The name of the stage of the image, if the Dockerfile does not name it.
const IMAGE: &str = "basegen-image";

/// Appends `checks` to `dockerfile`. Returns `None` if there are no checks.
#[must_use]
pub fn with_checks(dockerfile: &str, checks: &[Check]) -> Option<String> {
    if checks.is_empty() {
        return None;
    }
    let stage = FinalStage::find(dockerfile)?;
    let (head, tail) = dockerfile.split_at(stage.end);
    let mut text = head.to_owned();
    if stage.name.is_none() {
        let _ = write!(text, " AS {IMAGE}");
    }
    text.push_str(tail);
    let image = stage.name.as_deref().unwrap_or(IMAGE);
    let _ = write!(text, "\n\nFROM {image} AS {STAGE}\n");
    text.push_str(&instructions(checks));
    Some(text)
}

/// Returns the digest of the commands of `checks`, independent of their names. `None` if there are no checks.
#[must_use]
pub fn digest(checks: &[Check]) -> Option<Digest> {
    (!checks.is_empty()).then(|| Digest::of(instructions(checks).as_bytes()))
}

fn instructions(checks: &[Check]) -> String {
    let lines =
        checks.iter().map(|check| format!("RUN --network=none {}\n", arguments(&check.command)));
    lines.collect()
}

/// Returns the stage of the image in a Dockerfile from [`with_checks`].
#[must_use]
pub fn image_stage(with_checks: &str) -> String {
    let stages = with_checks.rsplit_once(&format!(" AS {STAGE}\n"));
    let from = stages.and_then(|(head, _)| head.rsplit_once("\nFROM "));
    from.map_or(IMAGE, |(_, image)| image).to_owned()
}

fn arguments(command: &CheckCommand) -> String {
    match command {
        CheckCommand::Shell(line) => line.trim().to_owned(),
        CheckCommand::Exec(words) => serde_json::to_string(words).expect("texts are JSON"),
    }
}

/// Returns the check of a step by its name in BuildKit: `[basegen-verify 2/3] RUN …` is the second of three. A platform
/// can precede the stage.
#[must_use]
pub fn check_of<'a>(step: &str, checks: &'a [Check]) -> Option<&'a Check> {
    let inside = step.strip_prefix('[')?.split(']').next()?;
    let mut words = inside.rsplit(' ');
    let (position, stage) = (words.next()?, words.next()?);
    let (number, total) = position.split_once('/')?;
    let (number, total): (usize, usize) = (number.parse().ok()?, total.parse().ok()?);
    // Some engines count `FROM` as the first step of a stage.
    let before = total.checked_sub(checks.len())?;
    let index = number.checked_sub(before + 1)?;
    checks.get(index).filter(|_| stage == STAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        let exec = ["python", "-c", "print(\"a\")"].map(str::to_owned).to_vec();
        [
            ("shell", CheckCommand::Shell(" test -e /a ".to_owned())),
            ("exec", CheckCommand::Exec(exec)),
        ]
        .map(|(name, command)| Check { name: name.to_owned(), command })
        .into()
    }

    #[test]
    fn checks_are_a_stage_from_the_image() {
        let text = with_checks("FROM a AS tools\nFROM b\nUSER 1", &checks()).expect("a stage");
        insta::assert_snapshot!(text, @r#"
        FROM a AS tools
        FROM b AS basegen-image
        USER 1

        FROM basegen-image AS basegen-verify
        RUN --network=none test -e /a
        RUN --network=none ["python","-c","print(\"a\")"]
        "#);
        let named = with_checks("FROM b as image\n", &checks()).expect("a stage");
        assert!(
            named.starts_with("FROM b as image\n\n\nFROM image AS basegen-verify\n"),
            "{named}"
        );
        assert_eq!(image_stage(&text), "basegen-image");
        assert_eq!(image_stage(&named), "image");
        assert_eq!(with_checks("FROM b\n", &[]), None);
    }

    #[test]
    fn steps_are_mapped_to_their_checks() {
        let checks = checks();
        let name = |step| check_of(step, &checks).map(|check| check.name.as_str());
        assert_eq!(name("[basegen-verify 1/2] RUN --network=none test -e /a"), Some("shell"));
        assert_eq!(name("[basegen-verify 2/3] RUN --network=none test -e /a"), Some("shell"));
        assert_eq!(name("[linux/arm64 basegen-verify 2/2] RUN x"), Some("exec"));
        for other in ["[basegen-verify 1/3] FROM x", "[stage-1 2/2] RUN", "exporting", "[a]"] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
