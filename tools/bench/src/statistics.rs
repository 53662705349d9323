//! Medians of pairs: two sides that were measured in turns, A B A B, so that what slows the machine slows both.

/// Measurements of two sides, taken pairwise.
#[derive(Debug, Default, Clone)]
pub struct Paired {
    pairs: Vec<(f64, f64)>,
}

impl Paired {
    /// Measures `count` pairs in turns. A side that fails ends the series.
    pub fn measure<E>(
        count: usize,
        mut ours: impl FnMut() -> Result<f64, E>,
        mut reference: impl FnMut() -> Result<f64, E>,
    ) -> Result<Paired, E> {
        let mut pairs = Paired::default();
        for _ in 0..count {
            let value = ours()?;
            pairs.push(value, reference()?);
        }
        Ok(pairs)
    }

    /// Adds a pair: ours and the reference.
    pub fn push(&mut self, ours: f64, reference: f64) {
        self.pairs.push((ours, reference));
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Median of our side.
    pub fn ours(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.0).collect())
    }

    /// Median of the reference.
    pub fn reference(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.1).collect())
    }

    /// Median of the pairs' ratios.
    pub fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// Distance between the quartiles of the pairs' ratios.
    pub fn spread(&self) -> f64 {
        quartile_distance(self.ratios())
    }

    /// The A/A control: the spread of our side against itself, from each measurement and the one after it.
    pub fn control(&self) -> Option<f64> {
        let against_itself: Vec<f64> = self.pairs.windows(2).map(|two| two[0].0 / two[1].0).collect();
        (against_itself.len() >= 2).then(|| quartile_distance(against_itself))
    }

    fn ratios(&self) -> Vec<f64> {
        self.pairs.iter().map(|(ours, reference)| ours / reference).collect()
    }
}

/// The value below which `share` (0 to 1) of the values lie, between neighbours linearly. Not a number if empty.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    values[low] + (values[high] - values[low]) * (place - low as f64)
}

/// The middle value.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The geometric mean; ratios are averaged this way.
pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

fn quartile_distance(values: Vec<f64>) -> f64 {
    quantile(values.clone(), 0.75) - quantile(values, 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_measured_in_turns_and_their_ratios_are_paired() {
        let order = std::cell::RefCell::new(String::new());
        let mut load = [1.0, 5.0, 2.0].iter().cycle();
        let now = std::cell::Cell::new(0.0);
        let pairs = Paired::measure::<()>(
            3,
            || {
                order.borrow_mut().push('A');
                now.set(*load.next().unwrap());
                Ok(3.0 * now.get())
            },
            || {
                order.borrow_mut().push('B');
                Ok(2.0 * now.get())
            },
        )
        .unwrap();
        assert_eq!(order.into_inner(), "ABABAB");
        assert_eq!((pairs.ratio(), pairs.spread()), (1.5, 0.0), "a load that both sides feel does not show");
        assert_eq!(pairs.ours(), 6.0);
        assert!(pairs.control().unwrap() > 0.0, "but the control shows it");
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(vec![10.0, 20.0, 30.0], 0.99), 29.8);
        assert!(median(vec![]).is_nan());
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-12);
    }
}
