//! How well a network in fixed point does what the float network does.

use super::{FixedModel, Rounding};
use crate::{Model, NnError, Tensor, eval};
use std::fmt;

/// Float and fixed point beside each other on labelled inputs.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Accuracy {
    /// Inputs.
    pub images: usize,
    /// Inputs whose label the float network ranks first.
    pub float_right: usize,
    /// Inputs whose label the network in fixed point ranks first.
    pub fixed_right: usize,
    /// Inputs on which both rank the same first.
    pub agree: usize,
    /// Largest difference of an output.
    pub max_error: f64,
    /// Largest |output| of the float network.
    pub max_output: f64,
    /// Inputs some value of which left its limit.
    pub outside: usize,
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |n: usize| 100.0 * n as f64 / self.images.max(1) as f64;
        write!(
            f,
            "{} images: float {:.2} %, fixed point {:.2} %, same first {:.2} %, largest error {:.4} of outputs to {:.2}, {} outside limits",
            self.images,
            share(self.float_right),
            share(self.fixed_right),
            share(self.agree),
            self.max_error,
            self.max_output,
            self.outside
        )
    }
}

impl Accuracy {
    /// Adds what other inputs gave.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.float_right += other.float_right;
        self.fixed_right += other.fixed_right;
        self.agree += other.agree;
        self.max_error = self.max_error.max(other.max_error);
        self.max_output = self.max_output.max(other.max_output);
        self.outside += other.outside;
    }

    /// What [`declare_overflow`] declares of these inputs: an upper bound on the probability that one leaves a limit.
    pub fn overflow(&self) -> f64 {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        upper_bound(count(self.outside), count(self.images))
    }
}

/// Runs both networks on inputs with their labels.
///
/// # Errors
/// As [`eval::run`] and [`FixedModel::run`].
pub fn accuracy<'a>(
    model: &Model,
    fixed: &FixedModel,
    samples: impl IntoIterator<Item = (&'a Tensor, usize)>,
    rounding: &mut impl Rounding,
) -> Result<Accuracy, NnError> {
    let mut report = Accuracy::default();
    let output = fixed.network().graph().output().index();
    for (x, label) in samples {
        let float = eval::run(model, x)?;
        let trace = fixed.run(&fixed.network().input(x)?, rounding)?;
        let found = fixed.network().output(&trace.wires[output])?;
        let error = |a: &f32, b: &f32| (f64::from(*a) - f64::from(*b)).abs();
        let errors = float.data().iter().zip(found.data()).map(|(a, b)| error(a, b));
        report.merge(&Accuracy {
            images: 1,
            float_right: usize::from(float.argmax() == Some(label)),
            fixed_right: usize::from(found.argmax() == Some(label)),
            agree: usize::from(float.argmax() == found.argmax()),
            max_error: errors.fold(0.0, f64::max),
            max_output: f64::from(float.max_abs()),
            outside: usize::from(!trace.is_inside()),
        });
    }
    Ok(report)
}

/// Runs inputs that were not used for calibration and declares how likely an input leaves a limit: the upper end of the
/// one-sided 95 % confidence interval (Clopper and Pearson) for the share of inputs that did. Returns that.
///
/// # Errors
/// As [`FixedModel::run`].
pub fn declare_overflow<'a>(
    fixed: &mut FixedModel,
    held_out: impl IntoIterator<Item = &'a Tensor>,
    rounding: &mut impl Rounding,
) -> Result<f64, NnError> {
    let (mut images, mut outside) = (0u32, 0u32);
    for x in held_out {
        let trace = fixed.run(&fixed.network().input(x)?, rounding)?;
        images += 1;
        outside += u32::from(!trace.is_inside());
    }
    let bound = upper_bound(outside, images);
    fixed.declare(bound, None);
    Ok(bound)
}

/// The p at which `hits` or fewer of `tries` have probability 0.05.
fn upper_bound(hits: u32, tries: u32) -> f64 {
    if hits >= tries {
        return 1.0;
    }
    let at_most = |p: f64| {
        let mut term = f64::from(tries) * (1.0 - p).ln();
        let mut sum = term.exp();
        for i in 1..=hits {
            term += (f64::from(tries - i + 1) / f64::from(i)).ln() + p.ln() - (1.0 - p).ln();
            sum += term.exp();
        }
        sum
    };
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_on_a_probability_are_those_of_clopper_and_pearson() {
        // By bisection on the exact binomial sum in double precision.
        for (hits, tries, expected) in
            [(0, 1, 0.95), (0, 1000, 0.002_991_249_5), (3, 1000, 0.007_735_244_7), (10, 200, 0.083_335_151_1)]
        {
            let found = upper_bound(hits, tries);
            assert!((found - expected).abs() < 1e-9, "{hits} of {tries}: {found}, not {expected}");
        }
        assert_eq!(upper_bound(5, 5), 1.0);
    }
}
