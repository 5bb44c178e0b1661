use std::borrow::Cow;

use super::spanned::{Span, Spanned};

/// Separators between the parts of a tag.
const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// A text with placeholders, such as `baseten/truss-{{job_type}}-base`.
///
/// Image names are patterns rather than templates, because a name needs no conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
    /// The location in the matrix file; `None` for a default.
    span: Option<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Span),
    Name {
        name: Span,
        /// A text to replace in the value, and its replacement.
        replace: Option<(String, String)>,
    },
}

/// A syntax error in a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PatternError {
    reason: &'static str,
    /// The location in the text.
    pub span: Span,
}

impl Pattern {
    /// Parses a text. A backslash before `{{` makes it a literal, as in templates.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let (mut at, mut next) = (0, 0);
        while let Some(open) = text[next..].find("{{").map(|offset| next + offset) {
            if text[at..open].ends_with('\\') {
                parts.push(Part::Literal(at..open - 1));
                (at, next) = (open, open + 2);
                continue;
            }
            let close = text[open..].find("}}").map(|offset| open + offset);
            let close =
                close.ok_or(PatternError { reason: "`{{` has no `}}`", span: open..text.len() })?;
            parts.push(Part::Literal(at..open));
            let part = placeholder(text, open + 2..close).ok_or(PatternError {
                reason: "expected `{{name}}` or `{{replace name \"from\" \"to\"}}`",
                span: open..close + 2,
            })?;
            parts.push(part);
            (at, next) = (close + 2, close + 2);
        }
        parts.push(Part::Literal(at..text.len()));
        Ok(Self { text: text.to_owned(), parts, span: None })
    }

    /// Returns the pattern of a call of the helper `image`, if the text is one. It is filled with the call itself, which is
    /// rendered together with the Dockerfile.
    pub(super) fn of_image_call(text: &Spanned<String>) -> Option<Self> {
        let literal = || Self::parse(&format!("\\{}", text.get_ref())).ok();
        is_image_call(text).then(literal).flatten().map(|call| call.at(text.span()))
    }

    /// Sets the location in the matrix file.
    pub(super) fn at(self, span: Span) -> Self {
        Self { span: Some(span), ..self }
    }

    /// Returns the location in the matrix file; `None` for a default.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    /// Returns the location of a part of the pattern in the matrix file, `source`.
    pub(super) fn locate(&self, source: &str, part: Span) -> Option<Span> {
        Some(locate(source, self.span.clone()?, &self.text, part))
    }

    /// Returns the names in the pattern with their locations in its text.
    pub fn names(&self) -> impl Iterator<Item = (&str, Span)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name { name, .. } => Some((&self.text[name.clone()], name.clone())),
            Part::Literal(_) => None,
        })
    }

    /// Replaces each name by its `value`.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Cow<'a, str>) -> String {
        let mut filled = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(span) => filled.push_str(&self.text[span.clone()]),
                Part::Name { name, replace } => {
                    filled.push_str(&replaced(value(&self.text[name.clone()]), replace.as_ref()));
                }
            }
        }
        filled
    }

    /// Replaces each name by its `value` in a tag. If a value is empty, one adjacent separator (`-`, `_` or `.`) is
    /// removed as well.
    pub fn fill_joined<'a>(&self, value: impl Fn(&str) -> Cow<'a, str>) -> String {
        let mut text = String::new();
        // Whether the text ends with a separator of the pattern, and whether a value after that was empty.
        let (mut ends_with_separator, mut has_gap) = (false, false);
        for part in &self.parts {
            match part {
                Part::Literal(span) if span.is_empty() => {}
                Part::Literal(span) => {
                    let mut literal = &self.text[span.clone()];
                    if std::mem::take(&mut has_gap) && literal.starts_with(SEPARATORS) {
                        if text.is_empty() {
                            literal = &literal[1..];
                        } else if ends_with_separator {
                            text.pop();
                        }
                    }
                    text.push_str(literal);
                    ends_with_separator = text.ends_with(SEPARATORS);
                }
                Part::Name { name, replace } => {
                    let value = replaced(value(&self.text[name.clone()]), replace.as_ref());
                    if value.is_empty() {
                        has_gap = true;
                    } else {
                        text.push_str(&value);
                        (ends_with_separator, has_gap) = (false, false);
                    }
                }
            }
        }
        if has_gap && ends_with_separator {
            text.pop();
        }
        text
    }
}

/// Parses the part of `text` at `span`, between `{{` and `}}`: a name, or `replace` with a name and two strings.
fn placeholder(text: &str, span: Span) -> Option<Part> {
    let begin = |rest: &str| span.end - rest.len();
    let inside = &text[span.clone()];
    let (first, rest) = word(inside);
    if rest.trim().is_empty() {
        let name = begin(inside.trim_start());
        return is_name(first)
            .then(|| Part::Name { name: name..name + first.len(), replace: None });
    }
    let from = begin(rest.trim_start());
    let (name, rest) = word(rest);
    let (old, rest) = quoted(rest)?;
    let (new, rest) = quoted(rest)?;
    let is_valid = first == "replace" && is_name(name) && !old.is_empty() && rest.trim().is_empty();
    let replace = Some((old.to_owned(), new.to_owned()));
    is_valid.then(|| Part::Name { name: from..from + name.len(), replace })
}

fn is_name(word: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    !word.is_empty() && word.bytes().all(is_allowed)
}

/// Returns the first word of a text, and the rest.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// Returns the content of a string in single or double quotes at the beginning of a text, and the rest.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    text[1..].split_once(quote)
}

fn replaced<'a>(value: Cow<'a, str>, replace: Option<&(String, String)>) -> Cow<'a, str> {
    match replace {
        Some((from, to)) => value.replace(from, to).into(),
        None => value,
    }
}

/// Returns the location in `source` of a part of `text`, a string at `span`.
///
/// The span of a string includes its quotes. Escapes shift all offsets after them, and an argument of a check has the span
/// of its array. The result is then the only occurrence of the part, or the whole span.
pub(super) fn locate(source: &str, span: Span, text: &str, part: Span) -> Span {
    let begin = span.start + 1;
    let rest = source.get(begin..).unwrap_or_default();
    if !text.is_empty() && rest.starts_with(text) {
        return part.start + begin..part.end + begin;
    }
    let whole = source.get(span.clone()).unwrap_or_default();
    let mut places = whole.match_indices(&text[part]);
    match (places.next(), places.next()) {
        (Some((at, found)), None) => {
            let start = span.start + at;
            start..start + found.len()
        }
        _ => span,
    }
}

/// Returns true if a text is one call of the helper `image` of templates: `{{image "minimal"}}`.
#[must_use]
pub fn is_image_call(text: &str) -> bool {
    let call = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let arguments = call.and_then(|call| call.trim_start().strip_prefix("image"));
    arguments.is_some_and(|rest| {
        rest.starts_with(char::is_whitespace) && !rest.trim().is_empty() && !rest.contains("}}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_by_values() {
        let pattern = Pattern::parse("{{a}}-{{ b }}-c").expect("a pattern");
        assert_eq!(pattern.fill(|name| if name == "a" { "1" } else { "2" }.into()), "1-2-c");
        assert_eq!(pattern.names().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn text_in_a_value_is_replaced() {
        for text in ["cu{{replace v '.' ''}}-x", "cu{{ replace  v \".\"  '' }}-x"] {
            let pattern = Pattern::parse(text).expect(text);
            assert_eq!(pattern.fill(|_| "12.8.1".into()), "cu1281-x", "{text}");
            let (name, span) = pattern.names().next().expect("a name");
            assert_eq!((name, &text[span]), ("v", "v"));
        }
        let named = Pattern::parse("{{replace}}").expect("a name");
        assert_eq!(named.names().next().expect("a name").0, "replace");
    }

    #[test]
    fn a_backslash_makes_braces_literal() {
        let filled = |text: &str| Pattern::parse(text).expect(text).fill(|_| "1".into());
        for (text, expected) in [
            (r"a \{{b}} {{c}}", "a {{b}} 1"),
            (r"\{{#if a}}", "{{#if a}}"),
            (r"\{{{a}}}", "{{{a}}}"),
            (r"\{{\{{a}}", "{{{{a}}"),
            (r"\\{{a}}", r"\{{a}}"),
            (r"\a{{b}}\", r"\a1\"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_value_removes_a_separator() {
        let value = |name: &str| match name {
            "p" => "3.9",
            "v" => "v1",
            "w" => "-",
            _ => "",
        };
        let value = |name: &str| Cow::from(value(name));
        for (text, expected) in [
            ("{{p}}-{{v}}", "3.9-v1"),
            ("{{p}}-{{no}}-{{v}}", "3.9-v1"),
            ("{{p}}_{{no}}-{{v}}", "3.9-v1"),
            ("{{p}}-{{no}}-{{no}}-{{v}}", "3.9-v1"),
            ("{{p}}-{{no}}{{no}}-{{v}}", "3.9-v1"),
            ("{{p}}{{no}}-{{v}}", "3.9-v1"),
            ("{{p}}-{{no}}{{v}}", "3.9-v1"),
            ("{{v}}-{{no}}", "v1"),
            ("{{v}}.{{no}}_{{no}}", "v1"),
            ("{{v}}{{no}}", "v1"),
            ("{{no}}-{{v}}", "v1"),
            ("{{no}}_{{no}}.{{v}}", "v1"),
            ("{{no}}{{v}}-", "v1-"),
            ("{{p}}--{{no}}-{{v}}", "3.9--v1"),
            ("{{p}}--{{v}}", "3.9--v1"),
            ("{{w}}{{no}}-{{v}}", "--v1"),
            ("x{{no}}-", "x-"),
            ("-{{v}}", "-v1"),
            ("latest-{{no}}", "latest"),
            ("{{no}}", ""),
        ] {
            assert_eq!(Pattern::parse(text).expect(text).fill_joined(value), expected, "{text}");
        }
    }

    #[test]
    fn syntax_errors_have_locations() {
        let error = |text: &str| {
            let error = Pattern::parse(text).expect_err(text);
            (error.to_string(), error.span)
        };
        let name = || "expected `{{name}}` or `{{replace name \"from\" \"to\"}}`".to_owned();
        assert_eq!(error("a{{b"), ("`{{` has no `}}`".to_owned(), 1..4));
        assert_eq!(error("a{{#if b}}"), (name(), 1..10));
        assert_eq!(error("{{}}"), (name(), 0..4));
        for text in ["{{a b}}", "{{replace a '.'}}", "{{replace a '' 'b'}}", "{{cut a '.' ''}}"] {
            assert_eq!(error(text).0, name(), "{text}");
        }
    }

    #[test]
    fn distinguishes_calls_from_names() {
        for (text, expected) in [
            ("{{image \"minimal\"}}", true),
            ("{{ image parent gpu=false }}", true),
            ("{{image}}", false),
            ("{{image }}", false),
            ("{{images \"a\"}}", false),
            ("acme/{{image \"a\"}}", false),
            ("{{image \"a\"}}:{{tag}}", false),
            ("python:{{python}}", false),
        ] {
            assert_eq!(is_image_call(text), expected, "{text}");
        }
    }
}
