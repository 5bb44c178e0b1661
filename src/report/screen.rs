//! Draws indicatif's frames on terminals that may be resized.

use std::io;
use std::sync::Mutex;

use indicatif::TermLike;

use super::printer::lock;

/// Writes indicatif's frames with explicit line ends.
///
/// indicatif fills each line with spaces and lets it wrap into the next one. A terminal that reflows takes
/// the whole frame for one long line, and breaks it when its width changes. This type writes a line end
/// instead of the spaces. When the terminal becomes narrower, it also clears the rows into which the terminal
/// has broken the last frame.
///
/// This relies on the drawing order of indicatif 0.18: it moves up to the first line of the last frame,
/// clears that frame line by line, writes each line and its spaces, and flushes.
#[derive(Debug)]
pub(super) struct Screen<T> {
    term: T,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    /// The width of the terminal at the last frame.
    width: u16,
    /// The widths of the lines of that frame, and of lines printed with it.
    lines: Vec<usize>,
    is_drawing: bool,
    /// Whether the next text is the spaces at the end of a line.
    is_filling: bool,
    /// Whether the last line has no line end yet.
    is_open: bool,
}

impl<T: TermLike> Screen<T> {
    pub(super) fn new(term: T) -> Self {
        Self { term, drawn: Mutex::default() }
    }

    /// Begins a frame. The last one had `rows` rows.
    fn begin(&self, drawn: &mut Drawn, rows: usize) -> io::Result<()> {
        let width = self.term.width();
        let lines = std::mem::take(&mut drawn.lines);
        drawn.is_drawing = true;
        if width == 0 || width >= drawn.width {
            return Ok(());
        }
        let frame = lines.iter().rev().take(rows);
        let broken: usize =
            frame.map(|columns| columns.div_ceil(usize::from(width)).saturating_sub(1)).sum();
        if broken > 0 {
            self.term.move_cursor_up(broken)?;
            self.term.write_str("\r\u{1b}[J")?;
        }
        Ok(())
    }
}

impl<T: TermLike> TermLike for Screen<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        let mut drawn = lock(&self.drawn);
        if !drawn.is_drawing {
            self.begin(&mut drawn, count + 1)?;
        }
        self.term.move_cursor_up(count)
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.term.move_cursor_down(count)
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.term.move_cursor_right(count)
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.term.move_cursor_left(count)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawn = lock(&self.drawn);
        if drawn.is_filling {
            drawn.is_filling = false;
            drawn.is_open = true;
            return Ok(());
        }
        if drawn.is_open {
            self.term.write_line("")?;
            drawn.is_open = false;
        }
        drawn.lines.push(console::measure_text_width(text));
        drawn.is_filling = true;
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        // The open line belongs to the cleared frame.
        lock(&self.drawn).is_open = false;
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = lock(&self.drawn);
        drawn.is_drawing = false;
        drawn.width = self.term.width();
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use indicatif::{InMemoryTerm, ProgressBar, ProgressDrawTarget, ProgressStyle};

    use super::*;

    /// A terminal with a variable width that records its calls.
    #[derive(Debug, Clone)]
    struct ResizableTerm {
        width: Arc<AtomicU16>,
        calls: Arc<Mutex<Vec<String>>>,
    }

    impl ResizableTerm {
        fn record(&self, call: impl Into<String>) {
            lock(&self.calls).push(call.into());
        }
    }

    impl TermLike for ResizableTerm {
        fn width(&self) -> u16 {
            self.width.load(Ordering::Relaxed)
        }
        fn move_cursor_up(&self, count: usize) -> io::Result<()> {
            self.record(format!("up {count}"));
            Ok(())
        }
        fn move_cursor_down(&self, count: usize) -> io::Result<()> {
            self.record(format!("down {count}"));
            Ok(())
        }
        fn move_cursor_right(&self, count: usize) -> io::Result<()> {
            self.record(format!("right {count}"));
            Ok(())
        }
        fn move_cursor_left(&self, count: usize) -> io::Result<()> {
            self.record(format!("left {count}"));
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.record(format!("line {text:?}"));
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.record(format!("text {text:?}"));
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.record("clear");
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bar(term: impl TermLike + 'static) -> ProgressBar {
        let target = ProgressDrawTarget::term_like(Box::new(Screen::new(term)));
        let style = ProgressStyle::with_template("{msg}").expect("a template");
        ProgressBar::with_draw_target(None, target).with_style(style)
    }

    #[test]
    fn a_narrower_terminal_is_cleared_of_wrapped_rows() {
        let term = ResizableTerm { width: Arc::new(AtomicU16::new(20)), calls: Arc::default() };
        let bar = bar(term.clone());
        bar.set_message("0123456789\nabcde");
        term.width.store(4, Ordering::Relaxed);
        lock(&term.calls).clear();
        bar.set_message("x");
        // Rows of ten and five columns wrap into three and two rows: three more than before.
        let expected = [
            "up 3",
            "text \"\\r\\u{1b}[J\"",
            "up 1",
            "clear",
            "down 1",
            "clear",
            "up 1",
            "text \"x\"",
        ];
        assert_eq!(*lock(&term.calls), expected);
    }

    #[test]
    fn frames_and_lines_follow_one_another() {
        let term = InMemoryTerm::new(8, 20);
        let bar = bar(term.clone());
        bar.set_message("one\ntwo");
        assert_eq!(term.contents(), "one\ntwo");
        bar.println("printed\nexactly twenty wide.");
        assert_eq!(term.contents(), "printed\nexactly twenty wide.\none\ntwo");
        bar.set_message("three");
        assert_eq!(term.contents(), "printed\nexactly twenty wide.\nthree");
        bar.println("a line that is wider than the terminal");
        bar.finish_and_clear();
        bar.println("last");
        insta::assert_snapshot!(term.contents());
    }
}
