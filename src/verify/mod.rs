//! Checks of images (`[[verify]]`), as the last stage of a Dockerfile.
//!
//! [`with_checks`] adds a stage `FROM` the image that is never exported. So checks run in a container with exactly the
//! layers that are pushed, with the user and environment of the image, and their results are in the build cache of the
//! engine.
//!
//! A container takes longer to start than most checks to run, so one shell runs all checks of an image if the image has a
//! shell. All of them run, and each that fails writes a line that [`FailedCheck::parse`] reads.

mod aliases;

pub use aliases::{alias_file, printed_alias, with_aliases};

use std::fmt::Write as _;

use crate::image::Digest;
use crate::matrix::{Check, CheckCommand};
use crate::render::{FinalStage, shells};

/// The stage of the checks.
const STAGE: &str = "basegen-verify";

/// The name of the stage of the image, if the Dockerfile does not name it.
const IMAGE: &str = "basegen-image";

/// The programs of a `SHELL` that understand the script of several checks.
const SHELLS: [&str; 6] = ["sh", "ash", "bash", "dash", "ksh", "zsh"];

/// Appends `checks` of the image to `dockerfile`. `target` is the stage of the image; `None` is the last. Returns `None`
/// if there are no checks.
#[must_use]
pub fn with_checks(dockerfile: &str, target: Option<&str>, checks: &[Check]) -> Option<String> {
    if checks.is_empty() {
        return None;
    }
    let instructions: String = runs(dockerfile, checks).into_iter().map(instruction).collect();
    append_stage(dockerfile, target, STAGE, &instructions)
}

/// Appends a stage `FROM` the image of `dockerfile`.
fn append_stage(
    dockerfile: &str,
    target: Option<&str>,
    name: &str,
    instructions: &str,
) -> Option<String> {
    let stage = FinalStage::find(dockerfile, target)?;
    let (head, tail) = dockerfile.split_at(stage.end);
    let mut text = head.to_owned();
    if stage.name.is_none() {
        let _ = write!(text, " AS {IMAGE}");
    }
    text.push_str(tail);
    let image = stage.name.as_deref().unwrap_or(IMAGE);
    let _ = write!(text, "\n\nFROM {image} AS {name}\n{instructions}");
    Some(text)
}

/// Returns the digest of the commands of `checks`, independent of their names. `None` if there are no checks.
#[must_use]
pub fn digest(checks: &[Check]) -> Option<Digest> {
    let alone = checks.iter().map(|check| instruction(std::slice::from_ref(check)));
    (!checks.is_empty()).then(|| Digest::of(alone.collect::<String>().as_bytes()))
}

/// Returns the stage of the image in a Dockerfile from [`with_checks`].
#[must_use]
pub fn image_stage(with_checks: &str) -> String {
    let stages = with_checks.rsplit_once(&format!(" AS {STAGE}\n"));
    let from = stages.and_then(|(head, _)| head.rsplit_once("\nFROM "));
    from.map_or(IMAGE, |(_, image)| image).to_owned()
}

/// Divides the checks of `dockerfile` among containers. Checks share one if the image has a shell: then at least one of them
/// needs it.
#[must_use]
pub fn runs<'a>(dockerfile: &str, checks: &'a [Check]) -> Vec<&'a [Check]> {
    let needs_shell = checks.iter().any(|check| matches!(check.command, CheckCommand::Shell(_)));
    let is_shared = needs_shell
        && shells(dockerfile).iter().all(|shell| shell.as_deref().is_some_and(is_posix));
    checks.chunks(if is_shared { checks.len().max(1) } else { 1 }).collect()
}

/// Returns true if the program of a `SHELL` understands the script of several checks.
fn is_posix(program: &str) -> bool {
    program.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name))
}

/// Returns the instruction that runs `checks` in one container.
fn instruction(checks: &[Check]) -> String {
    let command = match checks {
        [check] => match &check.command {
            CheckCommand::Shell(line) => line.trim().to_owned(),
            CheckCommand::Exec(words) => serde_json::to_string(words).expect("texts are JSON"),
        },
        _ => script(checks),
    };
    format!("RUN --network=none {command}\n")
}

/// Returns a script that runs all `checks`, each in a shell of its own, and fails if one failed.
///
/// The engine reports two streams of output in any order, so all output is in one. A shell in the background keeps the options
/// of the image's `SHELL`, such as `-e`, which a list with `||` would disable.
fn script(checks: &[Check]) -> String {
    let mut script = format!(
        "exec 2>&1; failed() {{ printf '{} %s {} %s\\n' \"$@\"; status=1; }}; status=0",
        FailedCheck::BEFORE,
        FailedCheck::BETWEEN
    );
    for (number, check) in (1..).zip(checks) {
        let command = match &check.command {
            CheckCommand::Shell(line) => format!("eval {}", quoted(line.trim())),
            CheckCommand::Exec(words) => {
                words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
            }
        };
        let _ = write!(script, "; ({command}) & wait $! || failed {number} $?");
    }
    script + "; exit $status"
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A failed check of several in one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCheck {
    /// The index among the checks of the container.
    pub index: usize,
    pub exit_code: i32,
}

impl FailedCheck {
    const BEFORE: &str = "basegen: check";
    const BETWEEN: &str = "failed with exit code";

    /// Parses a line of output of a container that runs several checks. Returns `None` for all other lines.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (number, code) = line.strip_prefix(Self::BEFORE)?.split_once(Self::BETWEEN)?;
        let number: usize = number.trim().parse().ok()?;
        let exit_code = code.trim().parse().ok()?;
        Some(Self { index: number.checked_sub(1)?, exit_code })
    }
}

/// Returns which of the `runs` of an image a step is, by its name in BuildKit: `[basegen-verify 2/3] RUN …` is the second of
/// three. A platform can precede the stage.
#[must_use]
pub fn run_of<'a, T>(step: &str, runs: &'a [T]) -> Option<&'a T> {
    let inside = step.strip_prefix('[')?.split(']').next()?;
    let mut words = inside.rsplit(' ');
    let (position, stage) = (words.next()?, words.next()?);
    let (number, total) = position.split_once('/')?;
    let (number, total): (usize, usize) = (number.parse().ok()?, total.parse().ok()?);
    // Some engines count `FROM` as the first step of a stage.
    let before = total.checked_sub(runs.len())?;
    let index = number.checked_sub(before + 1)?;
    runs.get(index).filter(|_| stage == STAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Check {
        Check { name: "shell".to_owned(), command: CheckCommand::Shell(line.to_owned()) }
    }

    fn exec(words: &[&str]) -> Check {
        let words = words.iter().map(ToString::to_string).collect();
        Check { name: "exec".to_owned(), command: CheckCommand::Exec(words) }
    }

    #[test]
    fn checks_without_a_shell_are_steps_of_a_stage_from_the_image() {
        let checks = [exec(&["/serve", "--version"]), exec(&["python", "-c", "print(\"a\")"])];
        let text = with_checks("FROM a AS tools\nFROM b\nUSER 1", None, &checks).expect("a stage");
        insta::assert_snapshot!(text, @r#"
        FROM a AS tools
        FROM b AS basegen-image
        USER 1

        FROM basegen-image AS basegen-verify
        RUN --network=none ["/serve","--version"]
        RUN --network=none ["python","-c","print(\"a\")"]
        "#);
        let named = with_checks("FROM b as image\n", None, &checks).expect("a stage");
        assert!(
            named.starts_with("FROM b as image\n\n\nFROM image AS basegen-verify\n"),
            "{named}"
        );
        assert_eq!(image_stage(&text), "basegen-image");
        assert_eq!(image_stage(&named), "image");
        assert_eq!(with_checks("FROM b\n", None, &[]), None);
        let target =
            with_checks("FROM a AS one\nFROM b", Some("one"), &checks[..1]).expect("a stage");
        assert!(
            target.starts_with("FROM a AS one\nFROM b\n\nFROM one AS basegen-verify\n"),
            "{target}"
        );
    }

    #[test]
    fn checks_share_a_shell_if_one_of_them_needs_it() {
        let checks = [shell(" test -e '/a' "), exec(&["python", "-c", "print('a')"])];
        let text = with_checks("FROM b\n", None, &checks).expect("a stage");
        insta::assert_snapshot!(text, @r#"
        FROM b AS basegen-image


        FROM basegen-image AS basegen-verify
        RUN --network=none exec 2>&1; failed() { printf 'basegen: check %s failed with exit code %s\n' "$@"; status=1; }; status=0; (eval 'test -e '\''/a'\''') & wait $! || failed 1 $?; ('python' '-c' 'print('\''a'\'')') & wait $! || failed 2 $?; exit $status
        "#);
        let single = with_checks("FROM b\n", None, &checks[..1]).expect("a stage");
        assert!(single.ends_with("\nRUN --network=none test -e '/a'\n"), "{single}");
    }

    #[test]
    fn only_posix_shells_run_several_checks() {
        let checks = [shell("true"), exec(&["true"])];
        for (instruction, expected) in [
            ("", 1),
            ("SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\n", 1),
            ("SHELL [\"pwsh\", \"-Command\"]\n", 2),
            ("shell [\"/usr/bin/python3\", \"-c\"]\n", 2),
            ("SHELL sh\n", 2),
        ] {
            let dockerfile = format!("FROM a\n{instruction}");
            assert_eq!(runs(&dockerfile, &checks).len(), expected, "{instruction}");
        }
    }

    /// Runs the script of `checks` in `shell`, with its options.
    fn run(shell: &[&str], checks: &[Check]) -> (Option<i32>, Vec<FailedCheck>) {
        let mut command = std::process::Command::new(shell[0]);
        command.args(&shell[1..]).arg(script(checks));
        let output = command.output().expect("the shell runs");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        (output.status.code(), printed.lines().filter_map(FailedCheck::parse).collect())
    }

    #[test]
    fn all_checks_run_and_each_that_fails_is_reported() {
        let checks = [
            shell("cd / && exit 3"),
            shell("test \"$(pwd)\" != / && [ 'it'\\''s' = \"it's\" ]"),
            exec(&["test", "a b", "=", "$x"]),
            shell("if true; then echo unfinished"),
            exec(&["true"]),
        ];
        for name in ["sh", "bash"] {
            let (code, failed) = run(&[name, "-c"], &checks);
            let numbers: Vec<usize> = failed.iter().map(|failed| failed.index).collect();
            assert_eq!((code, &numbers[..]), (Some(1), &[0, 2, 3][..]), "{name}");
            assert_eq!(failed[0].exit_code, 3);
            assert_eq!(run(&[name, "-c"], &checks[4..]), (Some(0), Vec::new()), "{name}");
        }
    }

    #[test]
    fn the_options_of_the_shell_hold_in_each_check() {
        let checks = [shell("false; true"), shell("false | true")];
        let failed = |shell: &[&str]| run(shell, &checks).1.len();
        assert_eq!(failed(&["sh", "-c"]), 0);
        assert_eq!(failed(&["sh", "-ec"]), 1);
        assert_eq!(failed(&["bash", "-eo", "pipefail", "-c"]), 2);
    }

    #[test]
    fn steps_are_mapped_to_their_runs() {
        let run = |step| run_of(step, &["first", "second"]).copied();
        assert_eq!(run("[basegen-verify 1/2] RUN --network=none test -e /a"), Some("first"));
        assert_eq!(run("[basegen-verify 2/3] RUN --network=none test -e /a"), Some("first"));
        assert_eq!(run("[linux/arm64 basegen-verify 2/2] RUN x"), Some("second"));
        for other in ["[basegen-verify 1/3] FROM x", "[stage-1 2/2] RUN", "exporting", "[a]"] {
            assert_eq!(run(other), None, "{other}");
        }
    }

    #[test]
    fn other_output_is_no_failed_check() {
        let failed = FailedCheck { index: 1, exit_code: 127 };
        assert_eq!(FailedCheck::parse("basegen: check 2 failed with exit code 127"), Some(failed));
        for other in ["", "basegen: check", "basegen: check 0 failed with exit code 1", "check 1"] {
            assert_eq!(FailedCheck::parse(other), None, "{other}");
        }
    }
}
