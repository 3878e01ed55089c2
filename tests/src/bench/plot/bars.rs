//! Lying bars in groups, each with its name and its number.

use anyhow::Result;
use plotters::style::Color as _;

use super::canvas::{Anchor, Canvas, FAINT, HEAD, INK, LINE, NOTE, OTHERS, OURS, PLAIN, STRONG, WIDTH};
use super::scale::{self, Scale};
use crate::bench::report::{Figure, number};

/// One subject.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) lower: f64,
    pub(super) median: f64,
    pub(super) upper: f64,
    pub(super) is_ours: bool,
}

/// Subjects that did the same.
pub(super) struct Group {
    /// What they did; empty if there is only one group.
    pub(super) label: String,
    pub(super) bars: Vec<Bar>,
}

/// A picture.
pub(super) struct Bars {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) is_logarithmic: bool,
    pub(super) groups: Vec<Group>,
}

const LEFT: i32 = 210;
const RIGHT: i32 = WIDTH - 80;
/// From one bar to the next.
const ROW: i32 = 26;
const THICKNESS: i32 = 18;
const BETWEEN_GROUPS: i32 = 10;
const FOOT: i32 = 44;

impl Bars {
    /// As SVG.
    pub(super) fn draw(&self) -> Result<String> {
        let bottom = HEAD + self.groups.iter().map(Group::height).sum::<i32>();
        let mut text = String::new();
        let canvas = Canvas::new(&mut text, bottom + FOOT, self.title, self.note)?;
        let scale = self.scale();
        for tick in scale.ticks() {
            canvas.text(&scale::label(tick), (scale.at(tick), bottom + 14), Anchor::Middle, NOTE)?;
        }
        let mut y = HEAD;
        for group in &self.groups {
            group.draw(&canvas, &scale, y)?;
            y += group.height();
        }
        canvas.finish()?;
        Ok(text)
    }

    fn scale(&self) -> Scale {
        let values = self.groups.iter().flat_map(|group| &group.bars).flat_map(|bar| [bar.median, bar.upper]);
        if self.is_logarithmic {
            Scale::logarithmic(values, (LEFT, RIGHT))
        } else {
            Scale::linear(values.fold(0.0, f64::max), (LEFT, RIGHT))
        }
    }
}

impl Group {
    fn heading(&self) -> i32 {
        if self.label.is_empty() { 0 } else { ROW }
    }

    fn height(&self) -> i32 {
        self.heading() + ROW * i32::try_from(self.bars.len()).unwrap_or(i32::MAX / ROW) + BETWEEN_GROUPS
    }

    fn draw(&self, canvas: &Canvas<'_>, scale: &Scale, top: i32) -> Result<()> {
        if !self.label.is_empty() {
            canvas.text(&self.label, (20, top + ROW / 2), Anchor::Left, STRONG)?;
        }
        let (first, last) = (top + self.heading(), top + self.height() - BETWEEN_GROUPS);
        for tick in scale.ticks() {
            let x = scale.at(tick);
            canvas.line(&[(x, first), (x, last)], LINE, 1)?;
        }
        let mut y = first + ROW / 2;
        for bar in &self.bars {
            bar.draw(canvas, scale, y)?;
            y += ROW;
        }
        canvas.line(&[(LEFT, first), (LEFT, last)], FAINT, 1)
    }
}

impl Bar {
    pub(super) fn of(label: &str, figure: &Figure) -> Self {
        let (lower, median, upper) = (figure.lower(), figure.median(), figure.upper());
        Self { label: label.to_owned(), lower, median, upper, is_ours: label.starts_with("lb") }
    }

    fn draw(&self, canvas: &Canvas<'_>, scale: &Scale, y: i32) -> Result<()> {
        let (color, letters) = if self.is_ours { (OURS, STRONG.painted(OURS)) } else { (OTHERS, PLAIN) };
        canvas.text(&self.label, (LEFT - 10, y), Anchor::Right, letters)?;
        let (half, end) = (THICKNESS / 2, scale.at(self.median));
        canvas.block([(LEFT, y - half), (end, y + half)], color.filled())?;
        let (lower, upper) = (scale.at(self.lower), scale.at(self.upper));
        if upper > lower {
            canvas.line(&[(lower, y), (upper, y)], INK, 1)?;
            for x in [lower, upper] {
                canvas.line(&[(x, y - 4), (x, y + 4)], INK, 1)?;
            }
        }
        canvas.text(&number(self.median), (end.max(upper) + 8, y), Anchor::Left, letters)
    }
}
