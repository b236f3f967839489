//! Widths of one linear layer.

use super::flood::Flood;
use super::ring::Ring;
use crate::HeError;
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};
use oblivia_ring::packing;
use std::fmt;

/// All widths of one layer, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamsLiteral {
    /// log2 n.
    pub log_n: u32,
    /// q: the ciphertext modulus is 2^q, or a product of two primes of q/2 bits.
    pub q_bits: u32,
    /// k: messages, inputs as well as sums, are modulo 2^k. Δ = 2^(q−k).
    pub k_bits: u32,
    /// L: shares of the result are modulo 2^L; the sum is divided by 2^f, f = k − L.
    pub share_bits: u32,
    /// d0, d1: bits rounded away from c0 and c1 of a reply.
    pub drop_bits: [u32; 2],
}

impl Encode for ParamsLiteral {
    fn encode(&self, w: &mut Writer) {
        let [d0, d1] = self.drop_bits;
        [self.log_n, self.q_bits, self.k_bits, self.share_bits, d0, d1]
            .iter()
            .for_each(|&v| w.u8(v.min(255) as u8));
    }
}

impl Decode for ParamsLiteral {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut next = |what| r.u8(what).map(u32::from);
        Ok(Self {
            log_n: next("log n")?,
            q_bits: next("ciphertext bits")?,
            k_bits: next("message bits")?,
            share_bits: next("share bits")?,
            drop_bits: [next("bits dropped")?, next("bits dropped")?],
        })
    }
}

/// Checked widths, and the ring they are for.
#[derive(Clone)]
pub struct Params {
    pub(super) literal: ParamsLiteral,
    pub(super) ring: Ring,
    /// There for a modulus of two primes.
    pub(super) flood: Option<Flood>,
}

impl Params {
    /// Checks the widths of a layer modulo 2^q: 1 ≤ L ≤ k ≤ q, q within the security table and [`super::MAX_MODULUS_BITS`], d0 and d1 less
    /// than s = q − L. Noise is another matter: [`super::NoiseEstimate`]. Layers modulo two primes: [`Params::flooded`].
    ///
    /// # Errors
    /// [`HeError::Shape`], [`HeError::AboveSecurityTable`].
    pub fn new(ring: &Ring, literal: ParamsLiteral) -> Result<Self, HeError> {
        let ParamsLiteral { log_n, q_bits, k_bits, share_bits, drop_bits } = literal;
        let shape = |ok: bool, what| if ok { Ok(()) } else { Err(HeError::Shape { what }) };
        shape(log_n == ring.log_n(), "the layer is for another ring degree; make its ring")?;
        shape(ring.primes().is_none(), "a layer modulo two primes is made with its flood")?;
        ring.check_modulus(q_bits)?;
        shape(
            (1..=k_bits).contains(&share_bits) && k_bits <= q_bits,
            "share bits <= message bits <= ciphertext bits is needed, and one bit at least",
        )?;
        shape(share_bits < q_bits, "no low bits are left to divide by; enlarge the ciphertext modulus")?;
        let s = q_bits - share_bits;
        shape(drop_bits.iter().all(|&d| d < s), "more bits dropped than the division takes away")?;
        Ok(Self { literal, ring: ring.clone(), flood: None })
    }

    /// The widths.
    pub fn literal(&self) -> &ParamsLiteral {
        &self.literal
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// n.
    pub fn n(&self) -> usize {
        self.ring.n()
    }

    /// q, bits.
    pub fn q_bits(&self) -> u32 {
        self.literal.q_bits
    }

    /// k, bits.
    pub fn k_bits(&self) -> u32 {
        self.literal.k_bits
    }

    /// L, bits.
    pub fn share_bits(&self) -> u32 {
        self.literal.share_bits
    }

    /// f = k − L: the sum is divided by 2^f.
    pub fn shift_bits(&self) -> u32 {
        self.literal.k_bits - self.literal.share_bits
    }

    /// s = q − L: low bits of a phase that the shares do not keep.
    pub fn s_bits(&self) -> u32 {
        self.literal.q_bits - self.literal.share_bits
    }

    /// What the noise of a flooded layer is drowned in; `None` for a layer modulo a power of two.
    pub fn flood(&self) -> Option<&Flood> {
        self.flood.as_ref()
    }

    /// Numbers in a whole element: n, or n for each prime.
    pub(super) fn row_len(&self) -> usize {
        self.n() * if self.ring.primes().is_some() { 2 } else { 1 }
    }

    /// Bits of such a number.
    pub(super) fn row_bits(&self) -> u32 {
        self.literal.q_bits / if self.ring.primes().is_some() { 2 } else { 1 }
    }

    /// log2 Δ = q − k.
    pub fn delta_bits(&self) -> u32 {
        self.literal.q_bits - self.literal.k_bits
    }

    /// Bits of a coefficient of c0 and of c1 in a reply.
    pub fn reply_bits(&self) -> [u32; 2] {
        self.literal.drop_bits.map(|d| self.literal.q_bits - d)
    }

    /// 2^q − 1, modulo a power of two.
    pub(crate) fn q_mask(&self) -> u64 {
        mask(self.literal.q_bits)
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.literal == other.literal && self.flood == other.flood
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.literal.fmt(f)
    }
}

/// 2^bits − 1, bits below 64.
pub(crate) fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// `count` numbers of `bits` bits. Memory is allocated only after the reader is seen to hold them.
pub(super) fn read_bits(
    count: usize,
    bits: u32,
    what: &'static str,
    r: &mut Reader<'_>,
) -> Result<Vec<u64>, DecodeError> {
    if r.remaining() < packing::bits_bytes(count, bits) {
        return Err(r.error(what, Fault::Truncated));
    }
    let mut row = vec![0; count];
    packing::read_bits(bits, what, r, &mut row)?;
    Ok(row)
}
