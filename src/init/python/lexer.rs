use std::iter;
use std::ops::Range;

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// The line, from 1.
    pub(super) line: usize,
    /// The number of characters before it in its line.
    pub(super) column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A name or a keyword.
    Name(String),
    Number(String),
    /// A string that may be an f-string.
    Text(Vec<Piece>),
    /// Bytes, a template string, or a string with an escape that is not supported.
    Opaque,
    /// One character of an operator, or two for `==` and the like.
    Operator(String),
    /// The end of a statement.
    End,
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) enum Piece {
    Literal(String),
    /// An expression in the braces of an f-string.
    Expression(String),
}

impl Token {
    /// Returns a name or a keyword.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Returns true for this operator.
    pub(super) fn is(&self, operator: &str) -> bool {
        matches!(&self.kind, TokenKind::Operator(found) if found == operator)
    }
}

/// Splits a file into tokens. The error is a line and a message.
///
/// Reference: <https://docs.python.org/3/reference/lexical_analysis.html>
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer { text, at: 0, line: 1, line_start: 0, depth: 0, tokens: Vec::new() };
    while let Some(character) = lexer.peek() {
        lexer.token(character)?;
    }
    lexer.end();
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// The line, from 1.
    line: usize,
    line_start: usize,
    /// The number of open brackets, within which a statement continues on the next line.
    depth: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let (line, column) = (self.line, self.text[self.line_start..start].chars().count());
        self.tokens.push(Token { kind, line, column });
    }

    /// Ends the statement, unless it has no token.
    fn end(&mut self) {
        if self.tokens.last().is_some_and(|token| token.kind != TokenKind::End) {
            self.push(TokenKind::End, self.at);
        }
    }

    /// Moves past `length` bytes, and counts their lines.
    fn skip(&mut self, length: usize) {
        let part = &self.text[self.at..self.at + length];
        self.line += part.matches('\n').count();
        if let Some(last) = part.rfind('\n') {
            self.line_start = self.at + last + 1;
        }
        self.at += length;
    }

    /// Returns the number of bytes of the next characters that `is_part` accepts.
    fn run(&self, is_part: impl Fn(char) -> bool) -> usize {
        let rest = &self.text[self.at..];
        rest.find(|c| !is_part(c)).unwrap_or(rest.len())
    }

    fn token(&mut self, character: char) -> Result<(), (usize, String)> {
        let start = self.at;
        match character {
            '\n' => {
                if self.depth == 0 {
                    self.end();
                }
                self.skip(1);
            }
            '#' => self.at += self.run(|c| c != '\n'),
            // The line continues.
            '\\' => {
                self.at += self.run(|c| matches!(c, '\\' | '\r'));
                if self.peek() == Some('\n') {
                    self.skip(1);
                }
            }
            ';' if self.depth == 0 => {
                self.end();
                self.at += 1;
            }
            _ if character.is_whitespace() => self.skip(character.len_utf8()),
            '"' | '\'' => self.string("", start)?,
            _ if character.is_alphabetic() || character == '_' => {
                let length = self.run(|c| c.is_alphanumeric() || c == '_');
                let word = &self.text[start..start + length];
                let is_prefix = word.len() <= 2 && word.chars().all(|c| "rbuftRBUFT".contains(c));
                self.at += length;
                if is_prefix && matches!(self.peek(), Some('"' | '\'')) {
                    self.string(word, start)?;
                } else {
                    self.push(TokenKind::Name(word.to_owned()), start);
                }
            }
            _ if character.is_ascii_digit() => {
                self.at += self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
                let number = self.text[start..self.at].to_owned();
                self.push(TokenKind::Number(number), start);
            }
            _ => {
                match character {
                    '(' | '[' | '{' => self.depth += 1,
                    ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                let is_double = self.text[start + character.len_utf8()..].starts_with('=')
                    && "=!<>+-*/%|&^@:".contains(character);
                self.at += character.len_utf8() + usize::from(is_double);
                self.push(TokenKind::Operator(self.text[start..self.at].to_owned()), start);
            }
        }
        Ok(())
    }

    /// Reads a string whose quotes are next. `prefix` is before them, and `start` is its place.
    fn string(&mut self, prefix: &str, start: usize) -> Result<(), (usize, String)> {
        let prefix = prefix.to_ascii_lowercase();
        let rest = &self.text[self.at..];
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let quotes = if rest.starts_with(&triple) { triple.as_str() } else { quote };
        let is_formatted = prefix.contains(['f', 't']);
        let body = &rest[quotes.len()..];
        let end = end_of_string(body, quotes, is_formatted);
        let end = end.ok_or_else(|| (self.line, "the string has no end".to_owned()))?;
        let pieces = if is_formatted { split(&body[..end]) } else { vec![(0..end, true)] };
        let pieces = pieces.into_iter().map(|(range, is_literal)| {
            let text = &body[range];
            match is_literal {
                false => Some(Piece::Expression(text.trim().to_owned())),
                true if prefix.contains('r') => Some(Piece::Literal(text.to_owned())),
                true => decode(text).map(Piece::Literal),
            }
        });
        let pieces: Option<Vec<Piece>> = pieces.collect();
        let kind = match pieces.filter(|_| !prefix.contains(['b', 't'])) {
            Some(pieces) => TokenKind::Text(pieces),
            None => TokenKind::Opaque,
        };
        // The token is at its first line.
        self.push(kind, start);
        self.skip(end + 2 * quotes.len());
        Ok(())
    }
}

/// Returns the length of a string's body, which ends with `quotes`.
fn end_of_string(body: &str, quotes: &str, is_formatted: bool) -> Option<usize> {
    let (mut braces, mut inner) = (0_usize, None);
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            // Strings in the braces of an f-string can have the same quotes.
            '"' | '\'' if braces > 0 => match inner {
                None => inner = Some(character),
                Some(open) if open == character => inner = None,
                Some(_) => {}
            },
            _ if inner.is_some() => {}
            '{' if is_formatted && braces == 0 && body[at + 1..].starts_with('{') => {
                characters.next();
            }
            '{' if is_formatted => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ if braces == 0 && body[at..].starts_with(quotes) => return Some(at),
            '\n' if quotes.len() == 1 => return None,
            _ => {}
        }
    }
    None
}

/// Splits the body of an f-string. Each part is literal or the inside of braces. Doubled braces are one brace.
fn split(body: &str) -> Vec<(Range<usize>, bool)> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    let bytes = body.as_bytes();
    while at < bytes.len() {
        let is_double = bytes.get(at + 1) == Some(&bytes[at]);
        match bytes[at] {
            b'{' | b'}' if is_double => {
                parts.push((begin..at + 1, true));
                at += 2;
                begin = at;
            }
            b'{' => {
                parts.push((begin..at, true));
                let mut depth = 0_usize;
                let end = body[at..].find(|c| {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    depth == 0
                });
                let end = end.map_or(body.len(), |length| at + length);
                parts.push((at + 1..end, false));
                at = (end + 1).min(body.len());
                begin = at;
            }
            _ => at += 1,
        }
    }
    parts.push((begin..body.len(), true));
    parts
}

/// Replaces the escapes of a string. Returns `None` for one that is not supported.
fn decode(body: &str) -> Option<String> {
    let mut text = String::with_capacity(body.len());
    let mut rest = body.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let escape = rest.next()?;
        let mut code = |count: usize, radix: u32| {
            let digits = iter::from_fn(|| rest.next_if(|c| c.is_digit(radix)));
            let digits: String = digits.take(count).collect();
            u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
        };
        let decoded = match escape {
            // The line continues.
            '\n' => continue,
            '\r' => {
                rest.next_if_eq(&'\n');
                continue;
            }
            '\\' | '\'' | '"' => escape,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            'x' => code(2, 16)?,
            'u' => code(4, 16)?,
            'U' => code(8, 16)?,
            'N' => return None,
            '0'..='7' => {
                let mut value = escape.to_digit(8)?;
                while value < 0o40
                    && let Some(digit) = rest.next_if(|c| c.is_digit(8))
                {
                    value = value * 8 + digit.to_digit(8)?;
                }
                char::from_u32(value)?
            }
            // Python keeps the backslash of unknown escapes.
            _ => {
                text.push('\\');
                escape
            }
        };
        text.push(decoded);
    }
    Some(text)
}
