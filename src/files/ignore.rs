//! The patterns of a `.dockerignore`, with the rules of BuildKit.
//!
//! They differ from those of a `.gitignore`: a pattern is relative to the root of the context, and a folder whose
//! pattern is followed by an exception (`!`) is still searched.
//!
//! Reference: <https://docs.docker.com/build/concepts/context/#dockerignore-files>, and the sources of
//! <https://github.com/moby/patternmatcher>

use regex_lite::{Regex, escape};

use super::Wildcard;

/// The patterns of a context, in their order.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
    has_exceptions: bool,
}

/// A pattern with its place.
#[derive(Debug, Clone)]
pub struct IgnoreRule {
    /// The pattern as the user wrote it, without surrounding whitespace.
    pub pattern: String,
    /// The place of the pattern, such as `dockerfiles/.dockerignore:3`.
    pub place: String,
    is_exception: bool,
    matcher: Matcher,
}

/// A pattern that BuildKit refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a valid pattern of a `.dockerignore`: {reason}")]
pub struct IgnoreError {
    pub pattern: String,
    pub reason: &'static str,
}

/// For each pattern, whether it matches a folder. Passed on to the entries of the folder.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Vec<bool>);

/// The four kinds of patterns of BuildKit. The first three compare texts.
#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

impl IgnoreRules {
    /// Parses the text of a file that messages call `file`. An error has its line, from 1.
    pub fn parse(text: &str, file: &str) -> Result<Self, (usize, IgnoreError)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            // A `#` after a space begins a pattern.
            if !line.starts_with('#') && !line.trim().is_empty() {
                rules.add(line, format!("{file}:{number}")).map_err(|error| (number, error))?;
            }
        }
        Ok(rules)
    }

    /// Adds a pattern after all others.
    pub fn add(&mut self, pattern: &str, place: String) -> Result<(), IgnoreError> {
        let pattern = pattern.trim();
        let (is_exception, path) = match pattern.strip_prefix('!') {
            Some(path) => (true, path.trim()),
            None => (false, pattern),
        };
        let refuse = |reason| IgnoreError { pattern: pattern.to_owned(), reason };
        if path.is_empty() {
            return Err(refuse("the pattern is empty"));
        }
        let path = cleaned(path);
        let path = path.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&path);
        let matcher = Matcher::new(path).map_err(refuse)?;
        let pattern = pattern.to_owned();
        self.rules.push(IgnoreRule { pattern, place, is_exception, matcher });
        self.has_exceptions |= is_exception;
        Ok(())
    }

    /// Returns true if entries of an ignored folder can be excepted.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Returns the pattern that ignores `path`, relative to the root of the context, or `None` if the context contains it.
    #[must_use]
    pub fn ignored(&self, path: &str) -> Option<&IgnoreRule> {
        self.at(path).0
    }

    /// Returns the pattern that ignores `path`, and the matches that its entries inherit if it is a folder. The root, with
    /// an empty path, is never ignored.
    #[must_use]
    pub fn at(&self, path: &str) -> (Option<&IgnoreRule>, Inherited) {
        let mut decided = (None, Inherited::default());
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            decided = self.entry(&path[..end], &decided.1);
        }
        decided
    }

    /// Returns the pattern that ignores an entry of a folder, and the matches that its own entries inherit.
    /// `inherited` is that of the folder; the default is that of the root.
    ///
    /// As in BuildKit, a pattern is not compared with a folder if it would not change whether the folder is ignored. Its
    /// entries then do not inherit it.
    #[must_use]
    pub fn entry(&self, path: &str, inherited: &Inherited) -> (Option<&IgnoreRule>, Inherited) {
        let mut ignored_by = None;
        let mut matched = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let is_inherited = inherited.0.get(index).copied().unwrap_or(false);
            let is_relevant = rule.is_exception == ignored_by.is_some();
            let is_match = is_inherited || (is_relevant && rule.matcher.matches(path));
            matched.push(is_match);
            if is_match {
                ignored_by = (!rule.is_exception).then_some(rule);
            }
        }
        (ignored_by, Inherited(matched))
    }
}

impl Matcher {
    /// Compiles a cleaned pattern.
    fn new(pattern: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str =
            "expected a class such as `[a-c]` after `[`, and a character after `\\`";
        // BuildKit checks the syntax with the function that also matches the wildcards of `COPY`.
        Wildcard::new(pattern, false).ok_or(MALFORMED)?;
        let has_wildcard = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
        if !has_wildcard(pattern) {
            return Ok(Self::Exact(pattern.to_owned()));
        }
        if let Some(rest) = pattern.strip_prefix("**").filter(|rest| !has_wildcard(rest)) {
            return Ok(Self::Suffix(rest.to_owned()));
        }
        if let Some(rest) = pattern.strip_suffix("**").filter(|rest| !has_wildcard(rest)) {
            return Ok(Self::Prefix(rest.to_owned()));
        }
        Regex::new(&regex(pattern)).map(Self::Regex).map_err(|_| MALFORMED)
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            // `**/a` also matches `a` at the root.
            Self::Suffix(text) => path.ends_with(text) || text.strip_prefix('/') == Some(path),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// Translates a pattern like BuildKit does, which reads a class such as `[a-c]` as one of Go's regular expressions.
fn regex(pattern: &str) -> String {
    let mut regex = "^".to_owned();
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(character) = rest.next() {
        match character {
            '*' if !in_class && rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                regex.push_str(if rest.peek().is_some() { "(.*/)?" } else { ".*" });
            }
            // In a class, the translation of a wildcard begins with a literal bracket, and ends the class.
            '*' => {
                regex.push_str(if in_class { "\\[^/]*" } else { "[^/]*" });
                in_class = false;
            }
            '?' => {
                regex.push_str(if in_class { "\\[^/]" } else { "[^/]" });
                in_class = false;
            }
            '\\' => {
                regex.push('\\');
                regex.extend(rest.next());
            }
            '[' if !in_class => {
                regex.push('[');
                in_class = true;
            }
            ']' if in_class => {
                regex.push(']');
                in_class = false;
            }
            '^' | '-' if in_class => regex.push(character),
            '^' => regex.push('^'),
            other => regex.push_str(&escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

/// Returns the shortest equal path, like Go's `filepath.Clean`: without `.`, `..` where possible, and repeated `/`.
fn cleaned(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the location and the text of the pattern that ignores `path`.
    fn ignored(text: &str, path: &str) -> Option<String> {
        let rules = IgnoreRules::parse(text, "f").expect(text);
        rules.ignored(path).map(|rule| format!("{} {}", rule.place, rule.pattern))
    }

    #[test]
    fn patterns_match_a_path_or_a_folder_above_it() {
        for (pattern, ignored_paths, other_paths) in [
            ("a", &["a", "a/b/c"][..], &["b/a", "ab"][..]),
            ("/a/./b/../c/", &["a/c", "a/c/d"], &["a/b", "c"]),
            ("*.md", &["x.md", "x.md/y"], &["d/x.md", "xmd"]),
            ("*/temp*", &["d/temp", "d/tempest/x"], &["temp", "d/e/temp"]),
            ("temp?", &["tempa", "temp."], &["temp", "tempab"]),
            ("**/*.go", &["x.go", "d/e/x.go"], &["x.gob"]),
            (
                "**/node_modules",
                &["node_modules", "a/b/node_modules/c"],
                &["node_modules2", "my_node_modules"],
            ),
            ("**log", &["log", "catalog", "a/backlog"], &["logs"]),
            ("a/**", &["a/b", "a/b/c"], &["a", "b/a/c"]),
            ("a/**/z", &["a/z", "a/b/c/z", "a/b/z/x"], &["az", "a/bz"]),
            ("**", &["a", ".a/b"], &[]),
            ("[a-c]x", &["ax", "cx/d"], &["dx", "-x"]),
            ("[^a]x", &["bx", "^x"], &["ax"]),
            (r"\*x", &["*x"], &["ax"]),
            ("a.c", &["a.c"], &["abc"]),
            ("a^b", &["a^b"], &["ab"]),
            ("é?", &["éà"], &["éàx"]),
            (".", &[], &["a"]),
            ("../a", &[], &["a"]),
        ] {
            for path in ignored_paths {
                assert!(ignored(pattern, path).is_some(), "{pattern} ignores {path}");
            }
            for path in other_paths {
                assert_eq!(ignored(pattern, path), None, "{pattern} does not ignore {path}");
            }
        }
    }

    #[test]
    fn the_last_pattern_decides() {
        let text = "\u{feff}# a comment\n # not a comment\n\n*.md\n! README.md \nREADME-*.md\r\n!README-a.md";
        for (path, rule) in [
            ("x.md", Some("f:4 *.md")),
            ("README.md", None),
            ("README-b.md", Some("f:4 *.md")),
            ("README-a.md", None),
            ("# not a comment", Some("f:2 # not a comment")),
            ("# a comment", None),
        ] {
            assert_eq!(ignored(text, path).as_deref(), rule, "{path}");
        }
    }

    #[test]
    fn exceptions_apply_below_ignored_folders() {
        assert_eq!(ignored("*\n!src\n**/*.pyc\n", "src/a/b"), None);
        assert_eq!(ignored("*\n!src\n**/*.pyc\n", "src/a/b.pyc").as_deref(), Some("f:3 **/*.pyc"));
        assert_eq!(ignored("d\n!d/x/keep\n", "d/x/keep/y"), None);
        assert_eq!(ignored("d\n!d/x/keep\n", "d/x/other").as_deref(), Some("f:1 d"));
        // `a` is in the context without `!a`, so the exception does not apply to `a/x`.
        assert_eq!(ignored("*/x\n!a\n", "a/x").as_deref(), Some("f:1 */x"));
    }

    #[test]
    fn errors_for_invalid_patterns_have_a_line() {
        for text in ["!", "a\n!  \n", "[", "a[", "[]a]", "[a-]", "x\\", "[z-a]"] {
            let (line, error) = IgnoreRules::parse(text, "f").expect_err(text);
            assert_eq!(line, text.lines().count(), "{text:?}");
            assert!(error.to_string().contains("is not a valid pattern"), "{error}");
        }
    }
}
