//! Draws frames at the bottom of a terminal that may be resized.

use std::fmt::Write as _;
use std::io::Write;

/// The size of a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A terminal with a frame, whose last line has no line end.
pub(super) struct Screen {
    writer: Box<dyn Write + Send>,
    size: Box<dyn Fn() -> Size + Send>,
    /// The widths of the lines of the frame.
    frame: Vec<usize>,
}

impl Screen {
    pub(super) fn new(
        writer: impl Write + Send + 'static,
        size: impl Fn() -> Size + Send + 'static,
    ) -> Self {
        Self { writer: Box::new(writer), size: Box::new(size), frame: Vec::new() }
    }

    pub(super) fn size(&self) -> Size {
        (self.size)()
    }

    /// Prints `lines` above the frame and replaces the frame, in one write.
    pub(super) fn draw(&mut self, lines: &[String], frame: &str) {
        let mut text = self.up();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(frame);
        self.frame = frame.lines().map(console::measure_text_width).collect();
        // Progress that cannot be shown does not end a run.
        let _ = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
    }

    /// Returns the control sequences that clear the frame. A terminal that has become narrower has broken its lines.
    fn up(&self) -> String {
        if self.frame.is_empty() {
            return String::new();
        }
        let columns = self.size().columns.max(1);
        let rows: usize = self.frame.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        let mut text = "\r".to_owned();
        if rows > 1 {
            let _ = write!(text, "\u{1b}[{}A", rows - 1);
        }
        text + "\u{1b}[J"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::printer::lock;
    use super::*;

    /// A terminal in memory, which keeps its text.
    #[derive(Clone)]
    pub(in crate::report) struct FakeTerminal {
        parser: Arc<Mutex<vt100::Parser>>,
        pub(in crate::report) size: Arc<Mutex<Size>>,
    }

    impl FakeTerminal {
        pub(in crate::report) fn new(rows: u16, columns: u16) -> Self {
            let size = Size { rows: rows.into(), columns: columns.into() };
            Self {
                parser: Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))),
                size: Arc::new(Mutex::new(size)),
            }
        }

        pub(in crate::report) fn screen(&self) -> Screen {
            let size = Arc::clone(&self.size);
            Screen::new(self.clone(), move || *lock(&size))
        }

        /// Returns the visible text without spaces at the ends of lines and without empty lines at the end.
        pub(in crate::report) fn contents(&self) -> String {
            let columns = u16::try_from(lock(&self.size).columns).expect("a width");
            let parser = lock(&self.parser);
            let rows = parser.screen().rows(0, columns);
            let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
            rows.join("\n").trim_end_matches('\n').to_owned()
        }
    }

    impl Write for FakeTerminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n");
            lock(&self.parser).process(text.as_bytes());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_narrower_terminal_is_cleared_of_broken_rows() {
        let term = FakeTerminal::new(20, 20);
        let mut screen = term.screen();
        screen.draw(&[], "0123456789\nabcde");
        assert_eq!(screen.up(), "\r\u{1b}[1A\u{1b}[J");
        // Ten columns become three rows, and five become two.
        lock(&term.size).columns = 4;
        assert_eq!(screen.up(), "\r\u{1b}[4A\u{1b}[J");
    }

    #[test]
    fn frames_and_lines_follow_one_another() {
        let term = FakeTerminal::new(8, 20);
        let mut screen = term.screen();
        screen.draw(&[], "one\ntwo");
        assert_eq!(term.contents(), "one\ntwo");
        screen.draw(&["printed\nexactly twenty wide.".to_owned()], "one\ntwo");
        assert_eq!(term.contents(), "printed\nexactly twenty wide.\none\ntwo");
        screen.draw(&[], "three");
        assert_eq!(term.contents(), "printed\nexactly twenty wide.\nthree");
        screen.draw(&["a line that is wider than the terminal".to_owned()], "");
        screen.draw(&["last".to_owned()], "");
        insta::assert_snapshot!(term.contents());
    }
}
