//! The last result on its way to the owner of the key.
#![deny(clippy::indexing_slicing)]

use super::context::{Context, Factor};
use super::encoder::Message;
use super::{Ciphertext, Decryptor, Evaluator};
use crate::HeError;
use crate::plaintext::check_id;
use crate::public_key::read_id;
use crate::scheme::Arithmetic;
use oblivia_base::codec::{Encode, Fault, Reader, Writer};
use oblivia_base::{Digest, Secret};
use oblivia_ring::{Coeff, Modulus, Poly, kernel};
use std::fmt;

/// Context id, factor, bits cut from either half.
const HEADER_BYTES: usize = 32 + 8 + 2;

/// A ciphertext modulo q_0 in BFV form (Brakerski 2012; Fan and Vercauteren 2012): phase q_0·m'/t + e with
/// m' = −q_0⁻¹·f·m modulo t, as coefficients, their low bits cut off.
///
/// BGV keeps the message in the low bits of the phase, where nothing can be cut; times t⁻¹ modulo q_0 it is in the high
/// ones.
#[derive(Clone)]
pub struct Reply {
    halves: [Vec<u64>; 2],
    /// Bits of an entry of either half.
    bits: [u32; 2],
    cut: [u32; 2],
    factor: Factor,
    id: Digest,
}

fn modulus(context: &Context) -> &Modulus {
    context.params().level_data(1).q.modulus(0)
}

fn check_cut(context: &Context, cut: [u32; 2]) -> Result<(), HeError> {
    let bits = modulus(context).bits();
    match cut.iter().find(|&&c| c >= bits) {
        Some(&c) => Err(HeError::Overflow { bits: c + 1, max: bits }),
        None => Ok(()),
    }
}

impl Evaluator {
    /// The BFV form of `x`, on level 1, without the low `cut` bits of c0 and of c1; [`super::NoiseModel::cut`] says what
    /// that costs. 2 transforms. Only after [`Evaluator::flood`] does it hide how the message was computed.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::LevelMismatch`] above level 1, [`HeError::Overflow`] for cutting all of
    /// q_0.
    pub fn reply(&self, x: &Ciphertext, cut: [u32; 2]) -> Result<Reply, HeError> {
        x.check(&self.scheme)?;
        check_cut(&self.scheme, cut)?;
        if x.level() != 1 {
            return Err(HeError::LevelMismatch { op: "reply", left: x.level(), right: 1 });
        }
        let table = self.params().level_data(1).q.table(0);
        let m = table.modulus();
        // t is not among the primes, so it has an inverse.
        let inverse = m.shoup(m.pow(m.reduce_u64(self.scheme.t()), m.value() - 2));
        let mut halves = [x.c0.row(0).to_vec(), x.c1.row(0).to_vec()];
        for (row, cut) in halves.iter_mut().zip(cut) {
            kernel::inverse(table, row);
            kernel::scale_assign(m, row, inverse);
            row.iter_mut().for_each(|x| *x >>= cut);
        }
        crate::counts::count(&self.counters.ntt, 2);
        Ok(Reply { halves, bits: cut.map(|c| m.bits() - c), cut, factor: x.scale, id: x.id })
    }
}

impl Decryptor<'_> {
    /// The message of a reply, its factor taken out. Nothing here can fail by the content of a reply.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn decrypt_reply(&self, reply: &Reply) -> Result<Message, HeError> {
        let context = self.context();
        check_id(&context.id(), &reply.id, "reply")?;
        let basis = &context.params().level_data(1).q;
        let (m, t) = (basis.modulus(0), context.modulus());
        let [c0, c1] = [0, 1].map(|half: usize| {
            let mut poly = Poly::<Coeff>::zero(basis);
            let (values, cut) = match half {
                0 => (&reply.halves[0], reply.cut[0]),
                _ => (&reply.halves[1], reply.cut[1]),
            };
            // The middle of what was cut.
            let middle = (1u64 << cut) >> 1;
            for (to, &x) in poly.row_mut(0).iter_mut().zip(values) {
                *to = m.reduce_u64((x << cut) + middle);
            }
            poly
        });
        let mut phase = Secret::new(c1.into_ntt());
        let row = phase.expose_mut().row_mut(0);
        kernel::mul_assign(m, row, self.secret_row());
        kernel::inverse(basis.table(0), row);
        kernel::add_assign(m, row, c0.row(0));
        // m = −q_0·m'/f.
        let back = context.quotient(context.factor(-((m.value() % t.value()) as i64))?, reply.factor);
        let back = t.shoup(back.value());
        let mut poly = Poly::<Coeff>::zero(context.basis());
        let (by_t, q_inverse) = (m.shoup(t.value()), inverse_mod_2_64(m.value()));
        for (out, &x) in poly.row_mut(0).iter_mut().zip(&*row) {
            // round(t·x/q), without a division: t·x less its remainder is a multiple of q, the quotient below t. One
            // more may be t, which the product reduces.
            let rest = m.mul_shoup(x, by_t);
            let quotient = x.wrapping_mul(t.value()).wrapping_sub(rest).wrapping_mul(q_inverse);
            *out = t.mul_shoup(quotient + u64::from(rest > m.value() >> 1), back);
        }
        Ok(Message { poly, id: context.id() })
    }
}

impl Reply {
    /// What the message is multiplied by, before the BFV form.
    pub fn factor(&self) -> Factor {
        self.factor
    }

    /// What is left of both halves.
    #[cfg(test)]
    pub(super) fn halves(&self) -> &[Vec<u64>; 2] {
        &self.halves
    }

    /// Bytes of an encoding.
    ///
    /// # Errors
    /// [`HeError::Overflow`] for cutting all of q_0.
    pub fn encoded_bytes(context: &Context, cut: [u32; 2]) -> Result<usize, HeError> {
        check_cut(context, cut)?;
        let bits = modulus(context).bits();
        Ok(HEADER_BYTES + cut.iter().map(|c| row_bytes(context, bits - c)).sum::<usize>())
    }

    /// Appends context id, factor, the numbers of bits cut, and both halves, packed.
    pub fn encode(&self, w: &mut Writer) {
        self.id.encode(w);
        Context::write_scale(self.factor, w);
        self.cut.iter().for_each(|&c| w.u8(c as u8));
        for (row, bits) in self.halves.iter().zip(self.bits) {
            write_bits(row, bits, w);
        }
    }

    /// Reads a reply of `context` that must have this factor and these cuts.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::FactorMismatch`], or [`HeError::Decode`] for bytes that are no canonical
    /// encoding.
    pub fn decode(
        context: &Context,
        factor: Factor,
        cut: [u32; 2],
        r: &mut Reader<'_>,
    ) -> Result<Self, HeError> {
        const WHAT: &str = "reply";
        context.check_scale(WHAT, factor)?;
        check_cut(context, cut)?;
        read_id(&context.id(), WHAT, r)?;
        Context::same_scale(WHAT, Context::read_scale(r)?, factor)?;
        for cut in cut {
            let found = u32::from(r.u8("bits cut")?);
            r.require(found == cut, "bits cut")?;
        }
        let m = modulus(context);
        if r.remaining() < Self::encoded_bytes(context, cut)? - HEADER_BYTES {
            return Err(r.error(WHAT, Fault::Truncated).into());
        }
        let [a, b] = cut;
        let halves = [read_bits(context, m, a, r)?, read_bits(context, m, b, r)?];
        Ok(Self { halves, bits: cut.map(|c| m.bits() - c), cut, factor, id: context.id() })
    }
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: 3 bits to start with, doubled five times.
fn inverse_mod_2_64(q: u64) -> u64 {
    (0..5).fold(q, |x, _| x.wrapping_mul(2u64.wrapping_sub(q.wrapping_mul(x))))
}

fn row_bytes(context: &Context, bits: u32) -> usize {
    context.params().n() / 8 * bits as usize
}

/// Appends numbers of `bits` bits, low bits first. There is a multiple of 8 of them, so they fill their bytes.
fn write_bits(row: &[u64], bits: u32, w: &mut Writer) {
    let (mut word, mut filled) = (0u128, 0);
    for &x in row {
        word |= u128::from(x) << filled;
        filled += bits;
        while filled >= 8 {
            w.u8(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
}

/// Reads a row of residues modulo `m` without their low `cut` bits.
fn read_bits(context: &Context, m: &Modulus, cut: u32, r: &mut Reader<'_>) -> Result<Vec<u64>, HeError> {
    const WHAT: &str = "row of a reply";
    let (bits, n) = (m.bits() - cut, context.params().n());
    let largest = (m.value() - 1) >> cut;
    let mut bytes = r.raw(row_bytes(context, bits), WHAT)?.iter();
    let (mut word, mut filled, mut canonical) = (0u128, 0, true);
    let mut out = Vec::with_capacity(n);
    for _ in 0..n {
        while filled < bits {
            word |= u128::from(bytes.next().copied().unwrap_or(0)) << filled;
            filled += 8;
        }
        let x = word as u64 & ((1 << bits) - 1);
        canonical &= x <= largest;
        out.push(x);
        word >>= bits;
        filled -= bits;
    }
    if canonical { Ok(out) } else { Err(r.error(WHAT, Fault::Invalid).into()) }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("cut", &self.cut).field("factor", &self.factor).finish_non_exhaustive()
    }
}
