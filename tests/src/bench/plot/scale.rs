//! Where on an axis a value is.

/// An axis, in points of the picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    is_logarithmic: bool,
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

/// As many steps as an axis has at most.
const STEPS: f64 = 6.0;

impl Scale {
    /// From nothing to a round number that is not below `most`.
    pub(super) fn linear(most: f64, (from, to): (i32, i32)) -> Self {
        let step = step(most);
        let high = (most / step).ceil().max(1.0) * step;
        Self { is_logarithmic: false, low: 0.0, high, from, to }
    }

    /// From one power of ten to another, with all values in between. They are above nothing.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64> + Clone, (from, to): (i32, i32)) -> Self {
        let least = values.clone().filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        // A bar that ends where it begins would not be seen.
        let low = 10_f64.powf((least * 0.95).log10().floor());
        let high = 10_f64.powf(most.log10().ceil()).max(low * 10.0);
        Self { is_logarithmic: true, low, high, from, to }
    }

    /// From the least of the values to the greatest.
    pub(super) fn between(low: f64, high: f64, (from, to): (i32, i32)) -> Self {
        Self { is_logarithmic: true, low, high, from, to }
    }

    /// Where a value is; where the axis ends if it is beyond.
    pub(super) fn at(&self, value: f64) -> i32 {
        let value = value.clamp(self.low, self.high);
        let part = if self.is_logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }

    /// The values that are written at the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (steps, of): (f64, Box<dyn Fn(f64) -> f64>) = if self.is_logarithmic {
            ((self.high / self.low).log10(), Box::new(|number| self.low * 10_f64.powf(number)))
        } else {
            let step = step(self.high);
            (self.high / step, Box::new(move |number| step * number))
        };
        (0..=steps.round() as u32).map(|number| of(f64::from(number))).collect()
    }
}

/// One, two or five with zeros.
fn step(most: f64) -> f64 {
    let least = most.max(f64::MIN_POSITIVE) / STEPS;
    let decade = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|&step| step >= least)
        .unwrap_or(10.0 * decade)
}

/// A value at an axis, with thousands as `k`.
pub(super) fn label(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", rounded(value / 1e6)),
        _ if value >= 1e3 => format!("{}k", rounded(value / 1e3)),
        _ => rounded(value),
    }
}

/// Without the digits that come of binary fractions.
fn rounded(value: f64) -> String {
    ((value * 1e3).round() / 1e3).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        let scale = Scale::linear(437.0, (100, 600));
        assert_eq!(scale.ticks(), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!([0.0, 250.0, 500.0, 900.0, -3.0].map(|value| scale.at(value)), [100, 350, 600, 600, 100]);
    }

    #[test]
    fn logarithmic_axes_go_from_a_power_of_ten_to_another() {
        let scale = Scale::logarithmic([120.0, 53_000.0].into_iter(), (0, 300));
        let ticks: Vec<String> = scale.ticks().into_iter().map(label).collect();
        assert_eq!(ticks, ["100", "1k", "10k", "100k"]);
        assert_eq!([100.0, 1_000.0, 100_000.0].map(|value| scale.at(value)), [0, 100, 300]);
    }
}
