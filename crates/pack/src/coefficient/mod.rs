//! Linear layers in the coefficients of ring elements, without rotations: where a tensor's elements go, the kernel
//! polynomials of integer weights, which coefficient of a product is which output; and both parties' half of a layer on
//! shares over [`oblivia_he::coefficient`].
//!
//! - [`LinearShape`]: a convolution (any stride, uneven padding, groups), a matrix by a vector, a matrix by a matrix.
//! - [`Packing`]: how one is laid out, chosen by enumeration; states ciphertexts, bytes and work before anything runs.
//! - [`LinearClient`], [`LinearServer`]: shares in, shares out.
//!
//! # The map
//! A tile of Ht×Wt pixels (halo included), S = Ht·Wt, C' input channels, M' outputs, M'·C'·S ≤ n:
//!
//! - input (c, i, j) at coefficient c·S + i·Wt + j;
//! - weight (m, c, u, v) at m·C'·S + O − c·S − u·Wt − v with O = S·(C' − 1) + Wt·(h − 1) + w − 1;
//! - output (m, i, j) at m·C'·S + O + i·Wt + j.
//!
//! Wrap-around lands below O alone, and what other coefficients hold is never sent. Padding is zeros of both shares. A
//! stride s splits image and kernel into s² phases, channels of a convolution with stride 1; phases that no weight
//! touches are left out. All tiles have one shape, so that kernels are prepared once. Where the kernel of all phases is
//! one pixel there is no halo, and a tile is any run of pixels. A vector is an image of one pixel, and a matrix by a
//! matrix is a 1×1 convolution whose pixels are the rows: it needs a·b·c ≤ n, as the map made for matrices does.
//!
//! Groups: a ciphertext holds a piece of one group's channels, or several whole groups. Then an output's kernel has
//! only its own group's terms, and one product gives outputs of several groups; M' = C' = 1 is the usual choice for
//! large depthwise images, M'·C'·S ≈ n with M' ≈ C' for small ones.
//!
//! Layers whose results are opened can be flooded, modulo two primes: [`FloodedPlan`]. Halves and replays are the same.
//!
//! Source: Z. Huang, W.-j. Lu, C. Hong, J. Ding, *Cheetah* (USENIX Security 2022), section 3, for the map.

mod flood;
mod layer;
mod packing;
mod plan;
mod shape;

pub use flood::FloodedPlan;
pub use layer::{LinearClient, LinearServer};
pub use packing::{Block, Packing, ReplyLayout};
pub use plan::{Counts, Widths};
pub use shape::{ConvShape, LinearShape};

use oblivia_base::Blame;
use oblivia_he::HeError;
use thiserror::Error;

/// What can go wrong in planning, preparing or running a layer in coefficients.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CoefficientError {
    /// A shape that is none.
    #[error("{what} of a linear layer is {found}; it must be {needed}")]
    Shape {
        /// Which number.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What it must be.
        needed: &'static str,
    },
    /// Not even one output fits a ring element.
    #[error("a kernel of {pixels} pixels does not fit an element of {n} coefficients")]
    TooLarge {
        /// Pixels that one output depends on, per channel.
        pixels: usize,
        /// Coefficients.
        n: usize,
    },
    /// A list of another length.
    #[error("{what}: {found} given, {expected} needed")]
    Count {
        /// What was counted.
        what: &'static str,
        /// The number needed.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// An error of the encryption.
    #[error(transparent)]
    He(#[from] HeError),
}

impl CoefficientError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::TooLarge { .. } => Blame::Refused,
            Self::Shape { .. } | Self::Count { .. } => Blame::Misuse,
            Self::He(e) => e.blame(),
        }
    }
}

/// Refuses another number than expected.
fn count(what: &'static str, expected: usize, found: usize) -> Result<(), CoefficientError> {
    if expected == found { Ok(()) } else { Err(CoefficientError::Count { what, expected, found }) }
}
