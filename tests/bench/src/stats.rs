//! Medians and their spread.

/// What several runs measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The middle one; of an even number, the mean of the middle two.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of no values there is none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let odd = sorted.len() % 2 == 1;
        let median =
            if odd { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }
}

/// How many times its floor each run was; `None` when they are not pairs.
pub(crate) fn ratio(ours: &[f64], floor: &[f64]) -> Option<Spread> {
    let is_paired = ours.len() == floor.len() && floor.iter().all(|value| *value > 0.0);
    let ratios = || ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect::<Vec<_>>();
    if is_paired { Spread::of(&ratios()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Spread, ratio};

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Spread::of(&[]), None);
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of(&[5.0]), spread(5.0, 5.0, 5.0));
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), spread(2.0, 1.0, 9.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 10.0, 2.0]), spread(3.0, 1.0, 10.0));
    }

    #[test]
    fn ratios_are_of_pairs() {
        let found = ratio(&[10.0, 30.0, 90.0], &[10.0, 10.0, 10.0]);
        assert_eq!(found.map(|spread| spread.median), Some(3.0));
        assert_eq!(ratio(&[1.0], &[1.0, 1.0]), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
