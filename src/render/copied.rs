//! Finds the files that a Dockerfile copies or mounts from its context.

use super::dockerfile::{Instruction, Misuse};
use super::flags::{flags, mount_option};
use super::here_document::{HereDocument, list};
use super::words::unquoted;

/// A file, a folder or a wildcard in the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path in the context, without `./` and a final `/`; empty for the root.
    pub(crate) path: String,
    /// Whether its parent folders are copied too (`--parents`), and `**` matches folders.
    pub(crate) parents: bool,
    /// The line of the instruction, from 1.
    pub(crate) line: usize,
}

/// Returns the sources in the context of all `COPY`, `ADD` and bind mounts.
pub(crate) fn sources(instructions: &[Instruction]) -> Result<Vec<Source>, Misuse> {
    let mut sources = Vec::new();
    for instruction in instructions {
        let paths = match instruction.keyword.as_str() {
            "COPY" | "ADD" => copied(instruction)?,
            "RUN" => mounted(instruction)?,
            _ => continue,
        };
        let line = instruction.line;
        let parents = flags(&instruction.arguments).0.iter().any(|flag| {
            let value = flag.strip_prefix("--parents");
            value.is_some_and(|value| value.is_empty() || value.eq_ignore_ascii_case("=true"))
        });
        for path in paths {
            sources.push(Source { path: checked(&path, line)?, parents, line });
        }
    }
    Ok(sources)
}

fn copied(instruction: &Instruction) -> Result<Vec<String>, Misuse> {
    if flags(&instruction.arguments).0.iter().any(|flag| flag.starts_with("--from=")) {
        return Ok(Vec::new());
    }
    let is_add = instruction.keyword == "ADD";
    let mut paths = added(instruction)?;
    paths.retain(|path| !(is_add && is_remote(path)));
    Ok(paths)
}

/// Returns true if a source of an `ADD` is not in the context.
pub(super) fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

/// Returns the sources of a `COPY` or an `ADD`, without here-documents.
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
    let mut paths = Vec::new();
    for (_, word) in sources.iter().enumerate().filter(|(at, _)| !is_here(*at)) {
        let path = unquoted(word, instruction.escape).ok_or_else(|| {
            refuse(format!(
                "the quote in `{word}` is not closed; write paths with spaces in a list, `[\"a b\", \"/\"]`"
            ))
        })?;
        paths.push(path);
    }
    Ok(paths)
}

fn mounted(instruction: &Instruction) -> Result<Vec<String>, Misuse> {
    let mut sources = Vec::new();
    for flag in flags(&instruction.arguments).0 {
        let Some(options) = flag.strip_prefix("--mount=") else {
            continue;
        };
        let is_bind = mount_option(options, &["type"]).is_none_or(|kind| kind == "bind");
        if is_bind && mount_option(options, &["from"]).is_none() {
            let source = mount_option(options, &["source", "src"]).ok_or_else(|| Misuse {
                line: instruction.line,
                what: "the mount binds the whole context; add a `source`".to_owned(),
            })?;
            sources.push(source.to_owned());
        }
    }
    Ok(sources)
}

/// Removes `.` and repeated `/` from a path.
pub(super) fn normalized(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

fn checked(path: &str, line: usize) -> Result<String, Misuse> {
    if path.contains('$') {
        let what =
            format!("`{path}` is not known before the build; write the path without variables");
        return Err(Misuse { line, what });
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(Misuse { line, what: format!("`{path}` leaves the folder of the templates") });
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let instructions = parse(&format!("FROM a\n{text}\n")).expect(text);
        sources(&instructions).expect(text).into_iter().map(|source| source.path).collect()
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
        assert_eq!(sources(&parse(text).expect(text)).expect(text)[0].path, "ab");
    }

    #[test]
    fn unknown_and_outside_paths_are_refused() {
        for text in [
            "COPY $X /",
            "COPY ../x /",
            "RUN --mount=target=/x y",
            "COPY ['a', '/']",
            "COPY \"a b\" /",
        ] {
            let instructions = parse(&format!("FROM a\n{text}\n")).expect(text);
            assert_eq!(sources(&instructions).expect_err(text).line, 2, "{text}");
        }
    }
}
