//! A terminal's screen, on which one text takes the place of the other. What was on it before comes back at the end.

use std::cell::RefCell;

use rustix::termios::tcgetwinsize;

/// Where the terminal does not tell.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// To the alternate screen, without cursor (xterm, "The Alternate Screen Buffer").
const TAKE: &str = "\x1b[?1049h\x1b[?25l";
/// And back.
const GIVE_BACK: &str = "\x1b[?25h\x1b[?1049l";

/// How much fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Size {
    rows: usize,
    columns: usize,
}

/// The screen, until it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    /// What is shown.
    text: RefCell<String>,
}

impl Screen {
    /// Takes it.
    pub(super) fn begin() -> anyhow::Result<Self> {
        super::super::print(TAKE)?;
        Ok(Self { text: RefCell::default() })
    }

    /// Shows the beginning of a text.
    pub(super) fn draw(&self, text: &str) -> anyhow::Result<()> {
        text.clone_into(&mut self.text.borrow_mut());
        super::super::print(&frame(text, size()))
    }

    /// Gives it back for a while.
    #[expect(clippy::unused_self, reason = "only a screen that was taken is left")]
    pub(super) fn leave(&self) -> anyhow::Result<()> {
        super::super::print(GIVE_BACK)
    }

    /// Takes it again, with what was shown.
    pub(super) fn come_back(&self) -> anyhow::Result<()> {
        super::super::print(&format!("{TAKE}{}", frame(&self.text.borrow(), size())))
    }

    /// Gives it back; what was shown last, whole.
    pub(super) fn end(self) -> String {
        self.text.take()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Without a terminal there is nothing to give back.
        drop(super::super::print(GIVE_BACK));
    }
}

fn size() -> Size {
    tcgetwinsize(std::io::stdout())
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)
        .map_or(USUAL, |size| Size { rows: size.ws_row.into(), columns: size.ws_col.into() })
}

/// The text over what was there, cut to the screen, which never scrolls.
fn frame(text: &str, size: Size) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let rest = lines.len().saturating_sub(size.rows);
    let shown = if rest > 0 { size.rows.saturating_sub(1) } else { lines.len() };
    let mut shown: Vec<String> =
        lines.into_iter().take(shown).map(|line| line.chars().take(size.columns).collect()).collect();
    if rest > 0 {
        shown.push(format!("… {} more", rest + 1));
    }
    // Behind a line that fills the width the cursor stands on its last character: what is erased is erased before.
    let mut frame = "\x1b[H\x1b[K".to_owned();
    frame += &shown.join("\r\n\x1b[K");
    if shown.len() < size.rows { frame + "\r\n\x1b[J" } else { frame }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_screen() {
        let size = Size { rows: 3, columns: 4 };
        assert_eq!(frame("a\nb\nc\n", size), "\x1b[H\x1b[Ka\r\n\x1b[Kb\r\n\x1b[Kc");
        assert_eq!(frame("abcdef\nb\nc\nd\n", size), "\x1b[H\x1b[Kabcd\r\n\x1b[Kb\r\n\x1b[K… 2 more");
    }

    #[test]
    fn nothing_is_erased_behind_a_line_that_fills_the_width() {
        let size = Size { rows: 3, columns: 4 };
        assert_eq!(frame("a\nabcd\n", size), "\x1b[H\x1b[Ka\r\n\x1b[Kabcd\r\n\x1b[J");
        assert!(frame("a\nb\nabcd\n", size).ends_with("abcd"));
    }
}
