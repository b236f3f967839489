//! Networks in fixed point over rings Z_{2^l}: what two parties compute on additive shares, and what the
//! simulator without cryptography computes bit for bit.
//!
//! Every wire holds integers of `l` bits, two's complement, a channel `c` of wire `w` being `real · s_w(c)` for a
//! scale s_w(c) > 0 that only the model owner knows (input and output have one public scale each). A convolution or
//! dense layer takes integer weights W (scales of input and output channels merged into them) and biases B,
//! computes `y = W·x + B` mod 2^k with `k = l + f`, and hands on [`Rounding`]`(y, f)` mod 2^l, which is
//! ⌊y/2^f⌋ or one more. All else keeps its operand's width:
//!
//! | operator | integers |
//! |---|---|
//! | `Relu`, `MaxPool`, `Add` | as named, mod 2^l; both operands of a sum have equal scales by construction |
//! | `Clip` from 0 to a top | `relu(x) − relu(x − T_c)`, T_c = round(top · s(c)), at most 2^(l−2) − 1, is the owner's ([`FixedModel::tops`]) |
//! | `AveragePool`, `GlobalAveragePool` | sums; the number of cells is in the scale |
//! | `Flatten`, `Reshape`, `Slice`, `Concat`, `Identity`, `Pad` with 0 | move values, need nothing of each other's scales |
//!
//! [`Network`] is the public part: the graph, [`Formats`] (published like [`Scales`](crate::quant::Scales)) and what follows
//! from both, so that a client derives and checks it. [`FixedModel`] adds the integer weights. Values stay inside
//! [`WireFormat::limit`] as [`Certainty`] says; inside it everything below is exact whatever the shares are:
//! widening from l to k bits of a value that may be negative needs |x| < 2^(l−2), of one that may not only
//! x < 2^(l−1); maxima likewise; accumulators need |y| < 2^(k−1), which is what |⌊y/2^f⌋| < 2^(l−1) says.

mod calibration;
mod channels;
mod codec;
mod formats;
mod model;
mod quantise;
mod ranges;
mod report;
mod round;
mod scales;

pub use calibration::{Calibration, publish};
pub use channels::count as channel_count;
pub use formats::{Certainty, Formats, LinearFormat, Network, WireFormat};
pub use model::{FixedModel, LayerWeights, Trace, wrap};
pub use quantise::{Options, quantise};
pub use ranges::Ranges;
pub use report::{Accuracy, accuracy, declare_overflow};
pub use round::{Floor, Nearest, Random, Recorded, Rounding};

#[cfg(test)]
mod tests;
