//! GitHub's expressions, as far as the workflows use them. What is not known here fails the test:
//! a name that no context has, a function, an operator.
//!
//! Reference: <https://docs.github.com/actions/reference/evaluate-expressions-in-workflows-and-actions>

use serde_json::{Map, Value};

/// What names mean in one place of a workflow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contexts {
    pub(crate) names: Map<String, Value>,
    /// Whether all jobs that are needed, or all steps before, have succeeded.
    pub(crate) succeeded: bool,
}

impl Contexts {
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.names.insert(name.to_owned(), value);
        self
    }

    /// `text` with its expressions evaluated.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, behind) = after.split_once("}}").expect("an end of the expression");
            expanded.push_str(before);
            expanded.push_str(&shown(&self.evaluate(expression)));
            rest = behind;
        }
        expanded + rest
    }

    /// The value of `text`, which is one expression.
    pub(crate) fn value(&self, text: &str) -> Value {
        self.evaluate(bare(text))
    }

    /// Whether an `if:` holds; without one, and where it asks for no status, all must have
    /// succeeded.
    pub(crate) fn holds(&self, condition: Option<&str>) -> bool {
        let Some(condition) = condition else { return self.succeeded };
        let expression = bare(condition);
        let asks = ["success()", "failure()", "cancelled()", "always()"];
        let asks = asks.iter().any(|status| expression.contains(status));
        (asks || self.succeeded) && is_true(&self.evaluate(expression))
    }

    fn evaluate(&self, expression: &str) -> Value {
        let tokens = tokens(expression);
        let mut parser = Parser { contexts: self, tokens: &tokens, expression };
        let value = parser.or();
        assert!(parser.tokens.is_empty(), "`{expression}` goes on: {:?}", parser.tokens);
        value
    }
}

/// An expression without its braces.
fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("${{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        other => other.as_f64() != Some(0.0),
    }
}

/// Words, texts in quotes, and signs.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim();
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' {
            rest[1..].find('\'').expect("an end of the text") + 2
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if ["==", "!=", "&&", "||"].iter().any(|sign| rest.starts_with(sign)) {
            2
        } else {
            assert!("!(),".contains(first), "`{expression}` has an unknown sign: {first}");
            1
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    contexts: &'a Contexts,
    tokens: &'a [String],
    expression: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.tokens.first().is_some_and(|token| token == sign);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.take("||") {
            let other = self.and();
            value = if is_true(&value) { value } else { other };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.comparison();
        while self.take("&&") {
            let other = self.comparison();
            value = if is_true(&value) { other } else { value };
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let value = self.not();
        if self.take("==") {
            Value::Bool(self.is_equal(&value))
        } else if self.take("!=") {
            Value::Bool(!self.is_equal(&value))
        } else {
            value
        }
    }

    /// Texts are compared without case; nothing is equal to the empty text.
    fn is_equal(&mut self, value: &Value) -> bool {
        let other = self.not();
        let is_text = |value: &Value| value.is_string() || value.is_null();
        assert!(is_text(value) && is_text(&other), "`{}` compares no texts", self.expression);
        shown(value).eq_ignore_ascii_case(&shown(&other))
    }

    fn not(&mut self) -> Value {
        if self.take("!") { Value::Bool(!is_true(&self.not())) } else { self.primary() }
    }

    fn primary(&mut self) -> Value {
        if self.take("(") {
            let value = self.or();
            assert!(self.take(")"), "`{}` has no end", self.expression);
            return value;
        }
        let (token, rest) = self.tokens.split_first().expect("a value");
        self.tokens = rest;
        if let Some(text) = token.strip_prefix('\'') {
            return text.trim_end_matches('\'').into();
        }
        if self.take("(") {
            return self.call(token);
        }
        self.look_up(token)
    }

    fn call(&mut self, function: &str) -> Value {
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(self.or());
            self.take(",");
        }
        match (function, &arguments[..]) {
            ("success", []) => self.contexts.succeeded.into(),
            ("failure", []) => (!self.contexts.succeeded).into(),
            ("cancelled", []) => false.into(),
            ("always", []) => true.into(),
            ("fromJSON", [text]) => serde_json::from_str(&shown(text)).expect("JSON"),
            ("hashFiles", [pattern]) => format!("hash of {}", shown(pattern)).into(),
            _ => panic!("`{}` calls what has no rule: {function}", self.expression),
        }
    }

    fn look_up(&self, name: &str) -> Value {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let known = |value: Option<&Value>| {
            value.unwrap_or_else(|| panic!("`{}`: `{name}` is unknown", self.expression)).clone()
        };
        let mut value = known(self.contexts.names.get(first));
        let mut holder = "";
        for part in parts {
            // What a step did not set is empty, and so is all of a step that was left out.
            value = match value.get(part) {
                None if first == "steps" && holder == "outputs" => Value::Null,
                found => known(found),
            };
            holder = part;
        }
        value
    }
}
