//! Locates syntax errors and names in the tags of a template.
//!
//! Handlebars reports where its parser stopped: for an unclosed block, at the end of the file. [`diagnose`] matches
//! blocks itself and points to the opening tag. [`find`] locates a name.

use std::ops::Range;

use crate::matrix::Diagnostic;

/// A tag, `{{…}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    span: Range<usize>,
    kind: Kind,
    /// The name of the block, or the first word.
    name: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `{{#if …}}`
    Open,
    /// `{{#> …}}` and `{{#*inline …}}`, which have no `{{else}}`.
    OpenPartial,
    /// `{{/if}}`
    Close,
    /// `{{else}}`
    Else,
    /// `{{else if …}}`
    ElseIf,
    Other,
    /// A comment, or a raw block with the text in it.
    Skipped,
}

struct Block<'a> {
    tag: Tag<'a>,
    has_else: bool,
}

/// Explains why `text` cannot be compiled. The parser stopped at the byte `at`.
pub(super) fn diagnose(text: &str, at: usize) -> Vec<Diagnostic> {
    match structure(text) {
        Err(diagnostic) => vec![*diagnostic],
        Ok(open) if open.is_empty() => vec![unreadable(text, at)],
        Ok(open) => open.iter().map(|block| unclosed(&block.tag)).collect(),
    }
}

/// Finds the first use of `name` in a tag of `text`, at or after the tag at `from`.
pub(super) fn find(text: &str, name: &str, from: usize) -> Option<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let places = Tags::new(text).map_while(Result::ok).filter(|tag| tag.span.end > from);
    let places = places.flat_map(|tag| {
        let strings = strings(&text[tag.span.clone()], tag.span.start);
        let words = text[tag.span.clone()].match_indices(name);
        let words = words.map(move |(offset, _)| tag.span.start + offset);
        words.filter(move |at| !strings.iter().any(|string| string.contains(at)))
    });
    let places: Vec<usize> = places
        .filter(|at| {
            let (before, after) = (&text[..*at], &text[at + name.len()..]);
            let is_key = after.starts_with('=');
            !before.ends_with(is_word) && !after.starts_with(is_word) && !is_key
        })
        .collect();
    let is_entry = |at: &usize| text[..*at].ends_with(['.', '/']) && !text[..*at].ends_with("{/");
    places.iter().find(|at| !is_entry(at)).or(places.first()).copied()
}

/// Matches the blocks of `text`, and returns those that are not closed.
fn structure(text: &str) -> Result<Vec<Block<'_>>, Box<Diagnostic>> {
    let mut open: Vec<Block<'_>> = Vec::new();
    for tag in Tags::new(text) {
        let tag = tag.map_err(|start| {
            let ends = [("{{!--", "--}}"), ("{{{{", "{{{{/…}}}}"), ("{{{", "}}}"), ("{{", "}}")];
            let is_here = |(begin, _): &(&str, &str)| text[start..].starts_with(begin);
            let (begin, end) = ends.into_iter().find(is_here).unwrap_or(("{{", "}}"));
            let message = format!("this `{begin}` has no `{end}`");
            let help =
                format!("end it with `{end}`, or write `\\{begin}` for the braces themselves");
            Box::new(Diagnostic::new(start..start + begin.len(), message, "").help(help))
        })?;
        match tag.kind {
            Kind::Open | Kind::OpenPartial => open.push(Block { tag, has_else: false }),
            Kind::Else | Kind::ElseIf => continue_block(open.last_mut(), &tag)?,
            Kind::Close => {
                let block = open.pop().ok_or_else(|| Box::new(closes_nothing(&tag)))?;
                let is_anonymous = tag.name.is_empty() && block.tag.kind == Kind::OpenPartial;
                if block.tag.name != tag.name && !is_anonymous {
                    let has_outer = open.iter().any(|outer| outer.tag.name == tag.name);
                    return Err(Box::new(mismatch(&block.tag, &tag, has_outer)));
                }
            }
            Kind::Other | Kind::Skipped => {}
        }
    }
    Ok(open)
}

fn continue_block(block: Option<&mut Block<'_>>, tag: &Tag<'_>) -> Result<(), Box<Diagnostic>> {
    let refuse = |message: &str, help: &str| {
        Err(Box::new(Diagnostic::new(tag.span.clone(), message, "").help(help)))
    };
    match block {
        Some(block) if block.tag.kind == Kind::Open && !block.has_else => {
            block.has_else = tag.kind == Kind::Else;
            Ok(())
        }
        Some(block) if block.tag.kind == Kind::Open => {
            let message = "this block already has an `{{else}}`";
            let diagnostic = Diagnostic::new(tag.span.clone(), message, "")
                .related(block.tag.span.clone(), "the block")
                .help("remove one of the two, or write `{{else if …}}` before the `{{else}}`");
            Err(Box::new(diagnostic))
        }
        Some(_) => refuse("this block cannot have an `{{else}}`", "remove the `{{else}}`"),
        None => refuse("`{{else}}` is outside a block", "open a block before it: `{{#if …}}`"),
    }
}

fn closes_nothing(tag: &Tag<'_>) -> Diagnostic {
    let message = format!("`{{{{/{}}}}}` closes no block", tag.name);
    let help = format!("remove it, or open a block before it: `{{{{#{} …}}}}`", tag.name);
    Diagnostic::new(tag.span.clone(), message, "no block is open here").help(help)
}

fn mismatch(open: &Tag<'_>, close: &Tag<'_>, has_outer: bool) -> Diagnostic {
    if has_outer {
        return unclosed(open).related(close.span.clone(), "this closes a block around it");
    }
    let message = format!("`{{{{/{}}}}}` does not match the open block", close.name);
    Diagnostic::new(close.span.clone(), message, "")
        .related(open.span.clone(), "the open block")
        .help(format!("write `{{{{/{}}}}}`", open.name))
}

fn unclosed(tag: &Tag<'_>) -> Diagnostic {
    let message = format!("the block `{}` is not closed", tag.name);
    let help = format!("close it with `{{{{/{}}}}}`", tag.name);
    Diagnostic::new(tag.span.clone(), message, "opened here").help(help)
}

/// Returns the error for the tag at which the parser stopped.
fn unreadable(text: &str, at: usize) -> Diagnostic {
    let tags = Tags::new(text).map_while(Result::ok);
    let tag = tags.take_while(|tag| tag.span.start <= at).last();
    let span = tag.map_or(at..at + 1, |tag| tag.span);
    let help = "write a name, or a helper with its parameters: `{{python}}`, `{{#if (eq python \"3.11\")}}`";
    Diagnostic::new(span, "this tag is not valid", "").help(help)
}

/// Iterates over the tags of a text. For a tag without an end, it returns the offset and stops.
struct Tags<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tags<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the offset after the first `end` at or after `from`.
    fn behind(&self, end: &str, from: usize) -> Option<usize> {
        Some(from + self.text.get(from..)?.find(end)? + end.len())
    }

    /// Parses the tag at `start`. Returns `None` if it has no end.
    fn tag(&mut self, start: usize) -> Option<Tag<'a>> {
        let rest = &self.text[start..];
        let skipped = if rest.starts_with("{{!--") {
            Some(self.behind("--}}", start)?)
        } else if rest.starts_with("{{!") {
            Some(self.behind("}}", start)?)
        } else if rest.starts_with("{{{{") {
            let opened = self.behind("}}}}", start)?;
            Some(self.behind("}}}}", self.behind("{{{{/", opened)?)?)
        } else {
            None
        };
        if let Some(end) = skipped {
            self.at = end;
            return Some(Tag { span: start..end, kind: Kind::Skipped, name: "" });
        }
        let end = end_of_tag(self.text, start)?;
        self.at = end;
        let inside = self.text[start..end].trim_matches(['{', '}']).trim_matches('~').trim();
        let (kind, inside) = kind(inside);
        let is_end = |c: char| c.is_whitespace() || "(=~".contains(c);
        let name = inside.trim_start().split(is_end).next().unwrap_or_default();
        Some(Tag { span: start..end, kind, name })
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<Tag<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at + self.text.get(self.at..)?.find("{{")?;
            let before = &self.text[self.at..start];
            let backslashes = before.len() - before.trim_end_matches('\\').len();
            if backslashes == 1 {
                let braces = self.text[start..].bytes().take_while(|byte| *byte == b'{').count();
                self.at = start + braces;
                continue;
            }
            match self.tag(start) {
                Some(tag) if tag.kind == Kind::Skipped => {}
                Some(tag) => return Some(Ok(tag)),
                None => {
                    self.at = self.text.len();
                    return Some(Err(start));
                }
            }
        }
    }
}

/// Returns the end of the tag at `start`, unless another tag begins before it.
fn end_of_tag(text: &str, start: usize) -> Option<usize> {
    let end = if text[start..].starts_with("{{{") { "}}}" } else { "}}" };
    let from = start + end.len();
    let strings = strings(&text[from..], from);
    let is_outside = |at: &usize| !strings.iter().any(|string| string.contains(at));
    let places = |pattern: &'static str| {
        text[from..].match_indices(pattern).map(|(offset, _)| from + offset)
    };
    let found = places(end).find(is_outside).or_else(|| places(end).next())?;
    let next = places("{{").find(is_outside);
    next.is_none_or(|next| found < next).then_some(found + end.len())
}

/// Returns the quoted strings up to the end of the current tag. `shift` is added to their offsets.
fn strings(text: &str, shift: usize) -> Vec<Range<usize>> {
    let mut strings = Vec::new();
    let mut open: Option<(char, usize)> = None;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match open {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if character == '\\' => is_escaped = true,
            Some((quote, from)) if character == quote => {
                strings.push(shift + from..shift + at + 1);
                open = None;
            }
            Some(_) if character == '\n' => break,
            None if matches!(character, '"' | '\'') => open = Some((character, at)),
            None if text[at..].starts_with("}}") => break,
            _ => {}
        }
    }
    strings
}

/// Returns the kind of a tag and the text after its sign.
fn kind(inside: &str) -> (Kind, &str) {
    if let Some(rest) = inside.strip_prefix('#') {
        let rest = rest.trim_start();
        if let Some(name) = rest.strip_prefix(['>', '*']) {
            return (Kind::OpenPartial, name);
        }
        return (Kind::Open, rest);
    }
    if let Some(rest) = inside.strip_prefix('/') {
        return (Kind::Close, rest);
    }
    let is_else = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    let rest =
        inside.strip_prefix('^').or(inside.strip_prefix("else").filter(|rest| is_else(rest)));
    match rest.map(str::trim) {
        Some("") => (Kind::Else, ""),
        Some(rest) => (Kind::ElseIf, rest),
        None => (Kind::Other, inside.trim_start_matches(['>', '*', '&'])),
    }
}

/// Returns the offset of a line and a column, both from 1.
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text[start..].char_indices().nth(column.saturating_sub(1));
    rest.map_or(text.len(), |(offset, _)| start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_parsed_like_handlebars_does() {
        let text = r#"\{{a}} \\{{b}} {{!-- {{c}} --}}{{! d }}{{{e}}}{{~#if (eq f "}}") ~}}{{else if g}}{{^}}{{/if}}{{{{raw}}}} {{h}} {{{{/raw}}}}{{> i j=k}}{{#*inline "l"}}"#;
        let tags: Vec<_> = Tags::new(text).map(|tag| tag.expect("a tag")).collect();
        let shown: Vec<String> =
            tags.iter().map(|tag| format!("{:?} {}", tag.kind, tag.name)).collect();
        assert_eq!(
            shown,
            [
                "Other b",
                "Other e",
                "Open if",
                "ElseIf if",
                "Else ",
                "Close if",
                "Other i",
                "OpenPartial inline"
            ]
        );
        assert_eq!(&text[tags[2].span.clone()], "{{~#if (eq f \"}}\") ~}}");
    }

    #[test]
    fn names_are_found_in_tags_only() {
        for (text, found) in [
            ("COPY foo/{{foo}}", 11),
            ("foo {{#if (eq \"foo\" foo)}}", 20),
            ("{{! foo }}foo{{> part foo=foo}}", 26),
            ("{{a.foo}}{{foo}}", 11),
            ("{{@root.foo}}", 8),
            ("{{foobar}} {{foo}}", 13),
        ] {
            assert_eq!(find(text, "foo", 0), Some(found), "{text}");
        }
        assert_eq!(find("{{foo}} {{foo}}", "foo", 8), Some(10));
        assert_eq!(find("foo {{bar}}", "foo", 0), None);
    }
}
