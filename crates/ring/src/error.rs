use oblivia_base::Blame;
use thiserror::Error;

/// Why a modulus, a ring or a basis cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The modulus is not an odd prime below 2^50.
    #[error("{q} is not an odd prime below 2^50; choose one")]
    Modulus {
        /// The value that was asked for.
        q: u64,
    },
    /// The prime has no root of unity of the order that the ring needs.
    #[error("the prime {q} is not 1 modulo {order}, which this ring needs; choose another prime")]
    NoRoot {
        /// The prime.
        q: u64,
        /// Order of the root: 2n in the standard ring, 4n in the conjugate-invariant one.
        order: u64,
    },
    /// The ring degree is outside the supported range.
    #[error("ring degree 2^{log_n} is not supported; it must be 2^3 to 2^17")]
    Degree {
        /// log2 of the degree.
        log_n: u32,
    },
    /// There are not enough primes of the size that was asked for.
    #[error("no unused prime of {bits} bits is 1 modulo {step}; ask for larger primes or fewer of them")]
    NoPrime {
        /// Bit length of the prime.
        bits: u32,
        /// The prime must be 1 modulo this.
        step: u64,
    },
    /// The number is no Galois element of the ring.
    #[error(
        "{g} is no Galois element modulo {order}: odd is needed, and 1 modulo 4 in the conjugate-invariant ring"
    )]
    Galois {
        /// The exponent that was asked for.
        g: u64,
        /// Order of the root of unity.
        order: u64,
    },
    /// A prime occurs twice in a basis.
    #[error("the prime {q} occurs twice in one basis")]
    Repeated {
        /// The prime.
        q: u64,
    },
    /// Two bases belong to different rings.
    #[error("the two bases belong to rings of different degree or kind")]
    ShapeMismatch,
    /// The product of a basis does not fit the integer type it is to be lifted to.
    #[error(
        "the product of {limbs} moduli exceeds 126 bits and cannot be lifted to 128-bit integers; drop limbs first"
    )]
    TooWide {
        /// Number of limbs of the basis.
        limbs: usize,
    },
}

impl RingError {
    /// Who is at fault. Every variant reports parameters a caller should have checked.
    pub fn blame(&self) -> Blame {
        Blame::Misuse
    }
}
