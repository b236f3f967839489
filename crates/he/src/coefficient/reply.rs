//! Masked sums on their way back to the client.

use super::accumulate::{Accumulated, Outputs};
use super::key::{Halves, PublicKey, SecretKey};
use super::params::{Params, mask, read_bits};
use super::residues;
use super::ring::fill_uniform;
use super::upload::draw_key;
use crate::HeError;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Prg, Secret};
use oblivia_ring::{packing, sample};
use rayon::prelude::*;
use std::fmt;

const DOMAIN: &str = "he coefficient reply v1";

/// What one reply takes: the ternary v and the errors e0, e1 of a fresh encryption of zero, and the mask r. Used up by
/// [`Accumulated::mask_and_drop`].
pub struct ReplyRandomness {
    params: Params,
    pub(super) v: Secret<Vec<i64>>,
    /// At the outputs.
    pub(super) e0: Secret<Vec<i64>>,
    pub(super) e1: Secret<Vec<i64>>,
    /// At the outputs, uniform modulo q: modulo two primes a row.
    pub(super) r: Secret<Vec<u64>>,
}

impl ReplyRandomness {
    /// Draws a key per reply and from it v, e0, e1 and r; `outputs` says how many results each reply has. On the threads
    /// of the current pool.
    pub fn draw_all(params: &Params, outputs: &[usize], rng: &mut dyn EntropySource) -> Vec<Self> {
        let keys: Vec<_> = outputs.iter().map(|_| draw_key(rng)).collect();
        let one = |(key, &outputs): (&Secret<[u8; 32]>, &usize)| {
            Self::draw(params, outputs, &mut Prg::new(key.expose(), DOMAIN, &[]))
        };
        keys.par_iter().zip(outputs).map(one).collect()
    }

    /// Draws v, e0, e1 and r in this order, for one reply with `outputs` results.
    pub fn draw(params: &Params, outputs: usize, rng: &mut dyn EntropySource) -> Self {
        let mut v = Secret::new(vec![0i64; params.n()]);
        sample::ternary(rng, v.expose_mut());
        let mut gaussian = |len| {
            let mut e = Secret::new(vec![0i64; len]);
            sample::gaussian(rng, e.expose_mut());
            e
        };
        let (e0, e1) = (gaussian(outputs), gaussian(params.n()));
        let r = match params.ring().primes() {
            Some(primes) => Secret::new(residues::uniform(primes, outputs, rng)),
            None => {
                let mut r = Secret::new(vec![0u64; outputs]);
                fill_uniform(rng, params.q_bits(), r.expose_mut());
                r
            }
        };
        Self { params: params.clone(), v, e0, e1, r }
    }

    /// The server's shares, modulo 2^L: ⌊(−r mod q)·2^L/q⌋ + 1, which modulo 2^q is ⌊(−r mod 2^q)/2^s⌋ + 1. They depend on
    /// the mask alone.
    pub fn share(&self) -> Secret<Vec<u64>> {
        if let Some(primes) = self.params.ring().primes() {
            return Secret::new(residues::share(&self.params, primes, self.r.expose()));
        }
        let (q, s) = (self.params.q_mask(), self.params.s_bits());
        let l = mask(self.params.share_bits());
        let share = |&r: &u64| (((r.wrapping_neg() & q) >> s) + 1) & l;
        Secret::new(self.r.expose().iter().map(share).collect())
    }
}

impl fmt::Debug for ReplyRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyRandomness(..)")
    }
}

/// A sum with a fresh encryption of zero added: c1 is pseudo-random to the owner of the key.
pub(super) struct Rerandomised {
    params: Params,
    c0: Vec<u64>,
    c1: Vec<u64>,
}

/// The same with uniform masks on c0.
pub(super) struct Masked(Rerandomised);

impl Accumulated {
    /// c0 += b·v + e0, c1 += a·v + e1.
    pub(super) fn rerandomise(
        self,
        pk: &PublicKey,
        outputs: &Outputs,
        randomness: &ReplyRandomness,
    ) -> Result<Rerandomised, HeError> {
        let [b, a] = match (pk.halves(), self.params.ring().primes()) {
            (Halves::Primes(halves), Some(primes)) => {
                let [c0, c1] = residues::rerandomise(&self, primes, halves, outputs, randomness);
                return Ok(Rerandomised { params: self.params, c0, c1 });
            }
            (Halves::Word(halves), None) => halves,
            _ => return Err(HeError::ParamsMismatch { what: "public key" }),
        };
        let Self { params, mut c0, mut c1, .. } = self;
        let ring = params.ring();
        let v = Secret::new(ring.forward_signed(randomness.v.expose()));
        let bv = Secret::new(ring.product(b, v.expose()));
        let at_outputs = outputs.pick(bv.expose()).zip(randomness.e0.expose());
        for (c, (bv, &e)) in c0.iter_mut().zip(at_outputs) {
            *c = c.wrapping_add(bv).wrapping_add(e as u64);
        }
        let av = Secret::new(ring.product(a, v.expose()));
        for ((c, &av), &e) in c1.iter_mut().zip(av.expose()).zip(randomness.e1.expose()) {
            *c = c.wrapping_add(av).wrapping_add(e as u64);
        }
        Ok(Rerandomised { params, c0, c1 })
    }

    /// The reply: a fresh encryption of zero under `pk` is added to both halves, r is added to the coefficients of c0 that
    /// are sent, the low bits of both halves are rounded away. `outputs` are those of the sum.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::OperandCount`] for randomness of another number of results.
    pub fn mask_and_drop(
        self,
        pk: &PublicKey,
        outputs: &Outputs,
        randomness: ReplyRandomness,
    ) -> Result<Reply, HeError> {
        pk.check(self.params.ring())?;
        outputs.check(self.params.ring())?;
        if randomness.params != self.params {
            return Err(HeError::ParamsMismatch { what: "randomness of a reply" });
        }
        let (left, right) = (outputs.len(), randomness.e0.expose().len());
        let of_sum = match self.params.ring().primes() {
            Some(_) => self.bias.len(),
            None => self.c0.len(),
        };
        if left != right || left != of_sum {
            return Err(HeError::OperandCount { op: "masks of a reply", left, right });
        }
        Ok(self.rerandomise(pk, outputs, &randomness)?.mask(&randomness.r).drop_bits())
    }
}

impl Rerandomised {
    pub(super) fn mask(mut self, r: &Secret<Vec<u64>>) -> Masked {
        match self.params.ring().primes() {
            Some(primes) => primes.add_assign(&mut self.c0, r.expose()),
            None => self.c0.iter_mut().zip(r.expose()).for_each(|(c, &r)| *c = c.wrapping_add(r)),
        }
        Masked(self)
    }
}

impl Masked {
    pub(super) fn drop_bits(self) -> Reply {
        let Rerandomised { params, mut c0, mut c1 } = self.0;
        if let Some(primes) = params.ring().primes() {
            let [d0, d1] = params.literal().drop_bits;
            let (c0, c1) = (residues::drop_bits(primes, &c0, d0), residues::drop_bits(primes, &c1, d1));
            return Reply { params, c0, c1 };
        }
        for (row, d) in [&mut c0, &mut c1].into_iter().zip(params.literal().drop_bits) {
            let half = (1u64 << d) >> 1;
            row.iter_mut().for_each(|c| *c = (c.wrapping_add(half) & params.q_mask()) >> d);
        }
        Reply { params, c0, c1 }
    }
}

/// A masked sum without its low bits: what the server sends.
#[derive(Clone)]
pub struct Reply {
    params: Params,
    pub(super) c0: Vec<u64>,
    pub(super) c1: Vec<u64>,
}

impl Reply {
    /// The widths.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Results in it.
    pub fn outputs(&self) -> usize {
        self.c0.len()
    }

    /// Bytes of an encoding: `outputs`·(q − d0) bits, up to a whole byte, and n·(q − d1) bits.
    pub fn encoded_bytes(params: &Params, outputs: usize) -> usize {
        let [b0, b1] = params.reply_bits();
        packing::bits_bytes(outputs, b0) + packing::bits_bytes(params.n(), b1)
    }

    /// Appends c0 and c1, packed.
    pub fn encode(&self, w: &mut Writer) {
        let [b0, b1] = self.params.reply_bits();
        packing::write_bits(&self.c0, b0, w);
        packing::write_bits(&self.c1, b1, w);
    }

    /// Reads a reply with exactly `outputs` results.
    ///
    /// # Errors
    /// [`HeError::Decode`] for bytes that are no canonical encoding.
    pub fn decode(params: &Params, outputs: usize, r: &mut Reader<'_>) -> Result<Self, HeError> {
        let [b0, b1] = params.reply_bits();
        let c0 = read_bits(outputs, b0, "reply c0", r)?;
        let c1 = read_bits(params.n(), b1, "reply c1", r)?;
        Ok(Self { params: params.clone(), c0, c1 })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("outputs", &self.c0.len()).finish_non_exhaustive()
    }
}

impl SecretKey {
    fn check_reply(&self, reply: &Reply, outputs: &Outputs) -> Result<(), HeError> {
        let params = &reply.params;
        self.check(params.ring())?;
        outputs.check(params.ring())?;
        if outputs.len() != reply.c0.len() {
            let (left, right) = (reply.c0.len(), outputs.len());
            return Err(HeError::OperandCount { op: "results of a reply", left, right });
        }
        Ok(())
    }

    /// P = c0'·2^d0 + c1'·2^d1·s at the outputs, modulo 2^q.
    pub(super) fn phase(&self, reply: &Reply, outputs: &Outputs) -> Result<Secret<Vec<u64>>, HeError> {
        self.check_reply(reply, outputs)?;
        let params = &reply.params;
        let [d0, d1] = params.literal().drop_bits;
        let c1: Vec<u64> = reply.c1.iter().map(|&c| c << d1).collect();
        let c1 = params.ring().forward(&c1, params.q_bits());
        let product = Secret::new(params.ring().product(&c1, self.expose()));
        let phase = reply.c0.iter().zip(outputs.pick(product.expose()));
        Ok(Secret::new(phase.map(|(&c, p)| (c << d0).wrapping_add(p) & params.q_mask()).collect()))
    }

    /// The client's shares, modulo 2^L: ⌊P·2^L/q⌋ at every output, which modulo 2^q is ⌊P/2^s⌋.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::OperandCount`] for a reply with another number of results.
    pub fn finish(&self, reply: &Reply, outputs: &Outputs) -> Result<Secret<Vec<u64>>, HeError> {
        if let Some(primes) = reply.params.ring().primes() {
            self.check_reply(reply, outputs)?;
            let phase = residues::phase(self, primes, reply, outputs);
            let bits = reply.params.share_bits();
            return Ok(Secret::new(phase.expose().iter().map(|&p| primes.high(p, bits)).collect()));
        }
        let mut phase = self.phase(reply, outputs)?;
        let s = reply.params.s_bits();
        phase.expose_mut().iter_mut().for_each(|p| *p >>= s);
        Ok(phase)
    }
}
