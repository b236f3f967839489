//! Arithmetic for ring learning with errors: primes below 2^50, number-theoretic transforms (NTT) of the
//! negacyclic and the conjugate-invariant ring, and polynomials in residue number system (RNS) form.
//!
//! - [`Modulus`], [`Shoup`]: one prime and constants prepared for multiplication by it, radix 2^52.
//! - [`RingShape`], [`RingKind`]: degree, kind and index maps of the transform (no prime involved).
//! - [`NttTable`]: a shape and a prime. [`Basis`]: an ordered list of tables over one shape.
//! - [`Poly`]: rows of residues over a basis, typed by representation ([`Coeff`] or [`Ntt`]).
//! - [`Accumulator`]: sums of products with deferred reduction.
//! - [`kernel`]: the same operations on single rows, for callers that schedule rows themselves.
//! - [`PackedPolys`]: elements held as bits, for what is read often and written once.
//! - [`packing`]: rows of residues as bits, canonical in both directions.
//! - [`word`]: products modulo a power of two by sparse elements with small coefficients.
//! - [`sample`]: uniform, ternary and Gaussian samplers, and elements made from a public seed.
//!
//! Every row handed to or returned by a public function holds *canonical* residues, in [0, q); lazy ranges
//! exist only inside a kernel. Operands of different length or basis are a caller's bug and panic; nothing
//! that arrives from a file or a peer may reach such a call unchecked ([`packing`] returns errors instead).
//!
//! Sources: D. Harvey, *Faster arithmetic for number-theoretic transforms* (2014), for the lazy butterflies;
//! P. Longa and M. Naehrig, *Speeding up the NTT* (2016), for the tree; D. Kim and Y. Song, *Approximate
//! homomorphic encryption over the conjugate-invariant ring* (2018).

mod accumulator;
mod basis;
mod error;
#[cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vector instructions: loads, stores, and calls guarded by feature detection"
    )
)]
pub mod kernel;
mod modulus;
mod ntt;
mod packed;
pub mod packing;
mod poly;
mod rows;
pub mod sample;
mod shape;
#[cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vector instructions: loads, stores, and calls guarded by feature detection"
    )
)]
pub mod word;

pub use accumulator::{Accumulator, RowAccumulator};
pub use basis::Basis;
pub use error::RingError;
pub use modulus::{MAX_MODULUS_BITS, Modulus, Shoup, is_prime, prime_below, primes_below};
pub use ntt::NttTable;
pub use packed::{PackedPolys, PackedRow};
pub use poly::{Coeff, Ntt, Poly, Representation};
pub use shape::{MAX_LOG_N, MIN_LOG_N, Permutation, RingKind, RingShape};
