//! A terminal that survives being resized while indicatif draws on it.

use std::io;
use std::sync::Mutex;

use indicatif::TermLike;

use super::printer::lock;

/// Draws indicatif's frames so that every line ends by itself.
///
/// indicatif fills each line with spaces and lets it wrap into the next, so that a
/// terminal which reflows takes a whole frame, and the lines printed above it, for one
/// long line, and tears them when it becomes wider or narrower. Here the filling is
/// left out and a line end written in its place. When the terminal has become
/// narrower, the rows into which it broke the last frame are cleared as well.
///
/// This relies on how indicatif 0.18 draws: for a frame it moves up to the first line
/// of the last, clears that frame line by line, writes each line and its filling in
/// turn, and flushes.
#[derive(Debug)]
pub(super) struct Screen<T> {
    term: T,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    /// How wide the terminal was when the last frame was drawn.
    width: u16,
    /// The widths of that frame's lines, and of those printed with it.
    lines: Vec<usize>,
    is_drawing: bool,
    /// Whether the next text is the filling of a line.
    is_filling: bool,
    /// Whether the line that was written last still has to end.
    is_open: bool,
}

impl<T: TermLike> Screen<T> {
    pub(super) fn new(term: T) -> Self {
        Self { term, drawn: Mutex::default() }
    }

    /// Begins a frame, the last of which was `rows` high when it was drawn.
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
        // The line that was to end is part of the frame that goes away.
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

    /// A terminal whose width can be changed, and which tells what it is asked to do.
    #[derive(Debug, Clone)]
    struct Elastic {
        width: Arc<AtomicU16>,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Elastic {
        fn tell(&self, what: impl Into<String>) {
            lock(&self.told).push(what.into());
        }
    }

    impl TermLike for Elastic {
        fn width(&self) -> u16 {
            self.width.load(Ordering::Relaxed)
        }
        fn move_cursor_up(&self, count: usize) -> io::Result<()> {
            self.tell(format!("up {count}"));
            Ok(())
        }
        fn move_cursor_down(&self, count: usize) -> io::Result<()> {
            self.tell(format!("down {count}"));
            Ok(())
        }
        fn move_cursor_right(&self, count: usize) -> io::Result<()> {
            self.tell(format!("right {count}"));
            Ok(())
        }
        fn move_cursor_left(&self, count: usize) -> io::Result<()> {
            self.tell(format!("left {count}"));
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.tell(format!("line {text:?}"));
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.tell(format!("text {text:?}"));
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.tell("clear");
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
    fn a_narrower_terminal_is_cleared_of_what_it_broke() {
        let term = Elastic { width: Arc::new(AtomicU16::new(20)), told: Arc::default() };
        let bar = bar(term.clone());
        bar.set_message("0123456789\nabcde");
        term.width.store(4, Ordering::Relaxed);
        lock(&term.told).clear();
        bar.set_message("x");
        // Ten columns became three rows and five became two: three rows more than there were.
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
        assert_eq!(*lock(&term.told), expected);
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
