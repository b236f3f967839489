//! Key switching, division by P and rescale against big-integer arithmetic, bit for bit.

use super::*;
use crate::secret_key::SecretKey;
use crate::{Moduli, ParamsLiteral};
use oblivia_base::Secret;
use oblivia_ring::{Basis, RingKind};
use serde::Deserialize;

#[derive(Deserialize)]
struct Key {
    b: Vec<Vec<u64>>,
    a: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct Case {
    ring: String,
    n: usize,
    q: Vec<u64>,
    p: Vec<u64>,
    alpha: usize,
    level: usize,
    s_from: Vec<i64>,
    s_to: Vec<i64>,
    keys: Vec<Key>,
    input: Vec<Vec<u64>>,
    output0: Vec<Vec<u64>>,
    output1: Vec<Vec<u64>>,
    error: Vec<i64>,
}

fn params(kind: RingKind, n: usize, q: &[u64], p: &[u64], alpha: usize) -> Params {
    Params::insecure_unchecked(&ParamsLiteral {
        kind,
        log_n: n.ilog2(),
        q: Moduli::Primes(q.to_vec()),
        p: Moduli::Primes(p.to_vec()),
        alpha,
        levels: Vec::new(),
    })
    .unwrap()
}

/// Coefficient rows to transformed ones.
pub(crate) fn ntt(basis: &Basis, rows: &[Vec<u64>]) -> Poly<Ntt> {
    let mut p = Poly::<Coeff>::zero(basis);
    assert_eq!(rows.len(), basis.limbs());
    for (to, from) in p.rows_mut().zip(rows) {
        to.copy_from_slice(from);
    }
    p.into_ntt()
}

pub(crate) fn coefficients(p: Poly<Ntt>) -> Vec<Vec<u64>> {
    p.into_coeff().rows().map(<[u64]>::to_vec).collect()
}

#[test]
fn key_switching_equals_big_integers_bit_for_bit() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/vectors/key_switch.json")).unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let kind = match case.ring.as_str() {
            "standard" => RingKind::Standard,
            "conjugate-invariant" => RingKind::ConjugateInvariant,
            other => panic!("unknown ring {other}"),
        };
        let params = params(kind, case.n, &case.q, &case.p, case.alpha);
        let top = params.top();
        let qp = &top.qp;
        let digits: Vec<_> = case.keys.iter().map(|k| (ntt(qp, &k.b), ntt(qp, &k.a))).collect();
        let key = SwitchingKey::of_digits(params.max_level(), top.limbs(), &digits);
        let level = params.level_data(case.level);
        let q = &level.q;
        let c = ntt(q, &case.input);
        let (mut scratch, count) = (Scratch::new(&params), AtomicU64::new(0));

        let down = |scratch: &mut Scratch| {
            let mut outs = [Poly::<Ntt>::zero(q), Poly::<Ntt>::zero(q)];
            scratch.divide(&params, By::P(case.level), &count, |half, i, quotient| {
                quotient.write(None, outs[half].row_mut(i))
            });
            outs
        };
        scratch.inner_product(level, &c, &key, &count);
        let [o0, o1] = down(&mut scratch);
        assert_eq!(coefficients(o0.clone()), case.output0);
        assert_eq!(coefficients(o1.clone()), case.output1);

        // The hoisted path gives the same bits.
        let digits = Digits::new(&params, level, &c, &mut scratch, &count);
        scratch.inner_product_hoisted(level, &digits, &c, &key);
        let [h0, h1] = down(&mut scratch);
        assert_eq!((&h0, &h1), (&o0, &o1));

        // The rounding predicted from the integers is the whole error.
        let key_of = |s: &[i64]| SecretKey::of_coefficients(&params, &Secret::new(s.to_vec()));
        let (from, to) = (key_of(&case.s_from), key_of(&case.s_to));
        let times = |x: &Poly<Ntt>, s: &SecretKey| {
            let mut y = s.expose().clone();
            y.keep_limbs(case.level);
            y.mul_assign(x);
            y
        };
        let mut left = o0;
        left.add_assign(&times(&o1, &to));
        left.sub_assign(&times(&c, &from));
        assert_eq!(left.into_coeff(), Poly::from_i64(q, &case.error));
    }
}

#[derive(Deserialize)]
struct Down {
    what: String,
    keep: Vec<u64>,
    drop: Vec<u64>,
    input: Vec<Vec<u64>>,
    output: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct Rns {
    n: usize,
    p: Vec<u64>,
    mod_down: Vec<Down>,
}

#[test]
fn rescale_and_division_by_p_equal_big_integers_bit_for_bit() {
    let rns: Rns = serde_json::from_str(include_str!("../../../ring/tests/vectors/rns.json")).unwrap();
    let mut paths = [0; 3];
    for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
        for case in &rns.mod_down {
            let of_p = case.drop.iter().filter(|d| rns.p.contains(d)).count();
            let all = [case.keep.as_slice(), &case.drop].concat();
            let count = AtomicU64::new(0);
            let found = if of_p == 0 && case.drop.len() == 1 {
                // A rescale; the special prime plays no part.
                let params = params(kind, rns.n, &all, &rns.p[..1], 1);
                let c = ntt(&params.level_data(all.len()).q, &case.input);
                let mut out = Poly::<Ntt>::zero(&params.level_data(case.keep.len()).q);
                let by = By::Last(all.len(), params.top().rescale.as_ref().unwrap());
                let copy = |_, i: usize, quotient: Quotient<'_>| quotient.write(None, out.row_mut(i));
                Scratch::new(&params).divide_of(&params, by, [&c], &count, copy);
                paths[0] += 1;
                out
            } else {
                // Division by P, or by P and the last prime at once.
                let merged = case.drop.len() > of_p;
                assert!(case.drop.len() - of_p <= 1 && of_p > 0, "{}", case.what);
                let (q, p) = all.split_at(all.len() - of_p);
                let params = params(kind, rns.n, q, p, 1);
                let c = ntt(&params.level_data(q.len()).qp, &case.input);
                let mut scratch = Scratch::new(&params);
                let mut out = Poly::<Ntt>::zero(&params.level_data(case.keep.len()).q);
                let by = match merged {
                    true => By::PAndLast(q.len(), params.top().by_p_and_last.as_ref().unwrap()),
                    false => By::P(q.len()),
                };
                scratch.divide_of(&params, by, [&c], &count, |_, i, quotient| {
                    quotient.write(None, out.row_mut(i));
                });
                // The accumulator, beside another half, gives the same bits.
                let mut halves = [out.clone(), Poly::<Ntt>::zero(out.basis())];
                scratch.acc.iter_mut().for_each(|acc| acc.reset(c.basis()));
                scratch.acc[0].copy_from(&Poly::zero(c.basis()));
                scratch.acc[1].copy_from(&c);
                scratch.divide(&params, by, &AtomicU64::new(0), |half, i, quotient| {
                    quotient.write(None, halves[half].row_mut(i));
                });
                assert_eq!(halves, [Poly::zero(out.basis()), out.clone()]);
                paths[1 + usize::from(merged)] += 1;
                out
            };
            assert_eq!(coefficients(found), case.output, "{}", case.what);
            assert_eq!(count.into_inner(), all.len() as u64);
        }
    }
    assert!(paths.iter().all(|&p| p > 0), "{paths:?}");
}
