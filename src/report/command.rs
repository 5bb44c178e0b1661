//! Shows steps briefly.

use crate::event::Step;

use super::text::shorten;

/// The maximum width of a step in a line.
const MAX_LINE: usize = 120;

/// Returns the checks that the step runs, as `check "python"` or `checks "python", "user"`, or else its [`command`].
pub(super) fn label(step: &Step) -> String {
    let names: Vec<String> = step.checks.iter().map(|name| format!("\"{name}\"")).collect();
    match &names[..] {
        [] => command(&step.name),
        [name] => format!("check {name}"),
        names => format!("checks {}", names.join(", ")),
    }
}

/// Returns a line for a step that starts: its [`label`] after the name of its stage.
pub(super) fn line(step: &Step) -> String {
    if step.checks.is_empty() { instruction(step) } else { shorten(&label(step), MAX_LINE) }
}

/// Returns the stage and the instruction of a step in one short line: `[server 3/9] RUN apt-get update`.
pub(super) fn instruction(step: &Step) -> String {
    let stage = step.name.split_once("] ").filter(|(stage, _)| stage.starts_with('['));
    let line = match stage {
        Some((stage, rest)) if rest.starts_with("RUN ") => {
            format!("{stage}] RUN {}", command(&step.name))
        }
        Some((stage, _)) => format!("{stage}] {}", command(&step.name)),
        None => step.name.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    shorten(&line, MAX_LINE)
}

/// Returns the command of a step: its name without the stage label, without the flags of the
/// instruction, the word `RUN` and variables that are set for the command. Each run of spaces becomes
/// one, since a continued line is indented.
///
/// `[server 3/9] RUN --mount=type=cache,target=/root/.cache pip install torch` becomes
/// `pip install torch`. For a here-document, `BuildKit` puts an excerpt into parentheses.
fn command(step: &str) -> String {
    let words: Vec<&str> = step.split_whitespace().collect();
    shortened(&words.join(" "))
}

fn shortened(step: &str) -> String {
    let unlabelled = step.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let text = unlabelled.map_or(step, |(_, instruction)| instruction);
    let Some((instruction, mut arguments)) = text.split_once(' ') else {
        return text.to_owned();
    };
    if !instruction.chars().all(|character| character.is_ascii_uppercase()) {
        return text.to_owned();
    }
    while arguments.starts_with("--")
        && let Some((_, rest)) = arguments.split_once(' ')
    {
        arguments = rest.trim_start();
    }
    if instruction != "RUN" {
        return format!("{instruction} {arguments}");
    }
    let excerpt = arguments.strip_prefix("<<").and_then(|rest| rest.split_once(" ("));
    let excerpt = excerpt.and_then(|(_, excerpt)| excerpt.strip_suffix(')'));
    without_variables(excerpt.unwrap_or(arguments)).to_owned()
}

/// Drops assignments in front of a command: `PIP_CERT=/ca.crt pip install` becomes `pip install`.
fn without_variables(mut command: &str) -> &str {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    while let Some((word, rest)) = command.split_once(' ')
        && let Some((name, value)) = word.split_once('=')
        && !name.is_empty()
        && name.chars().all(is_name)
        && !value.contains(['"', '\'', '$', '(', ';'])
        && rest.trim_start().starts_with(char::is_alphanumeric)
    {
        command = rest.trim_start();
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short() {
        let step = |name: &str, checks: &[&str]| {
            let checks = checks.iter().map(ToString::to_string).collect();
            Step { number: 1, name: name.to_owned(), checks }
        };
        let run = step("[server 3/9] RUN --mount=type=cache   A=1 pip    install", &[]);
        assert_eq!(line(&run), "[server 3/9] RUN pip install");
        let long = step(&format!("[1/2] RUN echo {}", "x ".repeat(300)), &[]);
        assert!(line(&long).ends_with('…') && line(&long).chars().count() == MAX_LINE);
        let check = step("[basegen-verify 1/2] RUN --network=none python -c 1", &["python"]);
        assert_eq!(line(&check), "check \"python\"");
        assert_eq!(instruction(&check), "[basegen-verify 1/2] RUN python -c 1");
        let checks = step("[basegen-verify 1/1] RUN failed() {", &["python", "user"]);
        assert_eq!(line(&checks), "checks \"python\", \"user\"");
        assert_eq!(
            line(&step("[server 1/9] FROM python:3.11", &[])),
            "[server 1/9] FROM python:3.11"
        );
        assert_eq!(line(&step("exporting to image", &[])), "exporting to image");
    }

    #[test]
    fn labels_flags_and_run_are_dropped() {
        for (step, expected) in [
            ("[server 3/9] RUN apt-get update", "apt-get update"),
            (
                "[2/2] RUN --mount=type=bind,source=a,target=/a --network=none pip install",
                "pip install",
            ),
            (
                "[linux/arm64 base 1/2] FROM docker.io/library/python:3.11",
                "FROM docker.io/library/python:3.11",
            ),
            ("[server 4/9] COPY --link --from=tools /a /b", "COPY /a /b"),
            ("[2/2] RUN <<EOF (set -e...)", "set -e..."),
            ("[2/2] RUN [\"pip\", \"--version\"]", "[\"pip\", \"--version\"]"),
            ("[internal] load metadata for docker.io/a", "load metadata for docker.io/a"),
            ("exporting to image", "exporting to image"),
            ("resolve", "resolve"),
            ("[2/2] RUN --mount=type=cache", "--mount=type=cache"),
            ("[2/2] RUN --mount=type=cache   PIP_CERT=/ca A=1 pip install", "pip install"),
            (
                "[2/2] RUN apt-get update     && apt-get install",
                "apt-get update && apt-get install",
            ),
            ("[2/2] RUN A=1 && echo", "A=1 && echo"),
            ("[2/2] RUN A=\"b c\" pip", "A=\"b c\" pip"),
        ] {
            assert_eq!(command(step), expected);
        }
    }
}
