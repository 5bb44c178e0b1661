//! Rules for values that are written into Dockerfiles, names and paths.
//!
//! Templates are trusted, values are not. A value cannot contain a line break, end a quoted string,
//! begin a substitution of the shell or of handlebars, or chain a command. [`crate::render`] checks
//! that no value becomes an instruction or a flag.

use serde_json::Value as Json;

/// Characters that end a word, a string or a command in a Dockerfile or shell, or begin a substitution.
const FORBIDDEN: &str = "`$\"'\\;&|<>(){}#";

/// The instructions of a Dockerfile.
pub(crate) const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Returns why `text` is not a valid axis value, if so. Axis values become parts of names and paths.
pub(super) fn refuse_value(text: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    if text.is_empty() {
        return Some("the value must not be empty".to_owned());
    }
    if let Some(found) = text.chars().find(|c| !c.is_ascii() || !is_allowed(*c as u8)) {
        return Some(format!(
            "expected letters, digits, `.`, `_`, `+` and `-`, found {}",
            describe(found)
        ));
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Some("the value must begin with a letter or a digit".to_owned());
    }
    None
}

/// Returns why `text` is not a valid value of a variable, if so.
pub(super) fn refuse_text(text: &str) -> Option<String> {
    if let Some(found) = text.chars().find(|c| is_invisible(*c) || FORBIDDEN.contains(*c)) {
        return Some(format!(
            "it contains {}, which could end a string or a command in a Dockerfile",
            describe(found)
        ));
    }
    let first = text.split_whitespace().next().unwrap_or_default();
    if INSTRUCTIONS.iter().any(|instruction| first.eq_ignore_ascii_case(instruction))
        && text.trim() != first
    {
        return Some(format!("it begins with the Dockerfile instruction `{first}`"));
    }
    None
}

/// Returns why the value of a variable, or a value within it, is not valid, if so.
pub(super) fn refuse_variable(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => refuse_text(text),
        Json::Array(values) => values.iter().find_map(refuse_variable),
        Json::Object(table) => table
            .iter()
            .find_map(|(key, value)| refuse_text(key).or_else(|| refuse_variable(value))),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

/// Returns why `name` is not a valid name of an axis or a variable, if so. Templates use these names.
pub(super) fn refuse_name(name: &str) -> Option<String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        || !name.bytes().all(is_word)
    {
        return Some(
            "expected lower-case letters, digits and `_`, beginning with a letter".to_owned(),
        );
    }
    None
}

/// Returns why `path` is not a valid path in the folder of the matrix file, if so.
pub(super) fn refuse_path(path: &str) -> Option<String> {
    if let Some(found) = path.chars().find(|c| is_invisible(*c) || *c == '\\') {
        return Some(format!("a path must not contain {}", describe(found)));
    }
    if path.is_empty() {
        return Some("the path must not be empty".to_owned());
    }
    if path.starts_with('/') {
        return Some("the path must be relative to the folder of the matrix file".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        return Some("the path must not leave the folder of the matrix file".to_owned());
    }
    None
}

/// Returns why `path` is not a valid path of another file of the project, if so. The project is often in a folder above its
/// images.
pub(super) fn refuse_project_path(path: &str) -> Option<String> {
    let parts = path.split('/').map(|part| if part == ".." { "." } else { part });
    refuse_path(&parts.collect::<Vec<_>>().join("/"))
}

/// Returns true if terminals or editors do not show a character: controls, line separators, zero-width and
/// direction marks, and noncharacters.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn describe(character: char) -> String {
    match character {
        '\n' => "a line break".to_owned(),
        ' ' => "a space".to_owned(),
        '`' => "a backtick".to_owned(),
        _ if is_invisible(character) => format!("U+{:04X}", u32::from(character)),
        _ => format!("`{character}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_values_are_refused() {
        for text in [
            "a\nRUN rm",
            "a`id`",
            "{{x}}",
            "$(id)",
            "a;b",
            "a&&b",
            "RUN id",
            "run id",
            "a\u{202e}b",
            "\u{1b}[31m",
            "a\0",
            "a\u{fdd1}b",
            "a\"b",
            "a'b",
            "a\\",
            "a # b",
        ] {
            assert!(refuse_text(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn ordinary_values_are_accepted() {
        for text in
            ["12.8", "curl git", "https://example.org/a?b=c", "copy", "python:3.11-slim", ""]
        {
            assert_eq!(refuse_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn axis_values_are_words() {
        for text in ["", "a b", "-a", "../x", "a/b", "ä", "a\n"] {
            assert!(refuse_value(text).is_some(), "{text:?}");
        }
        for text in ["3.9", "2.1.0+cu118", "server", "3.14t"] {
            assert_eq!(refuse_value(text), None, "{text:?}");
        }
    }

    #[test]
    fn paths_stay_in_the_folder() {
        for path in ["", "/etc", "../a", "a/../../b", "a\\b", "a\u{202e}b"] {
            assert!(refuse_path(path).is_some(), "{path:?}");
        }
    }
}
