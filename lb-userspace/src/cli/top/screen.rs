//! A terminal's screen, on which one text takes the place of the other. What was on it before comes back at the end.

use rustix::termios::tcgetwinsize;

/// Where the terminal does not tell.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// How much fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Size {
    rows: usize,
    columns: usize,
}

/// The screen, until it is dropped.
#[derive(Debug)]
pub(super) struct Screen(());

impl Screen {
    /// Takes it: the alternate one, without cursor (xterm, "The Alternate Screen Buffer").
    pub(super) fn begin() -> anyhow::Result<Self> {
        super::super::print("\x1b[?1049h\x1b[?25l")?;
        Ok(Self(()))
    }

    /// Shows the beginning of a text.
    #[expect(clippy::unused_self, reason = "only on a screen that was taken")]
    pub(super) fn draw(&self, text: &str) -> anyhow::Result<()> {
        super::super::print(&frame(text, size()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Without a terminal there is nothing to give back.
        drop(super::super::print("\x1b[?25h\x1b[?1049l"));
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
    let mut frame = "\x1b[H".to_owned();
    frame += &shown.join("\x1b[K\r\n");
    frame + "\x1b[K\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_screen() {
        let size = Size { rows: 3, columns: 4 };
        assert_eq!(frame("a\nb\nc\n", size), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\x1b[J");
        assert_eq!(frame("abcdef\nb\nc\nd\n", size), "\x1b[Habcd\x1b[K\r\nb\x1b[K\r\n… 2 more\x1b[K\x1b[J");
    }
}
