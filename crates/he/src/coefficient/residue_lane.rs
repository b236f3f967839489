//! [`super::lane`] modulo two primes.

use super::key::{Halves, PublicKey};
use super::lane::{Everything, Lane, Sources};
use super::params::mask;
use super::primes::Primes;
use super::residues;
use crate::HeError;
use oblivia_base::Secret;
use oblivia_ring::{Coeff, Ntt, Poly};

/// Every result of one reply, from what the sources add.
pub(super) fn lanes(all: &Everything<'_>, primes: &Primes, sources: &Sources) -> Result<Vec<Lane>, HeError> {
    let (params, outputs) = (all.params, all.outputs);
    let (ring, basis, k) = (params.ring(), params.ring().basis(), params.k_bits());
    let Halves::Primes([_, a]) = PublicKey::halves(all.pk) else {
        return Err(HeError::ParamsMismatch { what: "public key" });
    };
    let s = all.sk.expose();
    // c1, and the encodings that the kernels multiply.
    let (mut c1, mut sums) = (Poly::<Ntt>::zero(basis), Secret::new(Poly::<Ntt>::zero(basis)));
    for &(i, kernel) in all.products {
        let mut dense = vec![0i64; ring.n()];
        kernel.terms().iter().for_each(|t| dense[t.shift as usize] = i64::from(t.weight));
        let kernel = ring.forward_signed(&dense);
        c1.mul_add_assign(&residues::upload_a(params, &all.upload.seed, i), &kernel);
        for part in [all.messages, all.own] {
            let none = vec![0; ring.n()];
            let part = residues::encoded(params, primes, &part[i], &none).into_ntt();
            sums.expose_mut().mul_add_assign(&part, &kernel);
        }
    }
    c1.mul_add_assign(a, &ring.forward_signed(all.reply.v.expose()));
    let mut c1 = Primes::row(&c1.into_coeff());
    primes.add_assign(&mut c1, &Primes::row(&Poly::from_i64(basis, all.reply.e1.expose())));
    let times_s = |row: &[u64]| {
        let mut x = Primes::transform(basis, row);
        x.mul_assign(s);
        let x: Poly<Coeff> = x.into_coeff();
        primes.lift_row(&Primes::pick(&x, outputs.positions())).collect::<Vec<_>>()
    };
    // What dropping adds: the middle of what is lost, less what was there.
    let [d0, d1] = params.literal().drop_bits;
    let added = |x: u128, d: u32| ((x >> d << d) + ((1u128 << d) >> 1)) as i128 - x as i128;
    let of_c1: Vec<i128> = primes.lift_row(&c1).map(|x| added(x, d1)).collect();
    let dropped1 = times_s(&Primes::row(&Poly::from_i128(basis, &of_c1)));
    let c1s = times_s(&c1);

    let exact_y: Vec<u64> = sources.y.iter().zip(all.bias).map(|(y, &b)| y.wrapping_add(b)).collect();
    let mut encodings = Secret::new(Primes::pick(
        &std::mem::replace(sums.expose_mut(), Poly::zero(basis)).into_coeff(),
        outputs.positions(),
    ));
    primes.add_assign(encodings.expose_mut(), &primes.encode(k, all.bias));
    let encoded_y = primes.encode(k, &exact_y);
    let q = primes.q();
    let server = all.reply.share();
    let out = (0..outputs.len()).map(|i| {
        let half = outputs.len();
        let at = |row: &[u64]| primes.lift([row[i], row[half + i]]);
        let (r, ideal) = (at(all.reply.r.expose()), at(&encoded_y));
        let encoding = primes.centre((at(encodings.expose()) + q - ideal) % q);
        let (products, zero) = (sources.products[i], sources.zero[i]);
        let noise = i128::from(products) + i128::from(zero) + encoding;
        let on = |x: u128, e: i128| (x as i128 + e).rem_euclid(q as i128) as u128;
        let clean = on(ideal, noise);
        let c0 = (clean + q - c1s[i] + r) % q;
        let (dropped0, dropped1) = (added(c0, d0), primes.centre(dropped1[i]));
        let exact = on(clean, dropped0 + dropped1);
        let phase = (exact + r) % q;
        let client = primes.high(phase, params.share_bits());
        let server = server.expose()[i];
        let floor = primes.high(exact, params.share_bits());
        let round = client.wrapping_add(server).wrapping_sub(floor) & mask(params.share_bits());
        let y = super::ring::centre(exact_y[i], k);
        Lane { y, products, zero, encoding, dropped0, dropped1, exact, phase, client, server, round }
    });
    Ok(out.collect())
}
