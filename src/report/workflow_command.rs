use std::fmt;

use super::guard::Guard;

/// A workflow command with escaped values: `::name key=value,…::message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    pub(super) fn new(
        name: &'static str,
        properties: &[(&'static str, String)],
        message: &str,
    ) -> Self {
        let properties: Vec<String> = properties
            .iter()
            .map(|(key, value)| format!("{key}={}", escape_property(value)))
            .collect();
        let space = if properties.is_empty() { "" } else { " " };
        let properties = properties.join(",");
        Self(format!("::{name}{space}{properties}::{}", escape_data(message)))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Escapes the message of a command.
fn escape_data(text: &str) -> String {
    let text = Guard { color: false, actions: true, terminal: false }.apply(text);
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}
