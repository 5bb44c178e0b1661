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

pub(super) use evaluate::{Item, Literal, Unknown};
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
    /// While parsing: the scope whose decorators have been read, and whose class or function comes next.
    decorated: Option<usize>,
}

/// The module, a class or a function. The first is the module.
#[derive(Debug, Default)]
struct Scope {
    /// Empty for the module.
    name: String,
    is_class: bool,
    is_decorated: bool,
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
        let scopes = vec![Scope::default()];
        let (assignments, calls) = (Vec::new(), Vec::new());
        let mut module = Self { scopes, assignments, calls, decorated: None };
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
        if is_operator(0, "@") {
            // `@fal.function(name="x")` sets attributes of the function that follows.
            let inner = self.open_scope(scope, tokens[0].column);
            self.scopes[inner].is_decorated = true;
            self.decorated = Some(inner);
            if let Some(open) = tokens.iter().position(|token| token.is("(")) {
                self.read_attributes(inner, &tokens[open + 1..]);
            }
            self.read_calls(inner, None, tokens, methods);
            return scope;
        }
        let skipped = usize::from(word(0) == Some("async"));
        if let (Some("class" | "def"), Some(name)) = (word(skipped), word(skipped + 1)) {
            let inner = self.open_scope(scope, tokens[0].column);
            name.clone_into(&mut self.scopes[inner].name);
            if word(skipped) == Some("class") {
                self.scopes[inner].is_class = true;
                if is_operator(skipped + 2, "(") {
                    // `class App(fal.App, name="x")` sets attributes.
                    self.read_attributes(inner, &tokens[skipped + 3..]);
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
        self.read_calls(scope, target.as_deref(), tokens, methods);
        scope
    }

    /// Returns the scope of the next class or function in `parent`: a new one, unless it has decorators already.
    fn open_scope(&mut self, parent: usize, indent: usize) -> usize {
        if let Some(decorated) = self.decorated.take() {
            return decorated;
        }
        self.scopes.push(Scope { parent: Some(parent), indent, ..Scope::default() });
        self.scopes.len() - 1
    }

    /// Reads arguments until the closing bracket. Those with a name are assignments of `scope`.
    fn read_attributes(&mut self, scope: usize, tokens: &[Token]) {
        for argument in Parser::new(tokens).arguments() {
            if let Some(name) = argument.name {
                self.assignments.push(Assignment { scope, name, value: argument.value });
            }
        }
    }

    /// Reads the calls of `methods` in a statement that assigns to `target`.
    fn read_calls(
        &mut self,
        scope: usize,
        target: Option<&str>,
        tokens: &[Token],
        methods: &[&str],
    ) {
        for (at, token) in tokens.iter().enumerate().skip(2) {
            let Some(method) = token.name().filter(|name| methods.contains(name)) else { continue };
            let is_call = tokens[at - 1].is(".") && tokens.get(at + 1).is_some_and(|t| t.is("("));
            if is_call {
                self.calls.push(Call {
                    scope,
                    line: token.line,
                    receiver: tokens[at - 2].name().unwrap_or_default().to_owned(),
                    method: method.to_owned(),
                    target: target.map(str::to_owned),
                    arguments: Parser::new(&tokens[at + 2..]).arguments(),
                });
            }
        }
    }

    /// Returns the name of a class or function; empty for the module.
    pub(super) fn scope_name(&self, scope: usize) -> &str {
        &self.scopes[scope].name
    }

    /// Returns the class or decorated function that a call belongs to: the one that contains it, or the only one whose
    /// attribute `image` is the name that it is assigned to.
    pub(super) fn owner_of(&self, call: &Call) -> Option<usize> {
        let around = || self.around(call.scope);
        let class = around().find(|at| self.scopes[*at].is_class);
        let owner = class.or_else(|| around().find(|at| self.scopes[*at].is_decorated));
        if owner.is_some() {
            return owner;
        }
        let is_image = |one: &&Assignment| {
            let name = Expression::Name(call.target.clone().unwrap_or_default());
            one.scope > 0 && one.name == "image" && one.value.expression == name
        };
        let mut owners = self.assignments.iter().filter(is_image).map(|one| one.scope);
        owners.next().filter(|_| owners.next().is_none())
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
        self.around(scope).filter(move |at| *at == scope || !self.scopes[*at].is_class)
    }

    /// Returns a scope and those that contain it, the innermost first.
    fn around(&self, scope: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(scope), |at| self.scopes[*at].parent)
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
