//! Imports a Dockerfile. It becomes a template that renders to the same text; only its Python version becomes the axis
//! `python`.

use std::ops::Range;
use std::path::Path;

use super::ImportedImage;
use super::error::InitError;
use super::literal::literal;
use super::reader::Notes;
use super::template::{is_python, python_of};
use crate::matrix::{Diagnostic, SourceError, SourceFile};
use crate::render::{BuildContext, Instruction, Misuse, check_images, flags, parse, sources};

/// Returns true for arguments that the engine sets: platforms, proxies and its own settings.
///
/// Reference: <https://docs.docker.com/reference/dockerfile/#predefined-args>
fn is_predefined(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    name.starts_with("TARGET")
        || name.starts_with("BUILDKIT_")
        || name.starts_with("BUILDPLATFORM")
        || name.starts_with("BUILDOS")
        || name.starts_with("BUILDARCH")
        || name.starts_with("BUILDVARIANT")
        || upper.ends_with("_PROXY")
}

pub(super) fn read(path: &Path, text: &str, imported: &mut ImportedImage) -> Result<(), InitError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = SourceFile::new(path, text);
    let refuse = |misuse: Misuse| {
        let lines = text.split_inclusive('\n').take(misuse.line.saturating_sub(1));
        let begin = lines.map(str::len).sum::<usize>();
        let end = text[begin..].find('\n').map_or(text.len(), |length| begin + length);
        SourceError::new(&source, vec![Diagnostic::new(begin..end.max(begin + 1), misuse.what, "")])
    };
    let instructions = parse(text).map_err(refuse)?;
    check_images(text, &instructions).map_err(refuse)?;
    let mut notes = Notes::default();
    notes.import("the Dockerfile", 1, format!("a template, {} instructions", instructions.len()));
    let places = pythons(&instructions, imported, &mut notes);
    for instruction in &instructions {
        for found in sources(std::slice::from_ref(instruction)).map_err(refuse)? {
            copy(instruction, found.path, imported, &mut notes);
        }
        arguments(instruction, &mut notes);
    }
    let context = BuildContext { dockerfile: text.to_owned(), ..BuildContext::default() };
    for id in context.secrets() {
        if id != "ca_certificates" {
            let line = instructions.iter().find(|found| found.arguments.contains(&id));
            let to = format!("`[build.secrets]`, from the variable `{}`", secret_variable(&id));
            notes.import(&format!("secret {id}"), line.map_or(1, |found| found.line), to);
            imported.secrets.push(id);
        }
    }
    imported.findings = notes.findings();
    imported.template = template(text, &places);
    Ok(())
}

/// Returns the default environment variable of a secret.
pub(super) fn secret_variable(id: &str) -> String {
    let name =
        id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    // Names of variables do not begin with a digit.
    let before = id.starts_with(|c: char| c.is_ascii_digit()).then_some('_');
    before.into_iter().chain(name).collect()
}

/// Replaces `places` of `text` by `{{python}}`.
fn template(text: &str, places: &[Range<usize>]) -> String {
    let mut template = String::new();
    let mut at = 0;
    for place in places {
        template.push_str(&literal(&text[at..place.start]));
        template.push_str("{{python}}");
        at = place.end;
    }
    template.push_str(&literal(&text[at..]));
    template
}

/// Finds the Python version in the tags of base images and in the arguments that these tags use.
fn pythons(
    instructions: &[Instruction],
    imported: &mut ImportedImage,
    notes: &mut Notes,
) -> Vec<Range<usize>> {
    let mut places: Vec<Range<usize>> = Vec::new();
    let before_first = instructions.iter().take_while(|found| found.keyword == "ARG");
    let globals: Vec<&Instruction> = before_first.collect();
    for from in instructions.iter().filter(|found| found.keyword == "FROM") {
        let Some(image) = flags(&from.arguments).1.split_whitespace().next() else { continue };
        let found = match python_of(image) {
            Some(version) => {
                let of_image = from.arguments.len() - flags(&from.arguments).1.len();
                let of_tag = image.rfind(':').map_or(0, |colon| colon + 1);
                let begin = from.place(of_image + of_tag);
                Some((begin..begin + version.len(), version))
            }
            None => argument_of(image).and_then(|name| global(&globals, name)),
        };
        let Some((place, version)) = found else { continue };
        match imported.pythons.first() {
            Some(first) if *first != version => {
                let reason = format!("unchanged: the axis `python` begins with {first}");
                notes.skip(&format!("FROM {image}"), from.line, reason);
                continue;
            }
            Some(_) => {}
            None => imported.pythons.push(version.clone()),
        }
        notes.import(&format!("FROM {image}"), from.line, format!("axis `python`: {version}"));
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_by_key(|place| place.start);
    places
}

/// Returns the argument that is the tag of `python` or its beginning: `python:${VERSION}-slim`.
fn argument_of(image: &str) -> Option<&str> {
    let (name, tag) = image.split_once(":$")?;
    if name.rsplit('/').next() != Some("python") {
        return None;
    }
    if let Some(rest) = tag.strip_prefix('{') {
        return rest.split_once('}').map(|(name, _)| name);
    }
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    Some(&tag[..end.unwrap_or(tag.len())])
}

/// Finds the default of a global argument, if it is a Python version. The last default counts.
fn global(globals: &[&Instruction], name: &str) -> Option<(Range<usize>, String)> {
    let gives = |word: &str| word.split_once('=').is_some_and(|(found, _)| found == name);
    let argument =
        globals.iter().rfind(|argument| argument.arguments.split_whitespace().any(gives))?;
    let (found, value) = argument.arguments.split_once('=')?;
    let version = value.trim().trim_matches(['"', '\'']);
    if found.trim() != name || !is_python(version) {
        return None;
    }
    let begin = argument.place(argument.arguments.rfind(version)?);
    Some((begin..begin + version.len(), version.to_owned()))
}

fn copy(instruction: &Instruction, path: String, imported: &mut ImportedImage, notes: &mut Notes) {
    let what = format!("{} {path}", instruction.keyword);
    if path.is_empty() {
        let reason = "copies the whole context, which is now dockerfiles/: add the files that the image needs";
        notes.skip(&format!("{} .", instruction.keyword), instruction.line, reason);
        return;
    }
    notes.import(&what, instruction.line, format!("dockerfiles/{path}, a copy"));
    if !imported.copies.iter().any(|(_, to)| *to == path) {
        imported.copies.push((path.clone(), path));
    }
}

/// Skips arguments without a default: basegen passes no build arguments.
fn arguments(instruction: &Instruction, notes: &mut Notes) {
    if instruction.keyword != "ARG" {
        return;
    }
    for name in instruction.arguments.split_whitespace().filter(|word| !word.contains('=')) {
        if !is_predefined(name) {
            let reason = "has no default, and basegen passes no build arguments: add a default to the template";
            notes.skip(&format!("ARG {name}"), instruction.line, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> ImportedImage {
        let mut imported = ImportedImage::default();
        read(Path::new("Dockerfile"), text, &mut imported).expect(text);
        imported
    }

    #[test]
    fn the_last_default_of_an_argument_counts() {
        let imported = import("ARG V=3.10\nARG V=3.11\nFROM python:$V\n");
        assert_eq!(imported.pythons, ["3.11"]);
        assert_eq!(imported.template, "ARG V=3.10\nARG V={{python}}\nFROM python:$V\n");
        for last in ["ARG V=latest", "ARG A=b V=3.12"] {
            let imported = import(&format!("ARG V=3.10\n{last}\nFROM python:$V\n"));
            assert!(imported.pythons.is_empty(), "{last}");
            assert!(!imported.template.contains("{{python}}"), "{last}");
        }
    }

    #[test]
    fn the_variable_of_a_secret_has_a_valid_name() {
        for (id, variable) in [("a-b.c", "A_B_C"), ("1password", "_1PASSWORD"), ("_x", "_X")] {
            assert_eq!(secret_variable(id), variable);
        }
    }
}
