//! The hash that breaks correlations, from AES-128 under a public key of the session.
//!
//! [`Tccr`] is the tweakable circular correlation-robust hash H(x, i) = π(π(x) ⊕ i) ⊕ π(x), π = AES under a key both
//! parties know: C. Guo, J. Katz, X. Wang, Y. Yu, *Efficient and secure multiparty computation from fixed-key block
//! ciphers* (2020), section 7.4, proved in the ideal-cipher model. The cheaper π(σ(x) ⊕ i) ⊕ σ(x) is not used: whoever
//! steers x takes two inputs whose outputs differ by i ⊕ j.

use crate::Label;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// Blocks hashed per call of the cipher.
const CHUNK: usize = 16;

/// The tweakable hash of one direction of a session, see the module.
#[derive(Clone)]
pub struct Tccr {
    aes: Aes128,
    /// Direction and epoch, at their place in the tweak.
    prefix: u128,
}

/// What is hashed; part of the tweak, so that no two uses of one index meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose(pub(crate) u8);

impl Purpose {
    /// 1-of-2 random OT.
    pub(crate) const PAIR: Purpose = Purpose(1);

    /// 1-of-2^m random OT, 2 ≤ m ≤ 8.
    pub(crate) const fn one_of(m: u32) -> Purpose {
        Purpose(m as u8)
    }
}

impl Tccr {
    /// The hash of `label`: key from session and epoch, direction and epoch in every tweak.
    pub fn new(label: &Label) -> Self {
        let mut t = oblivia_base::Transcript::new("ot hash v1");
        t.absorb("session", &label.session.0);
        t.absorb("epoch", &label.epoch.to_le_bytes());
        let [key, _] = halves(t.digest().0);
        let prefix = u128::from(label.direction as u8) << 120 | u128::from(label.epoch) << 64;
        Self { aes: Aes128::new(&key.into()), prefix }
    }

    /// The tweak of index `index` for `purpose`: direction ‖ purpose ‖ epoch ‖ index.
    pub(crate) fn tweak(&self, purpose: Purpose, index: u64) -> u128 {
        self.prefix | u128::from(purpose.0) << 112 | u128::from(index)
    }

    /// Replaces x_i by H(x_i, first + ⌊i / group⌋), the tweaks counting upwards; `group` entries share one.
    pub(crate) fn hash(&self, purpose: Purpose, first: u64, group: usize, blocks: &mut [u128]) {
        let group = group.max(1);
        for (c, chunk) in blocks.chunks_mut(CHUNK).enumerate() {
            let mut inner = [aes::Block::default(); CHUNK];
            let inner = inner.get_mut(..chunk.len()).unwrap_or_default();
            for (b, x) in inner.iter_mut().zip(&*chunk) {
                *b = x.to_le_bytes().into();
            }
            self.aes.encrypt_blocks(inner);
            for (i, (b, x)) in inner.iter_mut().zip(&mut *chunk).enumerate() {
                let index = first.wrapping_add(((c * CHUNK + i) / group) as u64);
                *x = u128::from_le_bytes((*b).into());
                *b = (*x ^ self.tweak(purpose, index)).to_le_bytes().into();
            }
            self.aes.encrypt_blocks(inner);
            for (b, x) in inner.iter().zip(&mut *chunk) {
                *x ^= u128::from_le_bytes((*b).into());
            }
        }
    }
}

impl std::fmt::Debug for Tccr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tccr(..)")
    }
}

/// The two halves of a digest.
pub(crate) fn halves(digest: [u8; 32]) -> [[u8; 16]; 2] {
    let mut out = [[0; 16]; 2];
    for (half, bytes) in out.iter_mut().zip(digest.chunks_exact(16)) {
        half.copy_from_slice(bytes);
    }
    out
}

/// x · a in GF(2^128) = GF(2)[x] / (x^128 + x^7 + x^2 + x + 1), bit i of the integer the coefficient of x^i.
pub(crate) const fn times_x(a: u128) -> u128 {
    (a << 1) ^ ((a >> 127) * 0x87)
}
