//! The hashes that break correlations, from AES-128 under public keys of the session: C. Guo, J. Katz, X. Wang, Y. Yu,
//! *Efficient and secure multiparty computation from fixed-key block ciphers* (2020), in the ideal-cipher model.
//!
//! | COTs | hash | because |
//! |---|---|---|
//! | of the extension, or taken up | H(x, i) = π(π(x) ⊕ i) ⊕ π(x), i the index (section 7.4) | their receiver steers the tags: under a hash without i it would make pads of two OTs equal |
//! | of silent rounds | H(x) = π'(x) ⊕ x (section 7.2) | nobody steers them, see below |
//!
//! The second hash is correlation robust for inputs that differ. A key of a silent round is a leaf plus entries of a table
//! ([`crate::silent`]): the leaf comes from a root that the sender draws when the table and the receiver's points are fixed,
//! and which entries is tossed by both parties when the leaves are. So keys of two OTs, or sums of them over GF(2^128), differ
//! by a given block, or a given multiple of Δ, with the probability of two random blocks, some 2^-127. Either hash falls to q
//! evaluations of the cipher with probability q·n/2^127 for n pads of a session that the receiver does not get.
//!
//! The cheaper π(σ(x) ⊕ i) ⊕ σ(x) is not used for steered tags: two inputs have outputs that differ by i ⊕ j.

use crate::Label;
use crate::kernel::Cipher;
use crate::label::low_block;
use std::ops::Range;
use std::sync::Arc;

/// The hashes of one direction of a session, see the module.
#[derive(Clone)]
pub struct CotHash {
    /// π.
    steered: Arc<Cipher>,
    /// π'.
    silent: Arc<Cipher>,
    /// Direction and epoch, at their place in the tweak.
    prefix: u128,
}

/// Where the COTs come from that lanes of OTs are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Silent rounds.
    Silent,
    /// Anything else.
    Steered,
    /// Lanes up to this number all from silent rounds or none, then up to the next number, ….
    Mixed(Vec<(usize, bool)>),
}

/// What is hashed; part of the tweak, so that no two uses of one index meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Purpose(u8);

impl Purpose {
    /// 1-of-2^m random OT, 1 ≤ m ≤ 8.
    const fn one_of(m: u32) -> Purpose {
        Purpose(m as u8)
    }
}

impl CotHash {
    /// The hashes of `label`: keys from session and epoch, direction and epoch in every tweak.
    pub fn new(label: &Label) -> Self {
        let mut t = oblivia_base::Transcript::new("ot hash v1");
        t.absorb("session", &label.session.0);
        t.absorb("epoch", &label.epoch.to_le_bytes());
        let key = |digest| low_block(&digest).to_le_bytes();
        let prefix = u128::from(label.direction as u8) << 120 | u128::from(label.epoch) << 64;
        Self {
            steered: Arc::new(Cipher::new(&key(t.digest()))),
            silent: Arc::new(Cipher::new(&key(label.transcript("silent ot hash v1").digest()))),
            prefix,
        }
    }

    /// The tweak of index `index` for `purpose`: direction ‖ purpose ‖ epoch ‖ index.
    fn tweak(&self, purpose: Purpose, index: u64) -> u128 {
        self.prefix | u128::from(purpose.0) << 112 | u128::from(index)
    }

    /// Makes block i of pad j the hash of input_i ⊕ offset_j, for OTs of m COTs each, the first of which has index `first`.
    pub(crate) fn pads(
        &self,
        m: u32,
        first: u64,
        origin: &Origin,
        [inputs, offsets]: [&[u128]; 2],
        pads: &mut [u128],
    ) {
        let lanes = inputs.len();
        let mut hash = |lanes_of_one: Range<usize>, silent: bool| {
            let tweak = self.tweak(Purpose::one_of(m), first + lanes_of_one.start as u64 * u64::from(m));
            for (offset, pad) in offsets.iter().zip(pads.chunks_exact_mut(lanes.max(1))) {
                let (inputs, pad) = (&inputs[lanes_of_one.clone()], &mut pad[lanes_of_one.clone()]);
                match silent {
                    true => self.silent.mmo(*offset, inputs, pad),
                    false => self.steered.tccr(tweak, m, *offset, inputs, pad),
                }
            }
        };
        match origin {
            Origin::Silent => hash(0..lanes, true),
            Origin::Steered => hash(0..lanes, false),
            Origin::Mixed(runs) => {
                let mut at = 0;
                for &(end, silent) in runs {
                    hash(at..end, silent);
                    at = end;
                }
            }
        }
    }
}

impl std::fmt::Debug for CotHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CotHash(..)")
    }
}
