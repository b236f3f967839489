use oblivia_base::Blame;
use oblivia_base::codec::DecodeError;
use oblivia_ring::RingError;
use thiserror::Error;

/// What can go wrong in homomorphic encryption.
///
/// No variant describes the outcome of a decryption.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum HeError {
    /// The modulus is too large for 128-bit security at this dimension.
    #[error(
        "log2(QP) = {log_qp:.2} is above the {max} bits that dimension {dimension} allows at 128-bit security; \
         take smaller or fewer primes, or a larger dimension"
    )]
    AboveSecurityTable {
        /// Dimension of the ring.
        dimension: usize,
        /// log2 of the product of all primes, special primes included.
        log_qp: f64,
        /// The table's maximum, bits.
        max: u32,
    },
    /// The security table has no row for this dimension.
    #[error("the security table has no row for dimension {dimension}; it covers 2^10 to 2^15")]
    NotInSecurityTable {
        /// Dimension of the ring.
        dimension: usize,
    },
    /// The parameters have no usable shape.
    #[error("parameters: {what}")]
    Shape {
        /// What is missing or out of range.
        what: &'static str,
    },
    /// The special primes are too small for the noise of key switching to vanish in the rounding.
    #[error("log2(P) = {log_p:.2} is below the {needed:.2} bits that key switching needs; enlarge P")]
    SpecialPrimesTooSmall {
        /// log2 of the product of the special primes.
        log_p: f64,
        /// log2 of the least product.
        needed: f64,
    },
    /// The modulus is too small for the mask to hide the noise of a layer.
    #[error("a modulus of {bits} bits does not drown the noise of this layer; {needed} bits are needed")]
    FloodTooSmall {
        /// Bits of the modulus.
        bits: u32,
        /// Bits of the least one.
        needed: u32,
    },
    /// A prime or a ring that arithmetic cannot use.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A level outside 1 ..= max.
    #[error("{what}: level {level} is not between 1 and {max}")]
    Level {
        /// The operation or object.
        what: &'static str,
        /// The level that was asked for.
        level: usize,
        /// The highest one possible here.
        max: usize,
    },
    /// Operands on different levels.
    #[error("{op}: operands on levels {left} and {right}; drop limbs of the higher one first")]
    LevelMismatch {
        /// The operation.
        op: &'static str,
        /// Level of the first operand.
        left: usize,
        /// Level of the second operand.
        right: usize,
    },
    /// Operands of different scale.
    #[error("{op}: operands of scale {left:e} and {right:e}; scales must be equal bit for bit")]
    ScaleMismatch {
        /// The operation.
        op: &'static str,
        /// Scale of the first operand.
        left: f64,
        /// Scale of the second operand.
        right: f64,
    },
    /// A scale that is not a finite number of at least 1.
    #[error("{what}: {scale:e} is no scale; a finite number of at least 1 is needed")]
    Scale {
        /// The operation or object.
        what: &'static str,
        /// The offending value.
        scale: f64,
    },
    /// Operands of different factor modulo t.
    #[error("{op}: operands of factor {left} and {right}; factors must be equal")]
    FactorMismatch {
        /// The operation.
        op: &'static str,
        /// Factor of the first operand.
        left: u64,
        /// Factor of the second operand.
        right: u64,
    },
    /// A factor that is no unit modulo t in canonical form.
    #[error("{what}: {factor} is no factor modulo {t}; 1 to t - 1 are")]
    Factor {
        /// The operation or object.
        what: &'static str,
        /// The offending value.
        factor: u64,
        /// The plaintext modulus.
        t: u64,
    },
    /// The objects belong to different parameters.
    #[error("{what} belongs to other parameters")]
    ParamsMismatch {
        /// The object.
        what: &'static str,
    },
    /// The key request did not ask for this rotation at this level.
    #[error("no key for a rotation left by {step} at level {level}; add it to the key request")]
    MissingRotationKey {
        /// Slots to the left.
        step: usize,
        /// Level of the ciphertext.
        level: usize,
    },
    /// The key request did not ask for relinearisation at this level.
    #[error("no relinearisation key for level {level}; add it to the key request")]
    MissingRelinKey {
        /// Level of the ciphertext.
        level: usize,
    },
    /// A key request asks for something that does not exist.
    #[error("key request: rotation left by {step} is not between 1 and {max}")]
    RotationStep {
        /// Slots to the left.
        step: usize,
        /// Largest rotation of the ring.
        max: usize,
    },
    /// Sum over nothing, or lists of different length.
    #[error("{op}: {left} and {right} operands; equal and non-zero counts are needed")]
    OperandCount {
        /// The operation.
        op: &'static str,
        /// Number of first operands.
        left: usize,
        /// Number of second operands.
        right: usize,
    },
    /// More values than slots.
    #[error("{found} values do not fit {slots} slots")]
    TooManyValues {
        /// Number of values.
        found: usize,
        /// Number of slots.
        slots: usize,
    },
    /// A value times the scale does not fit the modulus, or a value is not a number.
    #[error("an encoded coefficient needs {bits} bits but {max} are there; lower the scale or the values")]
    Overflow {
        /// Bits needed; 0 for a value that is no finite number.
        bits: u32,
        /// Bits of the modulus, sign included.
        max: u32,
    },
    /// Bytes that are no encoding of what was expected.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A ciphertext anyone can read: its second half is zero modulo some prime.
    #[error("refused a transparent ciphertext (its second half is zero)")]
    Transparent,
    /// The keys belong to another request.
    #[error("the evaluation keys are not those that were asked for")]
    RequestMismatch,
}

impl HeError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::AboveSecurityTable { .. }
            | Self::NotInSecurityTable { .. }
            | Self::FloodTooSmall { .. } => Blame::Refused,
            Self::Decode(_) | Self::Transparent => Blame::InvalidMessage,
            Self::RequestMismatch => Blame::PeerIncompatible,
            Self::Overflow { .. } => Blame::NumericBound,
            Self::Ring(e) => e.blame(),
            _ => Blame::Misuse,
        }
    }
}
