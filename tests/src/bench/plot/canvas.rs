//! What pictures are drawn with: colours that the colour-blind can tell apart, on a white ground of their own, since
//! nobody knows on which page they will be.

use anyhow::{Context as _, Result};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle, WHITE};

/// As wide is each picture.
pub(super) const WIDTH: i32 = 820;
/// Below it is the picture's own.
pub(super) const HEAD: i32 = 74;

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const FAINT: RGBColor = RGBColor(98, 98, 98);
pub(super) const LINE: RGBColor = RGBColor(221, 221, 221);
pub(super) const OURS: RGBColor = RGBColor(0, 114, 178);
pub(super) const OTHERS: RGBColor = RGBColor(166, 166, 166);
/// For curves, after [`OURS`].
pub(super) const MORE: [RGBColor; 3] = [RGBColor(0, 158, 115), RGBColor(213, 94, 0), RGBColor(204, 121, 167)];

/// Which point of a text is where it is put: its left, middle or right, at half its height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// Size, weight and colour of letters.
#[derive(Clone, Copy)]
pub(super) struct Letters {
    size: u32,
    style: FontStyle,
    color: RGBColor,
}

pub(super) const TITLE: Letters = Letters { size: 23, style: FontStyle::Bold, color: INK };
pub(super) const PLAIN: Letters = Letters { size: 17, style: FontStyle::Normal, color: INK };
pub(super) const STRONG: Letters = Letters { size: 17, style: FontStyle::Bold, color: INK };
pub(super) const NOTE: Letters = Letters { size: 16, style: FontStyle::Normal, color: FAINT };

impl Letters {
    /// The same in another colour.
    pub(super) fn painted(self, color: RGBColor) -> Self {
        Self { color, ..self }
    }
}

/// A picture that is being drawn, in points from its upper left corner.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

impl<'a> Canvas<'a> {
    /// White, with title and note.
    pub(super) fn new(text: &'a mut String, height: i32, title: &str, note: &str) -> Result<Self> {
        let size = (WIDTH as u32, u32::try_from(height).context("a height")?);
        let area = SVGBackend::with_string(text, size).into_drawing_area();
        area.fill(&WHITE)?;
        let canvas = Self { area };
        canvas.text(title, (20, 26), Anchor::Left, TITLE)?;
        canvas.text(note, (20, 52), Anchor::Left, NOTE)?;
        Ok(canvas)
    }

    pub(super) fn text(&self, text: &str, at: (i32, i32), anchor: Anchor, letters: Letters) -> Result<()> {
        let horizontal = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let font = (FontFamily::SansSerif, letters.size, letters.style);
        let style = TextStyle::from(font).color(&letters.color).pos(Pos::new(horizontal, VPos::Center));
        Ok(self.area.draw(&Text::new(text.to_owned(), at, style))?)
    }

    pub(super) fn line(&self, points: &[(i32, i32)], color: RGBColor, width: u32) -> Result<()> {
        Ok(self.area.draw(&PathElement::new(points.to_vec(), color.stroke_width(width)))?)
    }

    pub(super) fn block(&self, corners: [(i32, i32); 2], style: impl Into<ShapeStyle>) -> Result<()> {
        Ok(self.area.draw(&Rectangle::new(corners, style.into()))?)
    }

    pub(super) fn area(&self) -> &DrawingArea<SVGBackend<'a>, Shift> {
        &self.area
    }

    /// The picture is complete.
    pub(super) fn finish(self) -> Result<()> {
        Ok(self.area.present()?)
    }
}
