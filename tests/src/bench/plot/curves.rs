//! Curves over a number of flows, with quartiles as bands and budgets as marks.

use anyhow::Result;
use plotters::element::{Circle, Polygon, TriangleMarker};
use plotters::style::{Color as _, RGBColor};

use super::canvas::{Anchor, Canvas, FAINT, HEAD, INK, LINE, MORE, NOTE, OURS, STRONG, WIDTH};
use super::scale::{self, Scale};
use crate::bench::report::Figure;

/// What was measured with so many flows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    flows: f64,
    lower: f64,
    median: f64,
    upper: f64,
}

impl Point {
    pub(super) fn of(flows: f64, figure: &Figure) -> Self {
        Self { flows, lower: figure.lower(), median: figure.median(), upper: figure.upper() }
    }
}

/// One subject.
pub(super) struct Curve {
    /// Its name, in lines.
    pub(super) label: String,
    pub(super) points: Vec<Point>,
}

/// A picture.
pub(super) struct Curves {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) all: Vec<Curve>,
    /// What as many flows may cost.
    pub(super) budget: Vec<(f64, f64)>,
}

const LEFT: i32 = 60;
const RIGHT: i32 = WIDTH - 170;
const BOTTOM: i32 = HEAD + 340;
const HEIGHT: i32 = BOTTOM + 66;
/// Of a line of a label.
const LETTERING: i32 = 20;

impl Curves {
    /// As SVG.
    pub(super) fn draw(&self) -> Result<String> {
        let points = || self.all.iter().flat_map(|curve| &curve.points);
        let most = points().map(|point| point.upper).chain(self.budget.iter().map(|&(_, most)| most));
        let y = Scale::linear(most.fold(0.0, f64::max), (BOTTOM, HEAD));
        let mut numbers: Vec<f64> = points().map(|point| point.flows).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        let (least, most) = (numbers.first().copied(), numbers.last().copied());
        let x = Scale::between(least.unwrap_or(1.0), most.unwrap_or(1.0), (LEFT + 20, RIGHT - 10));

        let mut text = String::new();
        let canvas = Canvas::new(&mut text, HEIGHT, self.title, self.note)?;
        axes(&canvas, (&x, &y), &numbers)?;
        let palette = || [OURS].into_iter().chain(MORE);
        for (curve, color) in self.all.iter().zip(palette()) {
            curve.band(&canvas, (&x, &y), color)?;
        }
        self.marks(&canvas, (&x, &y))?;
        for (number, (curve, color)) in self.all.iter().zip(palette()).enumerate() {
            curve.draw(&canvas, (&x, &y), color, number)?;
        }
        self.labels(&canvas, &y, palette())?;
        canvas.finish()?;
        Ok(text)
    }

    fn marks(&self, canvas: &Canvas<'_>, (x, y): (&Scale, &Scale)) -> Result<()> {
        for &(flows, most) in &self.budget {
            let (x, y) = (x.at(flows), y.at(most));
            canvas.line(&[(x - 16, y), (x + 16, y)], INK, 3)?;
        }
        if !self.budget.is_empty() {
            let (x, y) = (LEFT + 20, HEAD + 24);
            canvas.line(&[(x, y), (x + 32, y)], INK, 3)?;
            canvas.text("budget of lb", (x + 42, y), Anchor::Left, NOTE)?;
        }
        Ok(())
    }

    /// Beside the curves' ends, and not over each other.
    fn labels(&self, canvas: &Canvas<'_>, y: &Scale, palette: impl Iterator<Item = RGBColor>) -> Result<()> {
        let end = |curve: &Curve| curve.points.last().map_or(BOTTOM, |point| y.at(point.median));
        let mut labels: Vec<_> =
            self.all.iter().zip(palette).map(|(curve, color)| (end(curve), curve, color)).collect();
        labels.sort_by_key(|&(y, ..)| y);
        let mut free = HEAD;
        for (at, curve, color) in labels {
            let mut y = at.max(free);
            for line in curve.label.lines() {
                canvas.text(line, (RIGHT + 10, y), Anchor::Left, STRONG.painted(color))?;
                y += LETTERING;
            }
            free = y;
        }
        Ok(())
    }
}

impl Curve {
    fn band(&self, canvas: &Canvas<'_>, (x, y): (&Scale, &Scale), color: RGBColor) -> Result<()> {
        let above = self.points.iter().map(|point| (x.at(point.flows), y.at(point.upper)));
        let below = self.points.iter().rev().map(|point| (x.at(point.flows), y.at(point.lower)));
        let outline: Vec<(i32, i32)> = above.chain(below).collect();
        Ok(canvas.area().draw(&Polygon::new(outline, color.mix(0.18)))?)
    }

    fn draw(
        &self,
        canvas: &Canvas<'_>,
        (x, y): (&Scale, &Scale),
        color: RGBColor,
        number: usize,
    ) -> Result<()> {
        let points: Vec<_> = self.points.iter().map(|one| (x.at(one.flows), y.at(one.median))).collect();
        canvas.line(&points, color, 3)?;
        for point in points {
            match number {
                0 => canvas.area().draw(&Circle::new(point, 5, color.filled()))?,
                1 => canvas.area().draw(&TriangleMarker::new(point, 7, color.filled()))?,
                _ => {
                    canvas.block([(point.0 - 5, point.1 - 5), (point.0 + 5, point.1 + 5)], color.filled())?
                }
            }
        }
        Ok(())
    }
}

fn axes(canvas: &Canvas<'_>, (x, y): (&Scale, &Scale), numbers: &[f64]) -> Result<()> {
    for tick in y.ticks() {
        let y = y.at(tick);
        canvas.line(&[(LEFT, y), (RIGHT, y)], LINE, 1)?;
        canvas.text(&scale::label(tick), (LEFT - 8, y), Anchor::Right, NOTE)?;
    }
    for &flows in numbers {
        let x = x.at(flows);
        canvas.line(&[(x, BOTTOM), (x, BOTTOM + 5)], FAINT, 1)?;
        canvas.text(&power_of_two(flows), (x, BOTTOM + 18), Anchor::Middle, NOTE)?;
    }
    canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], FAINT, 1)?;
    canvas.text(
        "flows that have their turn, logarithmic",
        ((LEFT + RIGHT) / 2, BOTTOM + 44),
        Anchor::Middle,
        NOTE,
    )
}

/// A number of flows as paths are named.
fn power_of_two(flows: f64) -> String {
    match flows {
        _ if flows >= 1_048_576.0 => format!("{:.0}M", flows / 1_048_576.0),
        _ if flows >= 1_024.0 => format!("{:.0}k", flows / 1_024.0),
        _ => format!("{flows:.0}"),
    }
}
