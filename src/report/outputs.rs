//! The outputs of a workflow step, in the format of the file of `GITHUB_OUTPUT`: `key=value` lines, see
//! [workflow commands][commands].
//!
//! [commands]: https://docs.github.com/actions/reference/workflow-commands-for-github-actions#setting-an-output-parameter

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use fs_err::File;

/// The maximum size of all outputs of a job, in bytes of UTF-16 as GitHub counts.
pub const MAX_OUTPUTS: usize = 1 << 20;

/// The outputs of a step, in the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs(Vec<(&'static str, String)>);

impl Outputs {
    /// Adds an output. The name consists of letters, digits, `_` and `-`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// Returns the size that counts towards [`MAX_OUTPUTS`].
    #[must_use]
    pub fn size(&self) -> usize {
        let size = |text: &str| text.encode_utf16().count() * 2;
        self.0.iter().map(|(name, value)| size(name) + size(value)).sum()
    }

    /// Appends the outputs to the file at `path`.
    pub fn append(&self, path: &Path) -> io::Result<()> {
        append(path, &self.to_string())
    }
}

/// Appends `text` to a file of GitHub Actions.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    File::options().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

impl fmt::Display for Outputs {
    /// Writes `name=value` lines. Random delimiters enclose a value of several lines. So no value can
    /// set another output.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            if value.contains(['\n', '\r']) {
                let end = hex::encode(rand::random::<[u8; 16]>());
                writeln!(formatter, "{name}<<{end}\n{value}\n{end}")?;
            } else {
                writeln!(formatter, "{name}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_cannot_set_another_output() {
        let outputs = Outputs::default().with("one", "1=2").with("more", "a\nwhole=true");
        let text = outputs.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[1].strip_prefix("more<<").expect("a delimiter");
        assert_eq!(lines, ["one=1=2", &format!("more<<{end}"), "a", "whole=true", end]);
        assert_eq!(end.len(), 32);
        assert_ne!(outputs.to_string(), text, "each call uses another delimiter");
        assert!(Outputs::default().with("cr", "a\rb=c").to_string().starts_with("cr<<"));
    }

    #[test]
    fn outputs_are_appended_and_measured_in_utf_16() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), "before=1\n").expect("written");
        let outputs = Outputs::default().with("n", "é🎉");
        outputs.append(file.path()).expect("appended");
        assert_eq!(outputs.size(), 2 + 2 + 4);
        assert_eq!(fs_err::read_to_string(file.path()).expect("text"), "before=1\nn=é🎉\n");
    }
}
