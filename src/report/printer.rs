//! Writes to stdout and stderr. No other code does, except for the live table.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guard::Guard;
use super::mask::Mask;
use super::workflow_command::Command;

/// Prints results to `out` and everything else to `err`.
#[derive(Debug, Clone)]
pub struct Printer {
    pub out: Stream,
    pub err: Stream,
    /// Whether only results, warnings and errors are printed.
    pub quiet: bool,
}

impl Printer {
    /// Creates a printer for the stdout and stderr of the process.
    #[must_use]
    pub fn standard() -> Self {
        Self { out: Stream::new(io::stdout()), err: Stream::new(io::stderr()), quiet: false }
    }

    /// Returns a printer to the same streams with these guards.
    #[must_use]
    pub fn guarded(&self, out: Guard, err: Guard) -> Self {
        Self { out: self.out.guarded(out), err: self.err.guarded(err), ..*self }
    }

    /// Returns a printer to the same streams whose lines GitHub's runner reads.
    #[must_use]
    pub fn for_actions(&self) -> Self {
        let read = |stream: &Stream| Guard { actions: true, ..stream.guard };
        self.guarded(read(&self.out), read(&self.err))
    }

    /// Redacts all later output, including that of other printers to the same streams.
    pub fn mask(&self, mask: &Mask) {
        for stream in [&self.out, &self.err] {
            lock(&stream.inner).mask = mask.clone();
        }
    }

    /// Prints a result: `text` and a line end, unless it has one or is empty.
    pub fn result(&self, text: &str) {
        self.out.lock().line(text);
    }

    /// Prints the content of a file. It is guarded only on terminals and GitHub Actions.
    pub fn file(&self, text: &str) {
        let mut out = self.out.lock();
        if out.guard.terminal || out.guard.actions { out.line(text) } else { out.write(text) }
    }

    /// Prints a message: `text` and a line end, unless it has one or is empty.
    pub fn message(&self, text: &str) {
        self.err.lock().line(text);
    }

    /// Prints the outcome of a command on stdout, unless the command is quiet.
    pub fn done(&self, text: &str) {
        if !self.quiet {
            self.result(text);
        }
    }

    /// Prints a message that is neither a warning nor an error, unless the command is quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.message(text);
        }
    }

    /// Returns the first error on stdout: a lost result is not a success. A closed pipe is no error.
    pub fn finish(&self) -> io::Result<()> {
        self.out.finish()
    }
}

/// A writer that threads share. It guards all text and ignores writes after an error.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<Mutex<Inner>>,
    guard: Guard,
}

struct Inner {
    writer: Box<dyn Write + Send>,
    /// The first error. All later writes are ignored.
    end: Option<io::Error>,
    mask: Mask,
}

impl Stream {
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let inner = Inner { writer: Box::new(writer), end: None, mask: Mask::none() };
        Self { inner: Arc::new(Mutex::new(inner)), guard: Guard::default() }
    }

    fn guarded(&self, guard: Guard) -> Self {
        Self { inner: Arc::clone(&self.inner), guard }
    }

    /// Locks the stream for several consecutive writes.
    #[must_use]
    pub fn lock(&self) -> StreamLock<'_> {
        StreamLock { inner: lock(&self.inner), guard: self.guard }
    }

    /// Prints workflow commands, a line each.
    pub fn commands(&self, commands: &[Command]) {
        let mut stream = self.lock();
        for command in commands {
            stream.command(command);
        }
    }

    /// Returns the first error of a write, unless the reader has closed the pipe.
    pub fn finish(&self) -> io::Result<()> {
        match &lock(&self.inner).end {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(io::Error::new(error.kind(), error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Stream")
    }
}

/// A locked [`Stream`]. Dropping it flushes the output.
pub struct StreamLock<'a> {
    inner: MutexGuard<'a, Inner>,
    guard: Guard,
}

impl StreamLock<'_> {
    /// Writes `text` and a line end, unless it has one or is empty.
    pub fn line(&mut self, text: &str) {
        let text = self.guard.apply(text);
        self.write(&text);
    }

    pub fn command(&mut self, command: &Command) {
        self.write(&command.to_string());
    }

    fn write(&mut self, text: &str) {
        if text.is_empty() || self.inner.end.is_some() {
            return;
        }
        let masked = self.inner.mask.conceal(text);
        let text = masked.as_deref().unwrap_or(text);
        // A single write does not interleave with other processes on the terminal.
        let end = if text.ends_with('\n') { "" } else { "\n" };
        if let Err(error) = self.inner.writer.write_all(format!("{text}{end}").as_bytes()) {
            self.inner.end = Some(error);
        }
    }
}

impl Drop for StreamLock<'_> {
    fn drop(&mut self) {
        if self.inner.end.is_none()
            && let Err(error) = self.inner.writer.flush()
        {
            self.inner.end = Some(error);
        }
    }
}

/// Locks `mutex` even if another thread has panicked: an incomplete report is better than none.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts `capacity` bytes and then fails.
    struct LimitedWriter {
        capacity: usize,
        kind: io::ErrorKind,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for LimitedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.capacity {
                return Err(self.kind.into());
            }
            self.capacity -= bytes.len();
            lock(&self.written).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn limited_printer(capacity: usize, kind: io::ErrorKind) -> (Printer, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Stream::new(LimitedWriter { capacity, kind, written: Arc::clone(&written) });
        let err = Stream::new(io::sink());
        (Printer { out, err, quiet: false }, written)
    }

    #[test]
    fn a_closed_pipe_ends_the_output_without_an_error() {
        let (printer, written) = limited_printer(5, io::ErrorKind::BrokenPipe);
        printer.result("one");
        printer.result("three");
        assert!(lock(&printer.out.inner).end.is_some());
        printer.result("");
        printer.result("4");
        assert_eq!(*lock(&written), b"one\n");
        assert!(printer.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let (printer, _) = limited_printer(0, io::ErrorKind::StorageFull);
        printer.result("one");
        let error = printer.finish().expect_err("a full disk");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn each_result_ends_with_one_line_end() {
        let (printer, written) = limited_printer(100, io::ErrorKind::Other);
        printer.result("a\n");
        printer.result("b");
        printer.result("");
        assert_eq!(*lock(&written), b"a\nb\n");
    }
}
