//! Outputs within the declared error of the clear network.

use crate::{Case, Pair};

/// Checks every output and label of a finished session.
pub fn check(case: &Case, pair: &Pair) {
    let bound = pair.client.receipt.plan.error.value();
    let expected = case.expected();
    assert_eq!(pair.client.outputs.len(), expected.len());
    for (i, (found, expected)) in pair.client.outputs.iter().zip(&expected).enumerate() {
        let found = found.as_ref().expect("an answer");
        let worst = found
            .data()
            .iter()
            .zip(expected.data())
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max);
        assert!(worst <= bound, "sample {i}: error {worst}, declared {bound}");
        assert_eq!(found.argmax(), expected.argmax(), "sample {i} has another label");
    }
}
