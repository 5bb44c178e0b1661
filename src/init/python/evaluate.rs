use std::cell::Cell;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::Module;
use super::expression::{Argument, Expression, Located};
use super::lexer::Piece;

/// How many names may refer to each other.
const MAX_DEPTH: usize = 32;

/// How many expressions, and bytes of strings, one value may have. Names that refer to others can double it each time.
const MAX_SIZE: usize = 2 << 20;

/// Why the value of an expression is unknown.
const AT_RUN_TIME: &str = "is only known when the app runs";

/// A value that is written in the file.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) enum Literal {
    None,
    Boolean(bool),
    /// The text of a number.
    Number(String),
    Text(String),
    /// A path relative to the folder of the file.
    Path(PathBuf),
    List(Vec<Item>),
    Table(Vec<(String, Item)>),
}

/// An item of a list, or the value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::init) struct Item {
    /// The line, from 1.
    pub(in crate::init) line: usize,
    pub(in crate::init) value: Result<Literal, Unknown>,
}

impl Item {
    /// Returns the text of a string or of a path, or the reason why there is none.
    pub(in crate::init) fn text(&self) -> Result<&str, String> {
        let literal = self.value.as_ref().map_err(ToString::to_string)?;
        literal.text().ok_or_else(|| "it is not a text".to_owned())
    }
}

/// An expression whose value is not written in the file. Its text is a clause about the expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::init) struct Unknown {
    /// The line, from 1.
    pub(in crate::init) line: usize,
    /// The name that has the value, if it has one.
    name: Option<String>,
    reason: String,
}

impl Unknown {
    fn new(line: usize, reason: &str) -> Self {
        Self { line, name: None, reason: reason.to_owned() }
    }

    /// Names the expression, unless a part of it has a name.
    fn with_name(self, name: &str) -> Self {
        Self { name: self.name.or_else(|| Some(name.to_owned())), ..self }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(formatter, "`{name}` {}", self.reason),
            None => write!(formatter, "it {}", self.reason),
        }
    }
}

impl Literal {
    /// Returns the text of a string or of a path.
    pub(in crate::init) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Path(path) => path.to_str(),
            _ => None,
        }
    }
}

impl Module {
    /// Returns the value of an expression in `scope`.
    pub(in crate::init) fn evaluate(
        &self,
        scope: usize,
        expression: &Located,
    ) -> Result<Literal, Unknown> {
        Evaluation { module: self, scope, depth: 0, size: &Cell::new(0) }.value(expression)
    }
}

#[derive(Clone, Copy)]
struct Evaluation<'a> {
    module: &'a Module,
    scope: usize,
    /// The number of names that led here.
    depth: usize,
    /// The number of expressions and bytes so far.
    size: &'a Cell<usize>,
}

impl Evaluation<'_> {
    fn value(self, located: &Located) -> Result<Literal, Unknown> {
        let line = located.line;
        let unknown = |reason: &str| Unknown::new(line, reason);
        self.size.set(self.size.get() + 1);
        if self.size.get() > MAX_SIZE {
            return Err(unknown("is too large"));
        }
        match &located.expression {
            Expression::Text(pieces) => self.text(pieces, line).map(Literal::Text),
            Expression::Number(text) => Ok(Literal::Number(text.clone())),
            Expression::Name(name) => self.name(name, line),
            Expression::List(items) => {
                Ok(Literal::List(items.iter().map(|item| self.item(item)).collect()))
            }
            Expression::Table(entries) => {
                let entries = entries.iter().map(|(key, value)| match self.value(key)? {
                    Literal::Text(key) => Ok((key, self.item(value))),
                    _ => Err(unknown("has a key that is not a string")),
                });
                Ok(Literal::Table(entries.collect::<Result<_, _>>()?))
            }
            Expression::Attribute(owner, name) => match (self.value(owner)?, name.as_str()) {
                (Literal::Path(path), "parent") => Ok(Literal::Path(parent(&path))),
                _ => Err(unknown(AT_RUN_TIME)),
            },
            Expression::Call(function, arguments) => self.call(function, arguments, line),
            Expression::Binary(left, operator, right) => {
                match (self.value(left)?, operator, self.value(right)?) {
                    (Literal::Text(left), '+', Literal::Text(right)) => {
                        Ok(Literal::Text(left + &right))
                    }
                    (Literal::List(left), '+', Literal::List(right)) => {
                        Ok(Literal::List(left.into_iter().chain(right).collect()))
                    }
                    (Literal::Path(left), '/', right) => {
                        let right = right.text().ok_or_else(|| unknown("is not a path"))?;
                        Ok(Literal::Path(joined(&left, Path::new(right))))
                    }
                    _ => Err(unknown("is not a literal")),
                }
            }
            Expression::Other => Err(unknown("is not a literal")),
        }
    }

    fn item(self, located: &Located) -> Item {
        Item { line: located.line, value: self.value(located) }
    }

    fn text(self, pieces: &[Piece], line: usize) -> Result<String, Unknown> {
        let texts = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => {
                self.size.set(self.size.get() + text.len());
                Ok(text.clone())
            }
            Piece::Expression(name) => match self.name(name, line)? {
                Literal::Text(text) | Literal::Number(text) => Ok(text),
                _ => Err(Unknown::new(line, "is not a string").with_name(name)),
            },
        });
        texts.collect()
    }

    /// Returns the value of a name, which the file must assign once.
    fn name(self, name: &str, line: usize) -> Result<Literal, Unknown> {
        match name {
            "True" | "False" => return Ok(Literal::Boolean(name == "True")),
            "None" => return Ok(Literal::None),
            "__file__" => return Ok(Literal::Path(PathBuf::from("."))),
            _ => {}
        }
        let unknown = |reason: &str| Unknown::new(line, reason).with_name(name);
        for at in self.module.visible(self.scope) {
            // `f(image=image)` and `image = image` in a class mean an outer `image`.
            let is_itself =
                |value: &&Located| value.expression == Expression::Name(name.to_owned());
            let values = self.module.assigned(at, name).filter(|value| !is_itself(value));
            let values: Vec<&Located> = values.collect();
            match values.as_slice() {
                [] => {}
                [value] if self.depth < MAX_DEPTH => {
                    let inner = Self { scope: at, depth: self.depth + 1, ..self };
                    return inner.value(value).map_err(|unknown| unknown.with_name(name));
                }
                [_] => return Err(unknown("refers to too many other names")),
                [first, second, ..] => {
                    let (first, second) = (first.line, second.line);
                    let reason = format!("is assigned twice, at lines {first} and {second}");
                    return Err(unknown(&reason));
                }
            }
        }
        Err(unknown(AT_RUN_TIME))
    }

    /// Returns the result of functions that only build paths or strip texts.
    fn call(
        self,
        function: &Located,
        arguments: &[Argument],
        line: usize,
    ) -> Result<Literal, Unknown> {
        let unknown = || Unknown::new(line, AT_RUN_TIME);
        if let Expression::Attribute(owner, method) = &function.expression
            && arguments.is_empty()
        {
            return match (self.value(owner)?, method.as_str()) {
                (Literal::Path(path), "resolve" | "absolute") => Ok(Literal::Path(path)),
                (Literal::Text(text), "strip") => Ok(Literal::Text(text.trim().to_owned())),
                (Literal::Text(text), "lstrip") => Ok(Literal::Text(text.trim_start().to_owned())),
                (Literal::Text(text), "rstrip") => Ok(Literal::Text(text.trim_end().to_owned())),
                _ => Err(unknown()),
            };
        }
        let values = arguments.iter().map(|argument| self.value(&argument.value));
        let values: Vec<Literal> = values.collect::<Result<_, _>>()?;
        match (last_name(function), values.as_slice()) {
            ("dedent" | "cleandoc", [Literal::Text(text)]) => Ok(Literal::Text(dedent(text))),
            ("str" | "abspath" | "realpath", [Literal::Path(path)]) => {
                Ok(Literal::Path(path.clone()))
            }
            ("dirname", [Literal::Path(path)]) => Ok(Literal::Path(parent(path))),
            ("Path" | "PurePath" | "join", [first, rest @ ..]) => {
                let mut path = PathBuf::from(first.text().ok_or_else(unknown)?);
                for part in rest {
                    path = joined(&path, Path::new(part.text().ok_or_else(unknown)?));
                }
                Ok(Literal::Path(path))
            }
            _ => Err(unknown()),
        }
    }
}

/// Returns the name of a function, without its module.
fn last_name(function: &Located) -> &str {
    match &function.expression {
        Expression::Name(name) | Expression::Attribute(_, name) => name,
        _ => "",
    }
}

/// The file itself is `.`, whose parent is its folder.
fn parent(path: &Path) -> PathBuf {
    if path.as_os_str() == "." {
        return PathBuf::new();
    }
    match path.components().next_back() {
        Some(Component::Normal(_)) => path.parent().map(Path::to_owned).unwrap_or_default(),
        _ => path.join(".."),
    }
}

fn joined(folder: &Path, path: &Path) -> PathBuf {
    // A path below the file itself does not exist; `.` is its folder here.
    folder.strip_prefix(".").unwrap_or(folder).join(path)
}

/// Removes the whitespace that all lines begin with, like `textwrap.dedent`.
fn dedent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let lines = || text.split_inclusive('\n');
    let common = lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let stripped = lines().map(|line| match line.trim() {
        "" => "\n",
        _ => &line[common..],
    });
    stripped.collect()
}
