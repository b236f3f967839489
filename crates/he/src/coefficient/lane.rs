//! A layer's arithmetic in the clear, bit for bit: for simulators that know everything both parties draw.
//!
//! Nothing is encrypted here. y comes from the plain input, each part of the noise from its source, and only what is
//! public (c1) is computed as the server computes it, because the bits that are dropped from it are noise too.

use super::accumulate::Outputs;
use super::kernel::Kernel;
use super::key::{Halves, PublicKey, SecretKey};
use super::params::{Params, mask};
use super::reply::ReplyRandomness;
use super::residue_lane;
use super::ring::centre;
use super::upload::{UploadRandomness, uniform_half};
use crate::HeError;
use oblivia_base::Secret;
use oblivia_ring::word::{self, Doubled, Span};
use std::fmt;

/// What both parties know and draw for one reply. Randomness is drawn a second time from generators in the same state.
#[derive(Clone, Copy)]
pub struct Everything<'a> {
    /// The widths.
    pub params: &'a Params,
    /// The client's key.
    pub sk: &'a SecretKey,
    /// The session's public key.
    pub pk: &'a PublicKey,
    /// What the client encrypted, per ciphertext.
    pub messages: &'a [Vec<u64>],
    /// What it was encrypted with.
    pub upload: &'a UploadRandomness,
    /// The server's share polynomials, per ciphertext.
    pub own: &'a [Vec<u64>],
    /// Input ciphertexts and kernels of the sum.
    pub products: &'a [(usize, &'a Kernel)],
    /// Where the results are.
    pub outputs: &'a Outputs,
    /// A number per output, modulo 2^k.
    pub bias: &'a [u64],
    /// What the reply was masked with.
    pub reply: &'a ReplyRandomness,
}

impl fmt::Debug for Everything<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Everything").field("params", self.params).finish_non_exhaustive()
    }
}

/// One result, by its parts: P* = round(q·y/2^k) + products + zero + encoding + dropped0 + dropped1, modulo q; where q is a power of
/// two the first term is Δ·y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// y modulo 2^k, centred.
    pub y: i64,
    /// The client's errors times the kernels.
    pub products: i64,
    /// The encryption of zero: e·v + e0 + e1·s.
    pub zero: i64,
    /// What rounding encodings added, times the kernels; 0 modulo a power of two.
    pub encoding: i128,
    /// What rounding c0 added.
    pub dropped0: i128,
    /// What rounding c1 added, times s.
    pub dropped1: i128,
    /// P* modulo q.
    pub exact: u128,
    /// P = P* + r modulo q: the phase the client computes.
    pub phase: u128,
    /// The client's share ⌊P·2^L/q⌋.
    pub client: u64,
    /// The server's share.
    pub server: u64,
    /// What the shares add up to beyond ⌊P*·2^L/q⌋, modulo 2^L: the rounding bit, 0 or 1.
    pub round: u64,
}

impl Lane {
    /// e: all noise together.
    pub fn noise(&self) -> i128 {
        self.undropped() + self.dropped0 + self.dropped1
    }

    /// E: what was there before bits were dropped.
    pub fn undropped(&self) -> i128 {
        i128::from(self.products) + i128::from(self.zero) + self.encoding
    }
}

/// What the sources put at every output.
pub(super) struct Sources {
    /// y without the bias, modulo 2^64.
    pub(super) y: Vec<u64>,
    pub(super) products: Vec<i64>,
    pub(super) zero: Vec<i64>,
}

/// Every result of one reply.
///
/// # Errors
/// [`HeError::OperandCount`] if the parts do not belong together.
pub fn replay(all: &Everything<'_>) -> Result<Secret<Vec<Lane>>, HeError> {
    let params = all.params;
    let (ring, n) = (params.ring(), params.n());
    let same = |left, right| match left == right {
        true => Ok(()),
        false => Err(HeError::OperandCount { op: "replay of a layer", left, right }),
    };
    let outputs = all.outputs;
    same(all.messages.len(), all.own.len())?;
    same(all.messages.len(), all.upload.errors.len())?;
    same(outputs.len(), all.bias.len())?;
    same(outputs.len(), all.reply.e0.expose().len())?;
    let (mut c1, mut y, mut errors) = (vec![0u64; n], vec![0u64; n], vec![0u64; n]);
    let whole = [Span::whole(n)];
    for &(i, kernel) in all.products {
        let (Some(theirs), Some(own), Some(e)) =
            (all.messages.get(i), all.own.get(i), all.upload.errors.get(i))
        else {
            return same(i, all.messages.len()).map(|()| Secret::new(Vec::new()));
        };
        same(theirs.len(), n)?;
        same(own.len(), n)?;
        let x: Vec<u64> = theirs.iter().zip(own).map(|(a, &b)| a.wrapping_add(b)).collect();
        let e: Vec<u64> = e.expose().iter().map(|&e| e as u64).collect();
        for (x, sum) in [(&x, &mut y), (&e, &mut errors)] {
            word::accumulate(&Doubled::new(x), kernel.terms(), &whole, sum);
        }
        if ring.primes().is_none() {
            let a = uniform_half(params, &all.upload.seed, i);
            word::accumulate(&Doubled::new(&a), kernel.terms(), &whole, &mut c1);
        }
    }
    // The encryption of zero.
    let v = ring.forward_signed(all.reply.v.expose());
    let s = all.sk.expose();
    let e1 = all.reply.e1.expose();
    let ev = ring.small_product(&ring.forward_signed(all.pk.error(all.sk).expose()), &v);
    let e1s = ring.small_product(&ring.forward_signed(e1), s);
    let e0 = outputs.pick(&ev).zip(outputs.pick(&e1s)).zip(all.reply.e0.expose());
    let sources = Sources {
        y: outputs.pick(&y).collect(),
        products: outputs.pick(&errors).map(|e| centre(e, word::WORD_BITS)).collect(),
        zero: e0.map(|((ev, e1s), &e0)| (ev as i64) + e0 + (e1s as i64)).collect(),
    };
    let a = match (all.pk.halves(), ring.primes()) {
        (Halves::Word([_, a]), None) => a,
        (_, Some(primes)) => return residue_lane::lanes(all, primes, &sources).map(Secret::new),
        _ => return Err(HeError::ParamsMismatch { what: "public key" }),
    };
    let q = params.q_mask();
    let av = ring.product(a, &v);
    c1.iter_mut()
        .zip(&av)
        .zip(e1)
        .for_each(|((c, &av), &e)| *c = c.wrapping_add(av).wrapping_add(e as u64) & q);
    // Rounding.
    let [d0, d1] = params.literal().drop_bits;
    let added = |x: u64, d: u32| {
        let rounded = x.wrapping_add((1 << d) >> 1) >> d << d;
        rounded.wrapping_sub(x) as i64
    };
    let of_c1: Vec<u64> = c1.iter().map(|&c| added(c, d1) as u64).collect();
    let dropped1 = ring.product(&ring.forward(&of_c1, params.q_bits()), s);
    let c1s = ring.product(&ring.forward(&c1, params.q_bits()), s);

    let server = all.reply.share();
    let drawn = all.reply.r.expose().iter().zip(server.expose());
    let lanes = outputs.positions().iter().zip(all.bias).zip(drawn).enumerate();
    let lanes = lanes.map(|(i, ((&p, &bias), (&r, &server)))| {
        let p = p as usize;
        let y = centre(sources.y[i].wrapping_add(bias), params.k_bits());
        let (products, zero) = (sources.products[i], sources.zero[i]);
        let clean = ((y as u64) << params.delta_bits()).wrapping_add((products + zero) as u64);
        let c0 = clean.wrapping_sub(c1s[p]).wrapping_add(r) & q;
        let (dropped0, dropped1) = (added(c0, d0), centre(dropped1[p], params.q_bits()));
        let exact = clean.wrapping_add((dropped0 + dropped1) as u64) & q;
        let phase = exact.wrapping_add(r) & q;
        let (s, l) = (params.s_bits(), mask(params.share_bits()));
        let client = phase >> s;
        let round = client.wrapping_add(server).wrapping_sub(exact >> s) & l;
        let [exact, phase] = [exact, phase].map(u128::from);
        let [dropped0, dropped1] = [dropped0, dropped1].map(i128::from);
        Lane { y, products, zero, encoding: 0, dropped0, dropped1, exact, phase, client, server, round }
    });
    Ok(Secret::new(lanes.collect()))
}

impl zeroize::DefaultIsZeroes for Lane {}
