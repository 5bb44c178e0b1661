//! Escapes texts for templates and Dockerfiles.

use std::fmt::Write as _;

use super::credentials::refuse_in_command;
use crate::matrix::is_invisible;

/// Returns a template that renders to `text`.
///
/// A backslash before `{{` makes handlebars print the braces, unless another backslash precedes it or there are more than
/// four braces. An expression prints such runs.
pub(super) fn literal(text: &str) -> String {
    let is_special = |c: char| matches!(c, '{' | '\\');
    let mut template = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_special) {
        let length = rest[begin..].find(|c| !is_special(c)).unwrap_or(rest.len() - begin);
        let (run, after) = rest[begin..].split_at(length);
        template.push_str(&rest[..begin]);
        match run.len() {
            _ if !run.contains("{{") => template.push_str(run),
            2..=4 if !run.contains('\\') => {
                template.push('\\');
                template.push_str(run);
            }
            _ => {
                let run = run.replace('\\', "\\\\");
                write!(template, "{{{{#with \"{run}\"}}}}{{{{this}}}}{{{{/with}}}}")
                    .expect("writing to memory does not fail");
            }
        }
        rest = after;
    }
    template.push_str(rest);
    template
}

/// Quotes `text` as a value of `ENV`.
pub(super) fn quoted(text: &str) -> Result<String, String> {
    refuse_invisible(text)?;
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    Ok(literal(&quoted))
}

/// Converts a command for `RUN`. Lines that Docker would parse as options or JSON become an explicit shell call.
pub(super) fn command(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    refuse_in_command(text)?;
    let is_line = !text.contains(|c: char| c.is_control())
        && !text.ends_with('\\')
        && !text.starts_with(['[', '-', '#', '<'])
        && !text.contains("<<");
    if is_line {
        refuse_invisible(text)?;
        return Ok(literal(text));
    }
    refuse_invisible(&text.replace(['\n', '\t'], " "))?;
    Ok(list(&["/bin/sh", "-c", text]))
}

/// Writes words in the form that Docker runs without a shell.
pub(super) fn list(words: &[&str]) -> String {
    literal(&serde_json::to_string(words).expect("texts are JSON"))
}

pub(super) fn refuse_invisible(text: &str) -> Result<(), String> {
    text.chars()
        .find(|c| is_invisible(*c))
        .map_or(Ok(()), |found| Err(format!("it contains U+{:04X}", u32::from(found))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::parse;
    use crate::render::Renderer;

    /// Renders a template as the comment of a Dockerfile.
    fn rendered(template: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let dockerfiles = folder.path().join("dockerfiles");
        fs_err::create_dir(&dockerfiles).expect("a folder");
        fs_err::write(dockerfiles.join("t.hbs"), format!("FROM a\n#{template}")).expect("a file");
        let matrix = "[image]\nrepository = \"a/b\"\ntag = \"{{variant}}\"\ndockerfile = \"t.hbs\"\n\
             platforms = [\"linux/amd64\"]\n[axes]\nx = [\"y\"]\n";
        let matrix = parse(&folder.path().join("matrix.toml"), matrix).expect("a matrix");
        let mut renderer = Renderer::new(&matrix).expect("templates");
        let contexts = renderer.render_all(&[&matrix.variants[0]]).expect("a Dockerfile");
        contexts[0].dockerfile.strip_prefix("FROM a\n#").expect("the beginning").to_owned()
    }

    #[test]
    fn a_text_renders_to_itself() {
        let mut texts: Vec<String> = [
            "",
            "{{x}}",
            "{{{x}}}",
            "{{#if x}}",
            "{{!-- x --}}",
            "{{{{raw}}}} {{{{/raw}}}}",
            "a \\{{b",
            "a\\\\{{b}}\\",
            "{{\n# {{\r\n# }}",
            "{{~ x ~}}",
            "&<>\"'`",
            "ä{{ö}}",
            "{ {",
            "{{> partial}}",
        ]
        .map(str::to_owned)
        .into();
        // Every run of braces and backslashes that is not too long.
        for number in 0..3_u32.pow(7) {
            let digit = |place: u32| ['{', '\\', 'x'][(number / 3_u32.pow(place) % 3) as usize];
            texts.push((0..7).map(digit).collect());
        }
        let together = texts.join("\n#");
        assert_eq!(rendered(&literal(&together)), together);
        for text in &texts[..14] {
            assert_eq!(rendered(&literal(text)), *text, "{text:?}");
        }
    }

    #[test]
    fn a_command_stays_one_step() {
        let command = |text| command(text).expect(text);
        assert_eq!(command(" a && b "), "a && b");
        for text in ["a\nb", "a \\", "[\"a\"]", "--mount=x a", "cat <<EOF", "# a"] {
            let step = command(text);
            assert!(step.starts_with("[\"/bin/sh\",\"-c\",") && !step.contains('\n'), "{step}");
        }
        assert!(super::command("\u{202e}").is_err());
        assert!(super::command(" ").is_err());
    }
}
