//! Writes to stdout and stderr. No other code does, except for the live table.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::github::Command;
use super::guard::Guard;
use super::mask::Mask;

/// Prints results to `out` and everything else to `err`.
#[derive(Debug, Clone)]
pub struct Printer {
    /// The stream for results.
    pub out: Stream,
    /// The stream for messages.
    pub err: Stream,
    /// Whether only results, warnings and errors are printed.
    pub quiet: bool,
}

impl Printer {
    /// Prints to the process's own stdout and stderr.
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

    /// Masks everything that is printed from now on, also through other printers to the same streams.
    pub fn mask(&self, mask: &Mask) {
        for stream in [&self.out, &self.err] {
            lock(&stream.inner).mask = mask.clone();
        }
    }

    /// Prints a result: `text` and a line end, unless it has one or is empty.
    pub fn result(&self, text: &str) {
        self.out.lock().line(text);
    }

    /// Prints the content of a file as it is, unless somebody looks at it.
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

    /// Ends the output; the error is that of stdout, since a result that got lost
    /// must not look like success. A reader that had enough is no error.
    pub fn finish(&self) -> io::Result<()> {
        self.out.finish()
    }
}

/// A writer shared between threads that says no more once its reader has gone. All text passes its guard.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<Mutex<Inner>>,
    guard: Guard,
}

struct Inner {
    writer: Box<dyn Write + Send>,
    /// Set by the first write that fails; nothing is written after it.
    end: Option<io::Error>,
    mask: Mask,
}

impl Stream {
    /// A stream into `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let inner = Inner { writer: Box::new(writer), end: None, mask: Mask::none() };
        Self { inner: Arc::new(Mutex::new(inner)), guard: Guard::default() }
    }

    fn guarded(&self, guard: Guard) -> Self {
        Self { inner: Arc::clone(&self.inner), guard }
    }

    /// Holds the stream, so that several writes come out together.
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

    /// Whether a write has failed, for instance because the reader closed the pipe.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.inner).end.is_some()
    }

    /// What went wrong, unless it is that the reader closed the pipe.
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

/// A [`Stream`] that this thread alone may write to. What was written is flushed when it is dropped.
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

    /// Writes a workflow command.
    pub fn command(&mut self, command: &Command) {
        self.write(&command.to_string());
    }

    fn write(&mut self, text: &str) {
        if text.is_empty() || self.inner.end.is_some() {
            return;
        }
        let masked = self.inner.mask.conceal(text);
        let text = masked.as_deref().unwrap_or(text);
        // One write, so that other processes on the same terminal do not come between.
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

/// The value behind `mutex`, also after another thread panicked: a report that is one
/// event short is better than none.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes and then fails.
    struct Narrow {
        room: usize,
        kind: io::ErrorKind,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.room {
                return Err(self.kind.into());
            }
            self.room -= bytes.len();
            lock(&self.written).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn narrow(room: usize, kind: io::ErrorKind) -> (Printer, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Stream::new(Narrow { room, kind, written: Arc::clone(&written) });
        let err = Stream::new(io::sink());
        (Printer { out, err, quiet: false }, written)
    }

    #[test]
    fn a_closed_pipe_ends_the_output_quietly() {
        let (printer, written) = narrow(5, io::ErrorKind::BrokenPipe);
        printer.result("one");
        printer.result("three");
        assert!(printer.out.is_closed());
        printer.result("");
        printer.result("4");
        assert_eq!(*lock(&written), b"one\n");
        assert!(printer.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let (printer, _) = narrow(0, io::ErrorKind::StorageFull);
        printer.result("one");
        let error = printer.finish().expect_err("nothing was written");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn lines_end_once() {
        let (printer, written) = narrow(100, io::ErrorKind::Other);
        printer.result("a\n");
        printer.result("b");
        printer.result("");
        assert_eq!(*lock(&written), b"a\nb\n");
    }
}
