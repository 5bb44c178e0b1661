use super::schema::Span;

/// What stands between the parts of a tag.
const JOINTS: [char; 3] = ['-', '_', '.'];

/// A text with names in it, such as `baseten/truss-{{job_type}}-base`.
///
/// Names of images are made of these rather than of templates: there are many of them,
/// and nothing in a name should need a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
    /// Where it is written in the matrix file, if it is.
    span: Option<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Span),
    Name(Span),
}

/// What is wrong with a pattern, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `{{` without `}}`.
    #[error("`{{{{` without `}}}}`")]
    Unclosed(Span),
    /// Nothing or more than a name between the braces.
    #[error("a name stands between `{{{{` and `}}}}`, and nothing else")]
    NotAName(Span),
}

impl PatternError {
    /// Where in the pattern's text.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Unclosed(span) | Self::NotAName(span) => span.clone(),
        }
    }
}

impl Pattern {
    /// Reads a pattern.
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

    /// Sets where it is written in the matrix file.
    pub(super) fn at(self, span: Span) -> Self {
        Self { span: Some(span), ..self }
    }

    /// Where it is written in the matrix file, in bytes; `None` for one that is not.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    /// The names in it and where they stand in its text.
    pub fn names(&self) -> impl Iterator<Item = (&str, Span)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(span) => Some((&self.text[span.clone()], span.clone())),
            Part::Literal(_) => None,
        })
    }

    /// The text with `value` of each name in its place.
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

    /// The same for a tag: where a name fills in nothing between two joints (`-`, `_` or `.`), or
    /// between one and an end of the text, one of them goes with it.
    pub fn fill_joined<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let mut joined = Joined::default();
        for part in &self.parts {
            match part {
                Part::Literal(span) if span.is_empty() => {}
                Part::Literal(span) => joined.literal(&self.text[span.clone()]),
                Part::Name(span) => match value(&self.text[span.clone()]) {
                    "" => joined.is_gap = true,
                    value => joined.value(value),
                },
            }
        }
        joined.finish()
    }
}

/// A text with its parts in place, and what they were joined by.
#[derive(Default)]
struct Joined {
    text: String,
    /// Whether the text ends with a joint that the pattern has there.
    is_open: bool,
    /// Whether a name filled in nothing since.
    is_gap: bool,
}

impl Joined {
    /// Adds what stands in the pattern itself.
    fn literal(&mut self, mut literal: &str) {
        if std::mem::take(&mut self.is_gap) && literal.starts_with(JOINTS) {
            if self.text.is_empty() {
                literal = &literal[1..];
            } else if self.is_open {
                self.text.pop();
            }
        }
        self.text.push_str(literal);
        self.is_open = self.text.ends_with(JOINTS);
    }

    fn value(&mut self, value: &str) {
        self.text.push_str(value);
        (self.is_open, self.is_gap) = (false, false);
    }

    fn finish(mut self) -> String {
        if self.is_gap && self.is_open {
            self.text.pop();
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let pattern = Pattern::parse("{{a}}-{{ b }}-c").expect("a pattern");
        assert_eq!(pattern.fill(|name| if name == "a" { "1" } else { "2" }), "1-2-c");
        assert_eq!(pattern.names().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_fills_in_nothing_leaves_no_joint() {
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
    fn mistakes_are_pointed_at() {
        assert_eq!(Pattern::parse("a{{b"), Err(PatternError::Unclosed(1..4)));
        assert_eq!(Pattern::parse("a{{#if b}}"), Err(PatternError::NotAName(1..10)));
        assert_eq!(Pattern::parse("{{}}"), Err(PatternError::NotAName(0..4)));
    }
}
