//! Evaluates the subset of GitHub's expressions that the workflows use. Unknown names, functions and operators fail the test.
//!
//! Reference: <https://docs.github.com/actions/reference/evaluate-expressions-in-workflows-and-actions>

use serde_json::{Map, Value};

/// The contexts at one place of a workflow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contexts {
    pub(crate) values: Map<String, Value>,
    /// Whether all needed jobs, or all previous steps, have succeeded.
    pub(crate) succeeded: bool,
}

impl Contexts {
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// Replaces the expressions of a text by their values.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, remainder) = after.split_once("}}").expect("closing braces");
            expanded.push_str(before);
            expanded.push_str(&to_text(&self.evaluate_expression(expression)));
            rest = remainder;
        }
        expanded + rest
    }

    /// Evaluates an expression, with or without braces.
    pub(crate) fn evaluate(&self, text: &str) -> Value {
        self.evaluate_expression(strip_braces(text))
    }

    /// Evaluates an `if:`. Without a status function, it requires that all have succeeded.
    pub(crate) fn is_met(&self, condition: Option<&str>) -> bool {
        let Some(condition) = condition else { return self.succeeded };
        let expression = strip_braces(condition);
        let status_functions = ["success()", "failure()", "cancelled()", "always()"];
        let checks_status = status_functions.iter().any(|status| expression.contains(status));
        (checks_status || self.succeeded) && is_truthy(&self.evaluate_expression(expression))
    }

    fn evaluate_expression(&self, expression: &str) -> Value {
        let tokens = tokens(expression);
        let mut parser = Parser { contexts: self, tokens: &tokens, expression };
        let value = parser.or();
        assert!(parser.tokens.is_empty(), "trailing tokens in `{expression}`: {:?}", parser.tokens);
        value
    }
}

/// Returns an expression without its braces.
fn strip_braces(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("${{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text)
}

fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        other => other.as_f64() != Some(0.0),
    }
}

/// Splits an expression into words, quoted texts and operators.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim();
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' {
            rest[1..].find('\'').expect("a closing quote") + 2
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if ["==", "!=", "&&", "||"].iter().any(|operator| rest.starts_with(operator)) {
            2
        } else {
            assert!("!(),".contains(first), "unknown operator in `{expression}`: {first}");
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
    /// Consumes the next token if it is `expected`.
    fn take(&mut self, expected: &str) -> bool {
        let is_next = self.tokens.first().is_some_and(|token| token == expected);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.take("||") {
            let other = self.and();
            value = if is_truthy(&value) { value } else { other };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.comparison();
        while self.take("&&") {
            let other = self.comparison();
            value = if is_truthy(&value) { other } else { value };
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

    /// Compares a text with the next value. Ignores case. Null equals the empty text.
    fn is_equal(&mut self, value: &Value) -> bool {
        let other = self.not();
        let is_text = |value: &Value| value.is_string() || value.is_null();
        assert!(
            is_text(value) && is_text(&other),
            "`{}` compares other values than texts",
            self.expression
        );
        to_text(value).eq_ignore_ascii_case(&to_text(&other))
    }

    fn not(&mut self) -> Value {
        if self.take("!") { Value::Bool(!is_truthy(&self.not())) } else { self.primary() }
    }

    fn primary(&mut self) -> Value {
        if self.take("(") {
            let value = self.or();
            assert!(self.take(")"), "missing parenthesis in `{}`", self.expression);
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
            ("fromJSON", [text]) => serde_json::from_str(&to_text(text)).expect("JSON"),
            ("hashFiles", [pattern]) => format!("hash of {}", to_text(pattern)).into(),
            _ => panic!("unsupported call in `{}`: {function}", self.expression),
        }
    }

    fn look_up(&self, name: &str) -> Value {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let known = |value: Option<&Value>| {
            value
                .unwrap_or_else(|| panic!("unknown name in `{}`: `{name}`", self.expression))
                .clone()
        };
        let mut value = known(self.contexts.values.get(first));
        let mut parent = "";
        for part in parts {
            // An output that a step has not set is empty, also if the step was skipped.
            value = match value.get(part) {
                None if first == "steps" && parent == "outputs" => Value::Null,
                member => known(member),
            };
            parent = part;
        }
        value
    }
}
