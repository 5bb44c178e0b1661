//! Escapes texts for templates.

use std::fmt::Write as _;

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
}
