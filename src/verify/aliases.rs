//! Aliases that commands in the image print (`[[alias]]`), as the last stage of a Dockerfile.
//!
//! The stage writes what each command prints to a file, which the client reads from the result of the build.

use std::fmt::Write as _;

use super::{append_stage, quoted};
use crate::image::Tag;

/// The stage of the commands.
const STAGE: &str = "basegen-alias";

/// Appends `commands` to `dockerfile`. `target` is the stage of the image; `None` is the last. Returns `None` if there are
/// none.
#[must_use]
pub fn with_aliases(dockerfile: &str, target: Option<&str>, commands: &[String]) -> Option<String> {
    if commands.is_empty() {
        return None;
    }
    let (mut files, mut script) = (String::new(), Vec::new());
    for (number, command) in commands.iter().enumerate() {
        let file = alias_file(number);
        // Every user of an image can write to a file with this mode.
        let _ = write!(files, "COPY --chmod=666 <<EOF {file}\n\nEOF\n");
        script.push(format!("(eval {}) > {file}", quoted(command.trim())));
    }
    append_stage(
        dockerfile,
        target,
        STAGE,
        &format!("{files}RUN --network=none {}\n", script.join(" && ")),
    )
}

/// Returns the path of the file with the output of the command at `index`.
#[must_use]
pub fn alias_file(index: usize) -> String {
    format!("/.basegen-alias-{index}")
}

/// Returns the tag that `command` has printed, once for each platform. An error is the reason.
pub fn printed_alias(command: &str, outputs: &[Vec<u8>]) -> Result<Tag, String> {
    let printed = |output: &[u8]| -> Result<Tag, String> {
        let text = String::from_utf8_lossy(output);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [line] => line.parse().map_err(|_| {
                format!("`{command}` printed `{}`, which is not a tag", shortened(line))
            }),
            [] => Err(format!("`{command}` printed nothing instead of a tag")),
            lines => Err(format!("`{command}` printed {} lines instead of one tag", lines.len())),
        }
    };
    let mut tags = outputs.iter().map(|output| printed(output)).collect::<Result<Vec<_>, _>>()?;
    tags.dedup();
    match tags.as_slice() {
        [tag] => Ok(tag.clone()),
        [one, other, ..] => {
            Err(format!("`{command}` printed `{one}` on one platform and `{other}` on another"))
        }
        [] => Err(format!("`{command}` ran on no platform")),
    }
}

/// Returns the beginning of a line, without control characters.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 80;
    line.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_container_prints_all_aliases() {
        let commands = ["python --version | cut -d' ' -f2".to_owned(), "echo x # y".to_owned()];
        insta::assert_snapshot!(with_aliases("FROM b\nUSER 1\n", None, &commands).expect("a stage"), @r#"
        FROM b AS basegen-image
        USER 1


        FROM basegen-image AS basegen-alias
        COPY --chmod=666 <<EOF /.basegen-alias-0

        EOF
        COPY --chmod=666 <<EOF /.basegen-alias-1

        EOF
        RUN --network=none (eval 'python --version | cut -d'\'' '\'' -f2') > /.basegen-alias-0 && (eval 'echo x # y') > /.basegen-alias-1
        "#);
        assert_eq!(with_aliases("FROM b\n", None, &[]), None);
    }

    #[test]
    fn a_command_prints_exactly_one_tag() {
        let printed = |outputs: &[&str]| {
            let outputs: Vec<Vec<u8>> =
                outputs.iter().map(|text| text.as_bytes().to_vec()).collect();
            printed_alias("version", &outputs).map_or_else(|reason| reason, |tag| tag.to_string())
        };
        assert_eq!(printed(&["3.13.1\n"]), "3.13.1");
        assert_eq!(printed(&[" 3.13.1 \r\n\n", "3.13.1"]), "3.13.1");
        insta::assert_snapshot!(
            [
                printed(&[""]),
                printed(&["3.13.1\n3.13\n"]),
                printed(&["Python 3.13.1"]),
                printed(&["\u{1b}[31m"]),
                printed(&["3.13.1", "3.13.0"]),
                printed(&[&"x".repeat(200)]),
            ]
            .join("\n"),
            @r"
        `version` printed nothing instead of a tag
        `version` printed 2 lines instead of one tag
        `version` printed `Python 3.13.1`, which is not a tag
        `version` printed `[31m`, which is not a tag
        `version` printed `3.13.1` on one platform and `3.13.0` on another
        `version` printed `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`, which is not a tag
        "
        );
    }
}
