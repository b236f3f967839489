//! The hash that breaks correlations, from AES-128 under a public key of the session.
//!
//! [`Tccr`] is the tweakable circular correlation-robust hash H(x, i) = π(π(x) ⊕ i) ⊕ π(x), π = AES under a key both
//! parties know: C. Guo, J. Katz, X. Wang, Y. Yu, *Efficient and secure multiparty computation from fixed-key block
//! ciphers* (2020), section 7.4, proved in the ideal-cipher model. The cheaper π(σ(x) ⊕ i) ⊕ σ(x) is not used: whoever
//! steers x takes two inputs whose outputs differ by i ⊕ j.

use crate::Label;
use crate::kernel::{Cipher, Hashing};
use crate::label::low_block;
use std::sync::Arc;

/// The tweakable hash of one direction of a session, see the module.
#[derive(Clone)]
pub struct Tccr {
    cipher: Arc<Cipher>,
    /// Direction and epoch, at their place in the tweak.
    prefix: u128,
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

impl Tccr {
    /// The hash of `label`: key from session and epoch, direction and epoch in every tweak.
    pub fn new(label: &Label) -> Self {
        let mut t = oblivia_base::Transcript::new("ot hash v1");
        t.absorb("session", &label.session.0);
        t.absorb("epoch", &label.epoch.to_le_bytes());
        let key = low_block(&t.digest()).to_le_bytes();
        let prefix = u128::from(label.direction as u8) << 120 | u128::from(label.epoch) << 64;
        Self { cipher: Arc::new(Cipher::new(&key)), prefix }
    }

    /// The tweak of index `index` for `purpose`: direction ‖ purpose ‖ epoch ‖ index.
    fn tweak(&self, purpose: Purpose, index: u64) -> u128 {
        self.prefix | u128::from(purpose.0) << 112 | u128::from(index)
    }

    /// To make block i of pad j H(input_i ⊕ offset_j, first + i·m) for OTs of m COTs each.
    pub(crate) fn pads<'a>(
        &'a self,
        m: u32,
        first: u64,
        inputs_and_offsets: [&'a [u128]; 2],
        pads: &'a mut [u128],
    ) -> Hashing<'a> {
        Hashing::new(&self.cipher, self.tweak(Purpose::one_of(m), first), m, inputs_and_offsets, pads)
    }
}

impl std::fmt::Debug for Tccr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tccr(..)")
    }
}
