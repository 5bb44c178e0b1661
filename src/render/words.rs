//! Words, quotes and escapes as Docker reads them.
//!
//! Reference: <https://github.com/moby/buildkit/blob/master/frontend/dockerfile/shell/lex.go>

/// What a character is to the one who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    /// It stands for itself, whatever it means elsewhere.
    Quoted,
    /// A quote, or what escapes the next character.
    Mark,
}

/// The characters of `text`, where they begin, and what they are; `None` where a quote does
/// not end.
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
                // In double quotes it escapes only what would have a meaning there.
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

/// The words of `line` as they are written; `None` where a quote does not end.
pub(super) fn split(line: &str, escape: char) -> Option<Vec<&str>> {
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

/// `word` without its quotes and escapes; `None` where a quote does not end.
pub(super) fn unquoted(word: &str, escape: char) -> Option<String> {
    let roles = roles(word, escape)?.into_iter();
    Some(
        roles.filter(|(.., role)| *role != Role::Mark).map(|(_, character, _)| character).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_hold_words_together() {
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
    fn words_lose_their_quotes_and_escapes() {
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
