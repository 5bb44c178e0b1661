//! Locates syntax errors and names in the tags of a template.
//!
//! Handlebars reports where its parser stopped: for an unclosed block, at the end of the file. [`diagnose`] matches
//! blocks itself and points to the opening tag. [`find`] locates a name.

use std::ops::Range;

use regex_lite::{Regex, escape};

use crate::matrix::Diagnostic;

/// A quoted string in a tag.
const STRING: &str = r#""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"#;

/// A tag of a template: `{{…}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    span: Range<usize>,
    kind: Kind,
    /// The name of the block, or the first word.
    name: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The beginning of a block: `{{#if …}}`.
    Open,
    /// `{{#> …}}` and `{{#*inline …}}`, which have no `{{else}}`.
    OpenPartial,
    /// The end of a block: `{{/if}}`.
    Close,
    Else,
    ElseIf,
    Other,
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
    let word = Regex::new(&format!("{STRING}|{}", escape(name))).expect("a regular expression");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut places = Vec::new();
    for tag in tags(text).0.into_iter().filter(|tag| tag.span.end > from) {
        for found in word.find_iter(&text[tag.span.clone()]).filter(|found| found.as_str() == name)
        {
            let at = tag.span.start + found.start();
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            let is_key = after.starts_with('=');
            if !before.ends_with(is_word) && !after.starts_with(is_word) && !is_key {
                places.push(at);
            }
        }
    }
    let is_entry = |at: &usize| text[..*at].ends_with(['.', '/']) && !text[..*at].ends_with("{/");
    places.iter().find(|at| !is_entry(at)).or(places.first()).copied()
}

/// Matches the blocks of `text`, and returns those that are not closed.
fn structure(text: &str) -> Result<Vec<Block<'_>>, Box<Diagnostic>> {
    let mut open: Vec<Block<'_>> = Vec::new();
    let (tags, unclosed) = tags(text);
    for tag in tags {
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
            Kind::Other => {}
        }
    }
    match unclosed {
        Some(start) => Err(Box::new(unfinished(text, start))),
        None => Ok(open),
    }
}

/// Returns the error for the tag at `start`, which has no end.
fn unfinished(text: &str, start: usize) -> Diagnostic {
    let ends = [("{{!--", "--}}"), ("{{{{", "{{{{/…}}}}"), ("{{{", "}}}"), ("{{", "}}")];
    let is_here = |(begin, _): &(&str, &str)| text[start..].starts_with(begin);
    let (begin, end) = ends.into_iter().find(is_here).unwrap_or(("{{", "}}"));
    let message = format!("this `{begin}` has no `{end}`");
    let help = format!("end it with `{end}`, or write `\\{begin}` for the braces themselves");
    Diagnostic::new(start..start + begin.len(), message, "").help(help)
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
    let (tags, _) = tags(text);
    let tag = tags.into_iter().take_while(|tag| tag.span.start <= at).last();
    let span = tag.map_or(at..at + 1, |tag| tag.span);
    let help = "write a name, or a helper with its parameters: `{{python}}`, `{{#if (eq python \"3.11\")}}`";
    Diagnostic::new(span, "this tag is not valid", "").help(help)
}

/// Returns the tags of a text, without comments and raw blocks, and the offset of the first tag that has no end.
fn tags(text: &str) -> (Vec<Tag<'_>>, Option<usize>) {
    let body = format!("(?:{STRING}|[^{{}}])*");
    let skipped = r"\{\{!--.*?--\}\}|\{\{!.*?\}\}|\{\{\{\{.*?\}\}\}\}.*?\{\{\{\{/.*?\}\}\}\}";
    let pattern =
        format!(r"(?s)(\\*)(?:({skipped})|(\{{\{{\{{{body}\}}\}}\}}|\{{\{{{body}\}}\}})|\{{\{{+)");
    let mut tags = Vec::new();
    for found in Regex::new(&pattern).expect("a regular expression").captures_iter(text) {
        let start = found.get(0).map_or(0, |whole| whole.start()) + found[1].len();
        if found[1].len() == 1 {
            // The braces are escaped.
        } else if let Some(tag) = found.get(3) {
            let inside = tag.as_str().trim_matches(['{', '}']).trim_matches('~').trim();
            let (kind, inside) = kind(inside);
            let is_end = |c: char| c.is_whitespace() || "(=~".contains(c);
            let name = inside.trim_start().split(is_end).next().unwrap_or_default();
            tags.push(Tag { span: tag.range(), kind, name });
        } else if !found.get(2).map_or("", |skipped| skipped.as_str()).ends_with("}}")
            || (text[start..].starts_with("{{!--") && !found[2].ends_with("--}}"))
        {
            return (tags, Some(start));
        }
    }
    (tags, None)
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
        let (tags, unclosed) = tags(text);
        assert_eq!(unclosed, None);
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
