//! Wildcards in the sources of `COPY` and `ADD`.

use std::iter::{Peekable, successors};
use std::str::Chars;

use regex_lite::{Regex, escape};

/// A path with the wildcards `*`, `?` and `[…]`, which never match a `/`.
///
/// Reference: <https://pkg.go.dev/path/filepath#Match>
#[derive(Debug)]
pub struct Wildcard(Regex);

impl Wildcard {
    /// Returns true if `path` contains wildcards.
    #[must_use]
    pub fn is_wildcard(path: &str) -> bool {
        path.contains(['*', '?', '['])
    }

    /// Parses a path. Returns `None` if Docker would refuse it. With `through_folders`, `**` matches any number of
    /// folders, as with `COPY --parents`.
    #[must_use]
    pub fn new(path: &str, through_folders: bool) -> Option<Self> {
        let mut regex = "^".to_owned();
        let mut rest = path.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '*' if through_folders && rest.next_if_eq(&'*').is_some() => {
                    let is_folder = rest.next_if_eq(&'/').is_some();
                    regex.push_str(if is_folder { "(?:.*/)?" } else { ".*" });
                }
                '*' => regex.push_str("[^/]*"),
                '?' => regex.push_str("[^/]"),
                '[' => regex.push_str(&class(&mut rest)?),
                '\\' => regex.push_str(&literal(rest.next()?)),
                other => regex.push_str(&literal(other)),
            }
        }
        Regex::new(&format!("{regex}$")).ok().map(Self)
    }

    /// Returns true if the wildcard matches `path` or a folder above it.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut above = successors(Some(path), |path| Some(path.rsplit_once('/')?.0));
        above.any(|path| self.0.is_match(path))
    }
}

/// Parses a class up to `]`: characters and ranges, negated by `^`.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut class = "[".to_owned();
    if rest.next_if_eq(&'^').is_some() {
        class.push_str("^/");
    }
    let mut is_empty = true;
    loop {
        if !is_empty && rest.next_if_eq(&']').is_some() {
            return Some(class + "]");
        }
        is_empty = false;
        class.push_str(&member(rest)?);
        if rest.next_if_eq(&'-').is_some() {
            class.push('-');
            class.push_str(&member(rest)?);
        }
    }
}

fn member(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next().map(literal),
        other => Some(literal(other)),
    }
}

fn literal(character: char) -> String {
    escape(character.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_like_those_of_docker() {
        for (wildcard, matching, others) in [
            ("[^a]*.txt", &["b.txt", "!.txt", "b.txt/c"][..], &["a.txt", "b/c.txt", ".txt"][..]),
            ("[!a].txt", &["!.txt", "a.txt"], &["b.txt"]),
            ("[a-c]*", &["abc", "c", "b/d"], &["d", "-"]),
            ("[a^]", &["a", "^"], &["b"]),
            ("[é-ö]?", &["öx"], &["ex"]),
            ("a**b", &["ab", "axb"], &["a/b"]),
            ("d/*", &["d/x", "d/x/y"], &["d", "e/d/x"]),
            (r"[\]\-]\*", &["]*", "-*"], &[r"\*", "]x"]),
            ("?.(x)+", &["a.(x)+"], &["a.x"]),
        ] {
            let parsed = Wildcard::new(wildcard, false).expect(wildcard);
            for path in matching {
                assert!(parsed.matches(path), "{wildcard} {path}");
            }
            for path in others {
                assert!(!parsed.matches(path), "{wildcard} {path}");
            }
        }
        let parsed = Wildcard::new("**/a*.json", true).expect("a wildcard");
        assert!(["a.json", "x/a.json", "x/y/ab.json"].iter().all(|path| parsed.matches(path)));
        assert!(!parsed.matches("x/b.json") && !parsed.matches("a/b.json.x"));
        let parsed = Wildcard::new("x/**", true).expect("a wildcard");
        assert!(parsed.matches("x/y/z") && !parsed.matches("y/x/z"));
        for wildcard in ["[a", "[]a]", "[-a]", "[a-]", "[z-a]", "[", "*\\"] {
            assert!(Wildcard::new(wildcard, false).is_none(), "{wildcard}");
        }
    }
}
