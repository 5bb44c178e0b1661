use std::iter;
use std::slice;

use super::lexer::{Piece, Token, TokenKind};

/// An expression and its line, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) struct Located {
    pub(in crate::init) line: usize,
    pub(in crate::init) expression: Expression,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) enum Expression {
    /// A string, or several in a row.
    Text(Vec<Piece>),
    Number(String),
    /// A name, `True`, `False` or `None`.
    Name(String),
    /// A list, tuple or set.
    List(Vec<Located>),
    Table(Vec<(Located, Located)>),
    Attribute(Box<Located>, String),
    Call(Box<Located>, Vec<Argument>),
    /// An operator of one character between two operands.
    Binary(Box<Located>, char, Box<Located>),
    /// An expression of another kind.
    Other,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) struct Argument {
    pub(in crate::init) name: Option<String>,
    pub(in crate::init) value: Located,
}

/// How deep expressions may be nested, and how many operators or calls may follow each other.
const MAX_DEPTH: usize = 64;

/// Parses expressions from the tokens of one statement. Unknown syntax becomes [`Expression::Other`].
pub(super) struct Parser<'t> {
    tokens: iter::Peekable<slice::Iter<'t, Token>>,
    /// The line of the last token.
    line: usize,
    /// The number of expressions that contain the next token.
    depth: usize,
}

impl<'t> Parser<'t> {
    pub(super) fn new(tokens: &'t [Token]) -> Self {
        let line = tokens.first().map_or(1, |token| token.line);
        Self { tokens: tokens.iter().peekable(), line, depth: 0 }
    }

    fn next(&mut self) -> Option<&'t Token> {
        let token = self.tokens.next()?;
        self.line = token.line;
        Some(token)
    }

    fn next_if(&mut self, operator: &str) -> bool {
        let is_next = self.tokens.peek().is_some_and(|token| token.is(operator));
        if is_next {
            self.next();
        }
        is_next
    }

    fn is_end(&mut self) -> bool {
        let ends = [",", ")", "]", "}", ":"];
        self.tokens.peek().is_none_or(|token| ends.iter().any(|end| token.is(end)))
    }

    /// Parses an expression that ends before a comma, a colon, a closing bracket or the end of the tokens.
    pub(super) fn expression(&mut self) -> Located {
        if self.depth == MAX_DEPTH {
            self.skip();
            return Located { line: self.line, expression: Expression::Other };
        }
        self.depth += 1;
        let mut left = self.operand();
        for _ in 0..MAX_DEPTH {
            let Some(operator) = self.operator() else { break };
            let (line, right) = (left.line, self.operand());
            let expression = Expression::Binary(Box::new(left), operator, Box::new(right));
            left = Located { line, expression };
        }
        self.depth -= 1;
        if !self.is_end() {
            self.skip();
            left.expression = Expression::Other;
        }
        left
    }

    fn operator(&mut self) -> Option<char> {
        ['+', '/'].into_iter().find(|operator| self.next_if(&operator.to_string()))
    }

    /// Moves to the end of an expression.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while depth > 0 || !self.is_end() {
            let Some(token) = self.next() else { return };
            if ["(", "[", "{"].iter().any(|open| token.is(open)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|close| token.is(close)) {
                depth -= 1;
            }
        }
    }

    /// Parses an atom with its attributes and calls.
    fn operand(&mut self) -> Located {
        let mut left = self.atom();
        for _ in 0..MAX_DEPTH {
            let line = left.line;
            let expression = if self.next_if(".") {
                let name = self.next().and_then(Token::name).unwrap_or_default();
                Expression::Attribute(Box::new(left), name.to_owned())
            } else if self.next_if("(") {
                Expression::Call(Box::new(left), self.arguments())
            } else {
                break;
            };
            left = Located { line, expression };
        }
        left
    }

    fn atom(&mut self) -> Located {
        if self.is_end() {
            return Located { line: self.line, expression: Expression::Other };
        }
        let Some(token) = self.next() else {
            return Located { line: self.line, expression: Expression::Other };
        };
        let line = token.line;
        let expression = match &token.kind {
            TokenKind::Text(pieces) => {
                let mut pieces = pieces.clone();
                while let Some(Token { kind: TokenKind::Text(more), .. }) = self.tokens.peek() {
                    pieces.extend(more.iter().cloned());
                    self.next();
                }
                Expression::Text(pieces)
            }
            TokenKind::Number(text) => Expression::Number(text.clone()),
            TokenKind::Name(name) => Expression::Name(name.clone()),
            TokenKind::Operator(open) if open == "(" => self.group(),
            TokenKind::Operator(open) if open == "[" => Expression::List(self.items("]").0),
            TokenKind::Operator(open) if open == "{" => self.table(),
            _ => Expression::Other,
        };
        Located { line, expression }
    }

    /// Parses the rest of `(a)`, which is `a`, or of a tuple.
    fn group(&mut self) -> Expression {
        let (mut items, has_comma) = self.items(")");
        match items.pop() {
            Some(only) if items.is_empty() && !has_comma => only.expression,
            last => Expression::List(items.into_iter().chain(last).collect()),
        }
    }

    /// Parses items until `close`. Returns also whether there was a comma.
    fn items(&mut self, close: &str) -> (Vec<Located>, bool) {
        let (mut items, mut has_comma) = (Vec::new(), false);
        while self.tokens.peek().is_some() && !self.next_if(close) {
            items.push(self.expression());
            // Anything else is of no known expression.
            if self.next_if(",") {
                has_comma = true;
            } else if !self.tokens.peek().is_some_and(|token| token.is(close)) {
                self.next();
            }
        }
        (items, has_comma)
    }

    /// Parses the rest of a table, or of a set.
    fn table(&mut self) -> Expression {
        let (mut entries, mut items) = (Vec::new(), Vec::new());
        while self.tokens.peek().is_some() && !self.next_if("}") {
            let first = self.expression();
            if self.next_if(":") {
                entries.push((first, self.expression()));
            } else {
                items.push(first);
            }
            if !self.next_if(",") && !self.tokens.peek().is_some_and(|token| token.is("}")) {
                self.next();
            }
        }
        match (entries.is_empty(), items.is_empty()) {
            (_, true) => Expression::Table(entries),
            (true, false) => Expression::List(items),
            (false, false) => Expression::Other,
        }
    }

    /// Parses arguments until the closing bracket.
    pub(super) fn arguments(&mut self) -> Vec<Argument> {
        let mut arguments = Vec::new();
        while self.tokens.peek().is_some() && !self.next_if(")") {
            let mut ahead = self.tokens.clone();
            let name = ahead.next().and_then(Token::name);
            let name = name.filter(|_| ahead.next().is_some_and(|token| token.is("=")));
            if name.is_some() {
                self.next();
                self.next();
            }
            let value = self.expression();
            arguments.push(Argument { name: name.map(str::to_owned), value });
            if !self.next_if(",") && !self.tokens.peek().is_some_and(|token| token.is(")")) {
                self.next();
            }
        }
        arguments
    }
}
