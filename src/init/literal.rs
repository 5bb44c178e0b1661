//! Texts in the places that a template has for them.

use crate::matrix::is_invisible;

/// `text`, so that a template renders to it.
///
/// A backslash before `{{` makes handlebars write the braces as they are, but not one that has
/// another before it: those of the text itself are written by an expression.
pub(super) fn literal(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let (before, after) = rest.split_at(at);
        let plain = before.trim_end_matches('\\');
        template.push_str(plain);
        for _ in 0..before.len() - plain.len() {
            template.push_str(r#"{{#with "\\"}}{{this}}{{/with}}"#);
        }
        template.push_str("\\{{");
        // A third brace belongs to the escape, and a fourth to the next.
        rest = &after[2..];
        if let Some(more) = rest.strip_prefix("{{") {
            template.push_str("{{");
            rest = more;
        }
    }
    template.push_str(rest);
    template
}

/// `text` as a value of `ENV`, in double quotes.
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

/// A command for `RUN`: a line as it is, unless it would be read as something else.
pub(super) fn command(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
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

/// Words as Docker reads them without a shell.
pub(super) fn list(words: &[&str]) -> String {
    literal(&serde_json::to_string(words).expect("texts are JSON"))
}

pub(super) fn refuse_invisible(text: &str) -> Result<(), String> {
    match text.chars().find(|c| is_invisible(*c)) {
        Some(found) => Err(format!("it holds U+{:04X}", u32::from(found))),
        None => Ok(()),
    }
}
