//! Imports a Dockerfile. It becomes a template that renders to the same text; only its Python version becomes the axis
//! `python`.

use std::ops::Range;

use super::base::{is_python, python_of};
use super::error::InitError;
use super::literal::literal;
use super::{ImportedImage, PATHS, Python};
use crate::matrix::{Diagnostic, SourceError, SourceFile};
use crate::render::{
    BuildContext, DockerfileOptions, Instruction, Misuse, check_images, check_source, flags, parse,
    sources,
};

/// Imports the Dockerfile in `source`. Returns its template.
pub(super) fn read(source: &SourceFile, imported: &mut ImportedImage) -> Result<String, InitError> {
    let text = &*source.text;
    let diagnostic = |misuse: Misuse| {
        let lines = text.split_inclusive('\n').take(misuse.line.saturating_sub(1));
        let begin = lines.map(str::len).sum::<usize>();
        let end = text[begin..].find('\n').map_or(text.len(), |length| begin + length);
        Diagnostic::new(begin..end.max(begin + 1), misuse.what, "")
    };
    let refuse = |misuse: Misuse| SourceError::new(source, vec![diagnostic(misuse)]);
    let instructions = parse(text).map_err(refuse)?;
    let args = imported.settings.get("args").and_then(toml::Value::as_table);
    let args = args.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let arguments = args.map(|(name, value)| (name.clone(), value.to_owned())).collect();
    let options = DockerfileOptions { arguments, ..DockerfileOptions::default() };
    check_images(text, &instructions, &options).map_err(refuse)?;
    let line = |instruction: &Instruction| source.line(0) + instruction.line - 1;
    let places = pythons(&instructions, line, imported);
    for found in sources(&instructions, &options).map_err(refuse)? {
        check_source(&imported.context, &found)
            .map_err(|misuse| SourceError::new(source, vec![diagnostic(misuse).help(PATHS)]))?;
        let instruction = instructions.iter().rfind(|instruction| instruction.line <= found.line);
        let keyword = instruction.map_or("COPY", |instruction| &instruction.keyword);
        let path = if found.path.is_empty() { "." } else { &found.path };
        let what = format!("{keyword} {path}");
        imported.import(&what, instruction.map_or(1, line), "`context`");
        imported.sources.push(found.path);
    }
    let context = BuildContext { dockerfile: text.to_owned(), ..BuildContext::default() };
    for id in context.secrets() {
        let is_known = imported.secrets.iter().any(|(known, _)| *known == id);
        if id != "ca_certificates" && !is_known {
            let place = instructions.iter().find(|found| found.arguments.contains(&id));
            let variable = secret_variable(&id);
            let to = format!("`[build.secrets]`, from the variable `{variable}`");
            imported.import(&format!("secret {id}"), place.map_or(1, line), to);
            imported.secrets.push((id, variable));
        }
    }
    Ok(template(text, &places))
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

/// Where a version of Python is.
#[derive(PartialEq)]
enum Place<'a> {
    Text(Range<usize>),
    /// A build argument with this name.
    Argument(&'a str),
}

/// Finds the Python version in the tags of base images and in the arguments that these tags use. Returns its places in the
/// text; build arguments get the value `{{python}}`.
fn pythons(
    instructions: &[Instruction],
    line: impl Fn(&Instruction) -> usize,
    imported: &mut ImportedImage,
) -> Vec<Range<usize>> {
    let mut python: Option<String> = None;
    let mut places: Vec<Place<'_>> = Vec::new();
    let given = imported.settings.get("args").and_then(toml::Value::as_table).cloned();
    let before_first = instructions.iter().take_while(|found| found.keyword == "ARG");
    let globals: Vec<&Instruction> = before_first.collect();
    for from in instructions.iter().filter(|found| found.keyword == "FROM") {
        let Some(image) = flags(&from.arguments).1.split_whitespace().next() else { continue };
        let found = match python_of(image) {
            Some(version) => {
                let of_image = from.arguments.len() - flags(&from.arguments).1.len();
                let of_tag = image.rfind(':').map_or(0, |colon| colon + 1);
                let begin = from.place(of_image + of_tag);
                Some((Place::Text(begin..begin + version.len()), version))
            }
            None => argument_of(image).and_then(|name| {
                let given = given.as_ref().and_then(|given| given.get(name)?.as_str());
                match given {
                    Some(version) if is_python(version) => {
                        Some((Place::Argument(name), version.to_owned()))
                    }
                    Some(_) => None,
                    None => global(&globals, name).map(|(at, version)| (Place::Text(at), version)),
                }
            }),
        };
        let Some((place, version)) = found else { continue };
        match &python {
            Some(first) if *first != version => {
                let reason = format!("unchanged: the axis `python` is {first}");
                imported.import(&format!("FROM {image}"), line(from), reason);
                continue;
            }
            Some(_) => {}
            None => python = Some(version.clone()),
        }
        imported.import(&format!("FROM {image}"), line(from), format!("axis `python`: {version}"));
        if !places.contains(&place) {
            places.push(place);
        }
    }
    imported.python = python.map_or(Python::OfBase, Python::Version);
    let mut texts = Vec::new();
    for place in places {
        match place {
            Place::Text(range) => texts.push(range),
            Place::Argument(name) => {
                if let Some(toml::Value::Table(args)) = imported.settings.get_mut("args") {
                    args.insert(name.to_owned(), "{{python}}".into());
                }
            }
        }
    }
    texts.sort_by_key(|range| range.start);
    texts
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Returns the version of Python and the template.
    fn import(text: &str) -> (Python, String) {
        let mut imported = ImportedImage::default();
        let source = SourceFile::new(Path::new("Dockerfile"), text);
        let template = read(&source, &mut imported).expect(text);
        (imported.python, template)
    }

    #[test]
    fn the_last_default_of_an_argument_counts() {
        let (python, template) = import("ARG V=3.10\nARG V=3.11\nFROM python:$V\n");
        assert_eq!(python, Python::Version("3.11".to_owned()));
        assert_eq!(template, "ARG V=3.10\nARG V={{python}}\nFROM python:$V\n");
        for last in ["ARG V=latest", "ARG A=b V=3.12"] {
            let (python, template) = import(&format!("ARG V=3.10\n{last}\nFROM python:$V\n"));
            assert_eq!(python, Python::OfBase, "{last}");
            assert!(!template.contains("{{python}}"), "{last}");
        }
    }

    #[test]
    fn the_variable_of_a_secret_has_a_valid_name() {
        for (id, variable) in [("a-b.c", "A_B_C"), ("1password", "_1PASSWORD"), ("_x", "_X")] {
            assert_eq!(secret_variable(id), variable);
        }
    }
}
