//! Median, quartiles and quantiles: robust against other load on the machine.

use std::fmt;

/// The value below which `part` of the samples are; interpolated between two of them, 0 if there is
/// none.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return 0.0;
    }
    between(&sorted, part)
}

fn between(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// The middle half of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// A quarter of the samples is below.
    pub lower: f64,
    /// Half of the samples is below.
    pub median: f64,
    /// A quarter of the samples is above.
    pub upper: f64,
}

impl Spread {
    /// Of at least one sample; quantiles between two samples are interpolated.
    ///
    /// # Panics
    /// Without samples.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            lower: between(&sorted, 0.25),
            median: between(&sorted, 0.5),
            upper: between(&sorted, 0.75),
        }
    }

    /// Of the ratios of samples that were taken in the same round, one after the other.
    pub fn of_ratios(samples: &[f64], others: &[f64]) -> Self {
        let ratios: Vec<f64> = samples
            .iter()
            .zip(others)
            .map(|(sample, other)| sample / other)
            .collect();
        Self::of(&ratios)
    }
}

/// `12.3 (11.9-12.8)`, with a precision that fits the size.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median.abs() {
            value if value >= 1000.0 => 0,
            value if value >= 10.0 => 1,
            _ => 2,
        };
        let text = format!(
            "{:.digits$} ({:.digits$}-{:.digits$})",
            self.median, self.lower, self.upper
        );
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_samples() {
        assert_eq!(
            Spread::of(&[5.0]),
            Spread {
                lower: 5.0,
                median: 5.0,
                upper: 5.0
            }
        );
        assert_eq!(
            Spread::of(&[4.0, 1.0, 3.0, 2.0, 5.0]),
            Spread {
                lower: 2.0,
                median: 3.0,
                upper: 4.0
            }
        );
        assert_eq!(
            Spread::of(&[1.0, 2.0]),
            Spread {
                lower: 1.25,
                median: 1.5,
                upper: 1.75
            }
        );
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // Everything is ten times slower in the second round: the ratio is not affected.
        let spread = Spread::of_ratios(&[1.0, 10.0], &[2.0, 20.0]);
        assert_eq!(
            spread,
            Spread {
                lower: 0.5,
                median: 0.5,
                upper: 0.5
            }
        );
    }

    #[test]
    fn precision_follows_the_size() {
        assert_eq!(Spread::of(&[1.234]).to_string(), "1.23 (1.23-1.23)");
        assert_eq!(Spread::of(&[12.34]).to_string(), "12.3 (12.3-12.3)");
        assert_eq!(Spread::of(&[12345.6]).to_string(), "12346 (12346-12346)");
    }
}
