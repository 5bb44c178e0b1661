//! Splits lines into words and removes quotes and escapes, like Docker does.
//!
//! Reference: <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/shell/lex.go>

/// The role of a character in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    /// A literal character in quotes or after an escape.
    Quoted,
    /// A quote or an escape character.
    Mark,
}

/// Returns the characters of `text` with their offsets and roles, or `None` if a quote is not closed.
fn roles(text: &str, escape: char) -> Option<Vec<(usize, char, Role)>> {
    let mut roles = Vec::new();
    let mut quote = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        let role = match (character, quote) {
            ('\'' | '"', None) => {
                quote = Some(character);
                Role::Mark
            }
            (_, Some(open)) if character == open => {
                quote = None;
                Role::Mark
            }
            (_, Some('\'')) => Role::Quoted,
            _ if character == escape => {
                // In double quotes, only characters with a special meaning can be escaped.
                let is_escaped =
                    |next: char| quote.is_none() || next == '"' || next == '$' || next == escape;
                match rest.next_if(|(_, next)| is_escaped(*next)) {
                    Some((after, next)) => {
                        roles.push((at, character, Role::Mark));
                        roles.push((after, next, Role::Quoted));
                        continue;
                    }
                    None if quote.is_none() => Role::Mark,
                    None => Role::Quoted,
                }
            }
            (_, Some(_)) => Role::Quoted,
            (_, None) => Role::Plain,
        };
        roles.push((at, character, role));
    }
    quote.is_none().then_some(roles)
}

/// Splits `line` into words, with quotes and escapes. Returns `None` if a quote is not closed.
pub(crate) fn split(line: &str, escape: char) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut begin = None;
    for (at, character, role) in roles(line, escape)? {
        let is_space = role == Role::Plain && character.is_whitespace();
        match begin {
            Some(from) if is_space => {
                words.push(&line[from..at]);
                begin = None;
            }
            None if !is_space => begin = Some(at),
            _ => {}
        }
    }
    words.extend(begin.map(|from| &line[from..]));
    Some(words)
}

/// Removes quotes and escapes from `word`. Returns `None` if a quote is not closed.
pub(crate) fn unquoted(word: &str, escape: char) -> Option<String> {
    let roles = roles(word, escape)?.into_iter();
    Some(
        roles.filter(|(.., role)| *role != Role::Mark).map(|(_, character, _)| character).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_join_words() {
        for (line, words) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            (r#"a "b c" d'e f'g"#, &["a", r#""b c""#, "d'e f'g"]),
            (r"a\ b 'c\' d", &[r"a\ b", r"'c\'", "d"]),
            (r#""a\" b" \"c"#, &[r#""a\" b""#, r#"\"c"#]),
            ("  ", &[]),
        ] {
            assert_eq!(split(line, '\\').expect(line), words, "{line}");
        }
        for line in ["it's", "\"a", r#""a\""#] {
            assert_eq!(split(line, '\\'), None, "{line}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_removed() {
        for (word, expected) in [
            ("'a.txt'", "a.txt"),
            (r#""a b"c'd'"#, "a bcd"),
            (r#""a\n\"\\""#, r#"a\n"\"#),
            (r"'a\'b\c", r"a\bc"),
            ("a\\", "a"),
        ] {
            assert_eq!(unquoted(word, '\\').as_deref(), Some(expected), "{word}");
        }
        assert_eq!(unquoted(r"a`b\c", '`').as_deref(), Some(r"ab\c"));
        assert_eq!(unquoted("\"a", '\\'), None);
    }
}
