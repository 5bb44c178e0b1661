/// A command of a check, or of a container. In the matrix file, its texts are patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckCommand<T = String> {
    /// A command line for the shell of the image.
    Shell(T),
    /// A program and its arguments.
    Exec(Vec<T>),
}

impl<T> CheckCommand<T> {
    /// Returns the command line, or the program and its arguments.
    pub(super) fn words(&self) -> &[T] {
        match self {
            Self::Shell(line) => std::slice::from_ref(line),
            Self::Exec(words) => words,
        }
    }

    pub(super) fn map<U>(&self, convert: impl Fn(&T) -> U) -> CheckCommand<U> {
        match self {
            Self::Shell(line) => CheckCommand::Shell(convert(line)),
            Self::Exec(words) => CheckCommand::Exec(words.iter().map(convert).collect()),
        }
    }
}
