//! Finds the files that a Dockerfile copies or mounts from its context and from named contexts.

use super::arguments::{Scope, UNKNOWN};
use super::dockerfile::{Instruction, Misuse};
use super::flags::{flags, mount_option};
use super::here_document::{HereDocument, list};
use super::options::DockerfileOptions;
use super::upstream::is_remote;
use super::words::unquoted;

/// A file, a folder or a wildcard in a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The name of the context; `None` is the main one.
    pub(crate) context: Option<String>,
    /// The path in the context, without `./` and a final `/`; empty for the root.
    pub(crate) path: String,
    /// Whether its parent folders are copied too (`--parents`), and `**` matches folders.
    pub(crate) parents: bool,
    /// The line of the instruction, from 1.
    pub(crate) line: usize,
}

/// Returns the sources in contexts of all `COPY`, `ADD` and bind mounts, and the named contexts of all `FROM`.
pub(crate) fn sources(
    instructions: &[Instruction],
    options: &DockerfileOptions,
) -> Result<Vec<Source>, Misuse> {
    let mut sources = Vec::new();
    let mut scope = Scope::new(instructions, &options.arguments);
    for instruction in instructions {
        let is_context = |name: &str| options.contexts.contains_key(name);
        let found = match instruction.keyword.as_str() {
            "COPY" | "ADD" => copied(instruction, &scope, is_context)?,
            "RUN" => mounted(instruction, &scope, is_context),
            "FROM" => based(instruction, &scope, is_context),
            _ => Vec::new(),
        };
        let parents = flags(&instruction.arguments).0.iter().any(|flag| {
            let value = flag.strip_prefix("--parents");
            value.is_some_and(|value| value.is_empty() || value.eq_ignore_ascii_case("=true"))
        });
        for (context, path) in found {
            let path = within(&path);
            sources.push(Source { context, path, parents, line: instruction.line });
        }
        scope.pass(instruction);
    }
    Ok(sources)
}

/// A path in a named context, or in the main one.
type Path = (Option<String>, String);

fn copied(
    instruction: &Instruction,
    scope: &Scope<'_>,
    is_context: impl Fn(&str) -> bool,
) -> Result<Vec<Path>, Misuse> {
    let from = flags(&instruction.arguments).0.iter().find_map(|flag| flag.strip_prefix("--from="));
    let context = match from {
        Some(name) if is_context(name) => Some(name.to_owned()),
        // Another stage or an image.
        Some(_) => return Ok(Vec::new()),
        None => None,
    };
    let is_add = instruction.keyword == "ADD";
    let mut paths = Vec::new();
    for word in added(instruction)? {
        let path = source(&word, instruction, scope);
        if is_add && path.starts_with(UNKNOWN) {
            let what = format!(
                "`{word}` is not known before the build, and may be a URL; \
                 set the argument in `args`, or write the source without variables"
            );
            return Err(Misuse { line: instruction.line, what });
        }
        if !is_add || !is_remote(&path) {
            paths.push((context.clone(), path));
        }
    }
    Ok(paths)
}

fn mounted(
    instruction: &Instruction,
    scope: &Scope<'_>,
    is_context: impl Fn(&str) -> bool,
) -> Vec<Path> {
    let mut sources = Vec::new();
    for flag in flags(&instruction.arguments).0 {
        let Some(options) = flag.strip_prefix("--mount=") else {
            continue;
        };
        let is_bind = mount_option(options, &["type"]).is_none_or(|kind| kind == "bind");
        let from = mount_option(options, &["from"]);
        if is_bind && from.is_none_or(&is_context) {
            // Without a source, the whole context.
            let source = mount_option(options, &["source", "src"]).unwrap_or_default();
            sources.push((from.map(str::to_owned), scope.expand(source)));
        }
    }
    sources
}

fn based(
    instruction: &Instruction,
    scope: &Scope<'_>,
    is_context: impl Fn(&str) -> bool,
) -> Vec<Path> {
    let base = scope.base(instruction);
    if is_context(&base) { vec![(Some(base), String::new())] } else { Vec::new() }
}

/// Returns a source of a `COPY` or an `ADD` without quotes, and with names replaced by their values.
pub(super) fn source(word: &str, instruction: &Instruction, scope: &Scope<'_>) -> String {
    let plain = unquoted(word, instruction.escape).filter(|_| !word.contains('$'));
    plain.unwrap_or_else(|| scope.expand(word))
}

/// Returns the sources of a `COPY` or an `ADD` as written, without here-documents.
pub(super) fn added(instruction: &Instruction) -> Result<Vec<String>, Misuse> {
    let rest = flags(&instruction.arguments).1;
    let refuse = |what: String| Misuse { line: instruction.line, what };
    let words = match list(rest) {
        Some(words) => words,
        // Docker parses an invalid list as words, which may be wildcards such as `[a-b]*`.
        None if rest.starts_with('[') && rest.ends_with(']') => {
            let what = "the list is not valid JSON; write its strings in double quotes";
            return Err(refuse(what.to_owned()));
        }
        None => rest.split_whitespace().map(str::to_owned).collect(),
    };
    let Some((_, sources)) = words.split_last() else {
        return Ok(Vec::new());
    };
    let is_here = |at: usize| {
        let before = at.checked_sub(1).map(|before| sources[before].as_str());
        HereDocument::parse(&sources[at]).is_some()
            || HereDocument::is_begun(&sources[at])
            || before.is_some_and(HereDocument::is_begun)
    };
    let mut written = Vec::new();
    for (_, word) in sources.iter().enumerate().filter(|(at, _)| !is_here(*at)) {
        if unquoted(word, instruction.escape).is_none() {
            return Err(refuse(format!(
                "the quote in `{word}` is not closed; write paths with spaces in a list, `[\"a b\", \"/\"]`"
            )));
        }
        written.push(word.clone());
    }
    Ok(written)
}

/// Returns a path in a context, like Docker does: `..` does not lead out of it. Of a path with a part that only the
/// engine knows, returns the folder above that part.
pub(super) fn within(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part if part.contains(UNKNOWN) => break,
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Removes `.` and repeated `/` from a path.
pub(super) fn normalized(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::super::options::NamedContext;
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        paths_with(text, &DockerfileOptions::default())
    }

    fn paths_with(text: &str, options: &DockerfileOptions) -> Vec<String> {
        let instructions = parse(&format!("FROM a\n{text}\n")).expect(text);
        let sources = sources(&instructions, options).expect(text).into_iter();
        let shown = sources.map(|Source { context, path, .. }| match context {
            Some(name) => format!("{name}: {path}"),
            None => path,
        });
        shown.collect()
    }

    #[test]
    fn only_sources_in_the_context_are_found() {
        assert_eq!(paths("COPY a ./b/ /"), ["a", "b"]);
        assert_eq!(paths("COPY --link --chmod=755 a /a"), ["a"]);
        assert_eq!(paths("COPY [\"a b\", \"/\"]"), ["a b"]);
        assert_eq!(paths("COPY --from=x a /"), [""; 0]);
        assert_eq!(paths("ADD https://example.org/x y /"), ["y"]);
        assert_eq!(paths("COPY <<EOF /x\nEOF"), [""; 0]);
        assert_eq!(paths("RUN --mount=type=bind,source=r.txt,target=/r.txt pip"), ["r.txt"]);
        assert_eq!(paths("RUN --mount=src=r.txt,target=/r.txt pip"), ["r.txt"]);
        assert_eq!(
            paths("RUN --mount=type=bind,from=x,target=/x --mount=type=cache,target=/c y"),
            [""; 0]
        );
        assert_eq!(paths("COPY . /"), [""]);
    }

    #[test]
    fn sources_are_parsed_like_docker_does() {
        assert_eq!(paths("COPY 'a.txt' \"b\".txt /f/"), ["a.txt", "b.txt"]);
        assert_eq!(paths("COPY [a-b]*.txt /x/"), ["[a-b]*.txt"]);
        assert_eq!(paths("COPY [\"'a b'\", \"/\"]"), ["a b"]);
        assert_eq!(paths("COPY <<robots.txt a 3<<'B' /x/\n\nrobots.txt\nB"), ["a"]);
        assert_eq!(paths("COPY << EOF a /x/\nEOF"), ["a"]);
        assert_eq!(paths("ADD 'https://example.org/x' y /"), ["y"]);
        let text = "# escape=`\nFROM a\nCOPY a`b /\n";
        let options = DockerfileOptions::default();
        assert_eq!(sources(&parse(text).expect(text), &options).expect(text)[0].path, "ab");
        assert_eq!(paths("COPY ../x /a/.././../b/ ./c/../d /"), ["x", "b", "d"]);
        assert_eq!(paths("RUN --mount=target=/x y"), [""]);
    }

    #[test]
    fn arguments_in_paths_are_expanded() {
        let arguments = [("DIR", "given"), ("URL", "https://example.org/x")];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = DockerfileOptions { arguments: arguments.into(), ..Default::default() };
        let with =
            |text: &str| paths_with(&format!("ARG DIR=default URL\nENV APP=app\n{text}"), &options);
        assert_eq!(with("COPY $DIR/${APP}.py \"$APP\" /"), ["given/app.py", "app"]);
        assert_eq!(with("ADD [\"$URL\", \"$DIR\", \"/\"]"), ["given"]);
        assert_eq!(with("RUN --mount=target=/x,source=${DIR} y"), ["given"]);
        // The folder is copied whole if the base image may set the name.
        assert_eq!(with("COPY a/b/$HOME/c $HOME.txt /"), ["a/b", ""]);
    }

    #[test]
    fn sources_in_named_contexts_are_found() {
        let contexts =
            ["one", "two"].map(|name| (name.to_owned(), NamedContext::Files(Vec::new())));
        let options = DockerfileOptions { contexts: contexts.into(), ..Default::default() };
        let text = "COPY --from=one a b /\nRUN --mount=from=two,target=/t x\nCOPY --from=a c /\nFROM two\n";
        assert_eq!(paths_with(text, &options), ["one: a", "one: b", "two: ", "two: "]);
    }

    #[test]
    fn unreadable_sources_are_refused() {
        for text in ["ADD $X /", "COPY ['a', '/']", "COPY \"a b\" /"] {
            let instructions = parse(&format!("FROM a\n{text}\n")).expect(text);
            let refused = sources(&instructions, &DockerfileOptions::default());
            assert_eq!(refused.expect_err(text).line, 2, "{text}");
        }
    }
}
