//! The examples on a page of the documentation, by section.

use std::path::Path;

/// A section of a Markdown page.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) examples: Vec<Example>,
}

/// A block of code.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) language: String,
    /// The file name, from a comment in the first line: `# app.py`.
    pub(crate) file: Option<String>,
    pub(crate) text: String,
}

impl Section {
    /// Reads the sections of a page in `docs/`.
    pub(crate) fn read_page(page: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
        let text = fs_err::read_to_string(path).expect("the page");
        let mut sections: Vec<Self> = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let last = sections.last_mut().expect("a heading above the example");
                last.examples.push(Example::new(language, &code));
            } else if line.starts_with('#') {
                let heading = line.trim_start_matches('#').trim().to_owned();
                sections.push(Self { heading, examples: Vec::new() });
            }
        }
        sections
    }

    /// Returns the anchor of the heading in mdBook and on GitHub.
    pub(crate) fn anchor(&self) -> String {
        let lower = self.heading.to_lowercase();
        let words = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        words.map(|c| if c == ' ' { '-' } else { c }).collect()
    }

    /// Returns the examples with this file name.
    pub(crate) fn examples_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Example> {
        self.examples.iter().filter(move |example| example.file.as_deref() == Some(name))
    }
}

impl Example {
    fn new(language: &str, code: &[&str]) -> Self {
        let first = code.first().and_then(|line| line.strip_prefix("# "));
        let file = first.filter(|name| name.contains('.') && !name.contains(' '));
        Self {
            language: language.to_owned(),
            file: file.map(str::to_owned),
            text: code.iter().map(|line| format!("{line}\n")).collect(),
        }
    }
}
