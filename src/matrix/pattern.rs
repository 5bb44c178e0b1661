use super::spanned::Span;

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
    Name(Span),
}

/// A syntax error in a pattern, with its location in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("`{{{{` has no `}}}}`")]
    Unclosed(Span),
    #[error("expected a name between `{{{{` and `}}}}`")]
    NotAName(Span),
}

impl PatternError {
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Unclosed(span) | Self::NotAName(span) => span.clone(),
        }
    }
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|offset| at + offset) {
            let close = text[open..].find("}}").map(|offset| open + offset);
            let close = close.ok_or(PatternError::Unclosed(open..text.len()))?;
            let inside = &text[open + 2..close];
            let name = inside.trim();
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name {
                return Err(PatternError::NotAName(open..close + 2));
            }
            parts.push(Part::Literal(at..open));
            let start = open + 2 + (inside.len() - inside.trim_start().len());
            parts.push(Part::Name(start..start + name.len()));
            at = close + 2;
        }
        parts.push(Part::Literal(at..text.len()));
        Ok(Self { text: text.to_owned(), parts, span: None })
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

    /// Returns the names in the pattern with their locations in its text.
    pub fn names(&self) -> impl Iterator<Item = (&str, Span)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(span) => Some((&self.text[span.clone()], span.clone())),
            Part::Literal(_) => None,
        })
    }

    /// Replaces each name by its `value`.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let mut filled = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(span) => filled.push_str(&self.text[span.clone()]),
                Part::Name(span) => filled.push_str(value(&self.text[span.clone()])),
            }
        }
        filled
    }

    /// Replaces each name by its `value` in a tag. If a value is empty, one adjacent separator (`-`, `_` or `.`) is
    /// removed as well.
    pub fn fill_joined<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let mut joined = Joined::default();
        for part in &self.parts {
            match part {
                Part::Literal(span) if span.is_empty() => {}
                Part::Literal(span) => joined.literal(&self.text[span.clone()]),
                Part::Name(span) => match value(&self.text[span.clone()]) {
                    "" => joined.has_gap = true,
                    value => joined.value(value),
                },
            }
        }
        joined.finish()
    }
}

/// The text of a tag while [`Pattern::fill_joined`] builds it.
#[derive(Default)]
struct Joined {
    text: String,
    /// Whether the text ends with a separator of the pattern.
    ends_with_separator: bool,
    /// Whether a value after that was empty.
    has_gap: bool,
}

impl Joined {
    fn literal(&mut self, mut literal: &str) {
        if std::mem::take(&mut self.has_gap) && literal.starts_with(SEPARATORS) {
            if self.text.is_empty() {
                literal = &literal[1..];
            } else if self.ends_with_separator {
                self.text.pop();
            }
        }
        self.text.push_str(literal);
        self.ends_with_separator = self.text.ends_with(SEPARATORS);
    }

    fn value(&mut self, value: &str) {
        self.text.push_str(value);
        (self.ends_with_separator, self.has_gap) = (false, false);
    }

    fn finish(mut self) -> String {
        if self.has_gap && self.ends_with_separator {
            self.text.pop();
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_by_values() {
        let pattern = Pattern::parse("{{a}}-{{ b }}-c").expect("a pattern");
        assert_eq!(pattern.fill(|name| if name == "a" { "1" } else { "2" }), "1-2-c");
        assert_eq!(pattern.names().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_empty_value_removes_a_separator() {
        let value = |name: &str| match name {
            "p" => "3.9",
            "v" => "v1",
            "w" => "-",
            _ => "",
        };
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
        assert_eq!(Pattern::parse("a{{b"), Err(PatternError::Unclosed(1..4)));
        assert_eq!(Pattern::parse("a{{#if b}}"), Err(PatternError::NotAName(1..10)));
        assert_eq!(Pattern::parse("{{}}"), Err(PatternError::NotAName(0..4)));
    }
}
