//! A layer modulo two primes: what differs from words. The order of masking is in `super::reply`, for both.

use super::accumulate::{Accumulated, Outputs};
use super::key::SecretKey;
use super::params::{Params, mask};
use super::primes::Primes;
use super::reply::{Reply, ReplyRandomness};
use super::ring::{PIECE, Ring};
use oblivia_base::codec::Encode;
use oblivia_base::seed::{EntropySource, PublicSeed};
use oblivia_base::{Digest, Secret};
use oblivia_ring::{Coeff, Ntt, Poly, kernel, sample};

const PUBLIC_DOMAIN: &str = "he coefficient public a residues v1";
const UPLOAD_DOMAIN: &str = "he coefficient a residues v1";

/// The public a of a session, transformed.
pub(super) fn public_a(ring: &Ring, nonce: &[u8; 32], transcript: &Digest) -> Poly<Ntt> {
    let parts: [&[u8]; 2] = [&transcript.0, &[ring.log_n() as u8, ring.max_modulus_bits() as u8]];
    sample::uniform_seeded(ring.basis(), &PublicSeed(*nonce), PUBLIC_DOMAIN, &parts)
}

/// c1 of a fresh ciphertext, transformed.
pub(super) fn upload_a(params: &Params, seed: &PublicSeed, index: usize) -> Poly<Ntt> {
    let index = (index as u64).to_le_bytes();
    let parts: [&[u8]; 2] = [&params.literal().to_bytes(), &index];
    sample::uniform_seeded(params.ring().basis(), seed, UPLOAD_DOMAIN, &parts)
}

/// x − a·s as a row of values; x in coefficients.
pub(super) fn encrypt(sk: &SecretKey, a: &Poly<Ntt>, x: Poly<Coeff>) -> Vec<u64> {
    let mut out = x.into_ntt();
    let mut product = Secret::new(Poly::<Ntt>::zero(sk.ring().basis()));
    a.mul_into(sk.expose(), product.expose_mut());
    out.sub_assign(product.expose());
    Primes::row(&out)
}

/// The encoding of `messages`, n of them, plus `e`, in coefficients.
pub(super) fn encoded(params: &Params, primes: &Primes, messages: &[u64], e: &[i64]) -> Poly<Coeff> {
    let mut out = Poly::from_i64(params.ring().basis(), e);
    let row = Secret::new(primes.encode(params.k_bits(), messages));
    let parts = primes.moduli().iter().zip(row.expose().chunks(params.n()));
    out.rows_mut().zip(parts).for_each(|(out, (m, row))| kernel::add_assign(m, out, row));
    out
}

/// c0 of the server's ciphertext of x: what the client sent, and its own share on it.
pub(super) fn input(params: &Params, primes: &Primes, c0: &[u64], own: &[u64]) -> Poly<Ntt> {
    let mut out = Primes::values(params.ring().basis(), c0);
    let own = Secret::new(encoded(params, primes, own, &vec![0; params.n()]).into_ntt());
    out.add_assign(own.expose());
    out
}

/// A ciphertext and a kernel.
type Product<'a> = (&'a [Poly<Ntt>; 2], &'a Poly<Ntt>);

/// Σ c0·kernel and Σ c1·kernel of every list, as rows of values.
pub(super) fn sums(ring: &Ring, lists: &[Vec<Product<'_>>]) -> Vec<[Vec<u64>; 2]> {
    let (n, basis) = (ring.n(), ring.basis());
    let mut out: Vec<_> =
        lists.iter().map(|_| [vec![0; basis.limbs() * n], vec![0; basis.limbs() * n]]).collect();
    let mut triples = Vec::new();
    for (limb, m) in basis.moduli().enumerate() {
        for from in (0..n).step_by(PIECE) {
            let piece = from..(from + PIECE).min(n);
            let at = limb * n + piece.start..limb * n + piece.end;
            for (terms, [x_sum, y_sum]) in lists.iter().zip(&mut out).filter(|(terms, _)| !terms.is_empty()) {
                triples.clear();
                triples.extend(terms.iter().map(|([x, y], small)| {
                    let row = |p| &Poly::<Ntt>::row(p, limb)[piece.clone()];
                    (row(x), row(y), row(small))
                }));
                kernel::dot2_into(m, &triples, &mut x_sum[at.clone()], &mut y_sum[at.clone()]);
            }
        }
    }
    out
}

/// Both halves of a sum with a fresh encryption of zero under `pk`: c0 at the outputs, with the encoded bias, and c1; rows of
/// coefficients.
pub(super) fn rerandomise(
    sum: &Accumulated,
    primes: &Primes,
    [b, a]: &[Poly<Ntt>; 2],
    outputs: &Outputs,
    randomness: &ReplyRandomness,
) -> [Vec<u64>; 2] {
    let (params, basis) = (&sum.params, sum.params.ring().basis());
    let v = Secret::new(params.ring().forward_signed(randomness.v.expose()));
    let with_zero = |row: &[u64], key: &Poly<Ntt>| {
        let mut x = Primes::values(basis, row);
        x.mul_add_assign(key, v.expose());
        x.into_coeff()
    };
    let mut c0 = Primes::pick(&with_zero(&sum.c0, b), outputs.positions());
    primes.add_assign(&mut c0, &primes.encode(params.k_bits(), &sum.bias));
    primes.add_assign(&mut c0, signed(primes, randomness.e0.expose()).expose());
    let mut c1 = Primes::row(&with_zero(&sum.c1, a));
    primes.add_assign(&mut c1, signed(primes, randomness.e1.expose()).expose());
    [c0, c1]
}

/// Signed integers as a row.
fn signed(primes: &Primes, x: &[i64]) -> Secret<Vec<u64>> {
    Secret::new(primes.moduli().iter().flat_map(|m| x.iter().map(|&x| m.reduce_i64(x))).collect())
}

/// The numbers of a row without their low `drop` bits, rounded down: who reads them adds half a unit.
pub(super) fn drop_bits(primes: &Primes, row: &[u64], drop: u32) -> Vec<u64> {
    primes.lift_row(row).map(|x| (x >> drop) as u64).collect()
}

/// The middle of what was dropped, on every number that was kept.
pub(super) fn restore(kept: &[u64], drop: u32) -> impl Iterator<Item = u128> + '_ {
    kept.iter().map(move |&x| (u128::from(x) << drop) + ((1u128 << drop) >> 1))
}

/// Independent uniform residues, `count` modulo each prime.
pub(super) fn uniform(primes: &Primes, count: usize, rng: &mut dyn EntropySource) -> Vec<u64> {
    let mut out = vec![0; 2 * count];
    for (m, row) in primes.moduli().iter().zip(out.chunks_mut(count.max(1))) {
        sample::uniform_row(m, rng, row);
    }
    out
}

/// The server's shares: ⌊(−r mod q)·2^L/q⌋ + 1.
pub(super) fn share(params: &Params, primes: &Primes, r: &[u64]) -> Vec<u64> {
    let l = mask(params.share_bits());
    let negative = |x: u128| (primes.q() - x) & u128::from(x > 0).wrapping_neg();
    primes.lift_row(r).map(|r| (primes.high(negative(r), params.share_bits()) + 1) & l).collect()
}

/// P = c0 + c1·s at the outputs, modulo q, with what was dropped restored to its middle.
pub(super) fn phase(sk: &SecretKey, primes: &Primes, reply: &Reply, outputs: &Outputs) -> Secret<Vec<u128>> {
    let [d0, d1] = reply.params().literal().drop_bits;
    let c1 = primes.residues(&restore(&reply.c1, d1).collect::<Vec<_>>());
    let mut product = Primes::transform(sk.ring().basis(), &c1);
    product.mul_assign(sk.expose());
    let product = Secret::new(product.into_coeff());
    let mut row = Secret::new(Primes::pick(product.expose(), outputs.positions()));
    let c0 = primes.residues(&restore(&reply.c0, d0).collect::<Vec<_>>());
    primes.add_assign(row.expose_mut(), &c0);
    Secret::new(primes.lift_row(row.expose()).collect())
}

/// The error e = b + a·s of a public key.
pub(super) fn error_of(sk: &SecretKey, b: &Poly<Ntt>, a: &Poly<Ntt>) -> Secret<Vec<i64>> {
    let mut e = b.clone();
    e.mul_add_assign(a, sk.expose());
    let e = Secret::new(e.into_coeff());
    let m = sk.ring().basis().modulus(0);
    Secret::new(e.expose().row(0).iter().map(|&x| m.centre(x)).collect())
}
