//! Reads literals in Python source, without running it.
//!
//! [`Module::parse`] splits a file into statements and keeps its assignments and the calls of some methods. Everything else
//! is skipped, so that the syntax of newer Pythons does not matter. [`Module::evaluate`] computes values that the file
//! contains: literals, names that are assigned once, and paths relative to the file.
//!
//! Parsers of Python for Rust are either not maintained any more or parts of other programs without stable releases, and
//! a whole syntax tree is not necessary here.

mod evaluate;
mod expression;
mod lexer;

pub(super) use evaluate::{Literal, Unknown};
pub(super) use expression::Located;

use expression::{Argument, Expression, Parser};
use lexer::{Token, TokenKind, tokens};

/// The statements of a file that matter.
#[derive(Debug)]
pub(super) struct Module {
    scopes: Vec<Scope>,
    assignments: Vec<Assignment>,
    /// The calls of the methods that were asked for, in the order of the file.
    pub(super) calls: Vec<Call>,
}

/// The module, a class or a function. The first is the module.
#[derive(Debug)]
struct Scope {
    name: String,
    is_class: bool,
    /// The scope that contains it.
    parent: Option<usize>,
    indent: usize,
}

#[derive(Debug)]
struct Assignment {
    scope: usize,
    name: String,
    value: Located,
}

/// A call of a method.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) scope: usize,
    /// The line, from 1.
    pub(super) line: usize,
    /// The name before the method: `image` in `image.add_dockerignore(…)`.
    pub(super) receiver: String,
    pub(super) method: String,
    /// The name that the statement assigns to.
    pub(super) target: Option<String>,
    pub(super) arguments: Vec<Argument>,
}

impl Module {
    /// Reads a file, with all calls of `methods`. The error is a line and a message.
    pub(super) fn parse(text: &str, methods: &[&str]) -> Result<Self, (usize, String)> {
        let tokens = tokens(text)?;
        let scope = Scope { name: String::new(), is_class: false, parent: None, indent: 0 };
        let mut module = Self { scopes: vec![scope], assignments: Vec::new(), calls: Vec::new() };
        let mut scope = 0;
        for statement in tokens.split(|token| token.kind == TokenKind::End) {
            if let Some(first) = statement.first() {
                scope = module.enclosing(scope, first.column);
                scope = module.statement(scope, statement, methods);
            }
        }
        Ok(module)
    }

    /// Returns the innermost scope that contains a statement at `column` after one in `scope`.
    fn enclosing(&self, mut scope: usize, column: usize) -> usize {
        while let Some(parent) = self.scopes[scope].parent
            && column <= self.scopes[scope].indent
        {
            scope = parent;
        }
        scope
    }

    /// Reads a statement. Returns the scope of the next one.
    fn statement(&mut self, scope: usize, tokens: &[Token], methods: &[&str]) -> usize {
        let word = |at: usize| tokens.get(at).and_then(Token::name);
        let is_operator = |at: usize, text: &str| tokens.get(at).is_some_and(|t| t.is(text));
        let skipped = usize::from(word(0) == Some("async"));
        if let (Some("class" | "def"), Some(name)) = (word(skipped), word(skipped + 1)) {
            let indent = tokens[0].column;
            let (name, is_class) = (name.to_owned(), word(skipped) == Some("class"));
            self.scopes.push(Scope { name, is_class, parent: Some(scope), indent });
            let inner = self.scopes.len() - 1;
            if is_class && is_operator(skipped + 2, "(") {
                // `class App(fal.App, name="x")` sets attributes.
                for argument in Parser::new(&tokens[skipped + 3..]).arguments() {
                    if let Some(name) = argument.name {
                        let value = argument.value;
                        self.assignments.push(Assignment { scope: inner, name, value });
                    }
                }
            }
            return inner;
        }
        let equals = if is_operator(1, "=") {
            Some(1)
        } else if is_operator(1, ":") {
            tokens.iter().position(|token| token.is("="))
        } else {
            None
        };
        let target = word(0).filter(|_| equals.is_some()).map(str::to_owned);
        if let (Some(name), Some(equals)) = (&target, equals) {
            let value = Parser::new(&tokens[equals + 1..]).expression();
            self.assignments.push(Assignment { scope, name: name.clone(), value });
        }
        for (at, token) in tokens.iter().enumerate().skip(2) {
            let Some(method) = token.name().filter(|name| methods.contains(name)) else { continue };
            if is_operator(at - 1, ".") && is_operator(at + 1, "(") {
                self.calls.push(Call {
                    scope,
                    line: token.line,
                    receiver: word(at - 2).unwrap_or_default().to_owned(),
                    method: method.to_owned(),
                    target: target.clone(),
                    arguments: Parser::new(&tokens[at + 2..]).arguments(),
                });
            }
        }
        scope
    }

    /// Returns the name of a class or function; empty for the module.
    pub(super) fn scope_name(&self, scope: usize) -> &str {
        &self.scopes[scope].name
    }

    /// Returns the class that a call belongs to: the one that contains it, or the only one whose attribute `image` is the
    /// name that it is assigned to.
    pub(super) fn class_of(&self, call: &Call) -> Option<usize> {
        let mut around = std::iter::successors(Some(call.scope), |at| self.scopes[*at].parent);
        if let Some(class) = around.find(|at| self.scopes[*at].is_class) {
            return Some(class);
        }
        let is_image = |one: &&Assignment| {
            let name = Expression::Name(call.target.clone().unwrap_or_default());
            one.scope > 0 && one.name == "image" && one.value.expression == name
        };
        let mut classes = self.assignments.iter().filter(is_image).map(|one| one.scope);
        classes.next().filter(|_| classes.next().is_none())
    }

    /// Returns the line, from 1, at which the text of an expression begins.
    pub(super) fn line_of_text(&self, scope: usize, expression: &Located) -> usize {
        let found = match &expression.expression {
            Expression::Name(name) => {
                let mut found = self.visible(scope).flat_map(|at| self.assigned(at, name));
                found.next().filter(|value| *value != expression)
            }
            Expression::Call(_, arguments) => arguments.first().map(|argument| &argument.value),
            _ => None,
        };
        found.map_or(expression.line, |found| self.line_of_text(scope, found))
    }

    /// Returns the scopes whose names a statement in `scope` sees, the innermost first. Functions do not see the names of the
    /// class that contains them.
    fn visible(&self, scope: usize) -> impl Iterator<Item = usize> {
        let around = std::iter::successors(Some(scope), |at| self.scopes[*at].parent);
        around.filter(move |at| *at == scope || !self.scopes[*at].is_class)
    }

    /// Returns the values that `scope` itself assigns to `name`.
    pub(super) fn assigned<'a>(
        &'a self,
        scope: usize,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Located> {
        let found = self.assignments.iter().filter(move |one| one.scope == scope);
        found.filter(move |one| one.name == name).map(|one| &one.value)
    }
}

#[cfg(test)]
mod tests;
