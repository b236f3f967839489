//! The transform against evaluation and schoolbook products in integers.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as such")]

mod known;

use oblivia_base::Prg;
use oblivia_ring::{
    Basis, Coeff, Modulus, NttTable, Poly, RingError, RingKind, RingShape, kernel, prime_below, primes_below,
};
use rand_core::Rng;

const KINDS: [RingKind; 2] = [RingKind::Standard, RingKind::ConjugateInvariant];

fn table(kind: RingKind, log_n: u32, bits: u32) -> NttTable {
    let shape = RingShape::new(kind, log_n).unwrap();
    let q = prime_below(bits, shape.order(), &[]).unwrap();
    NttTable::new(shape, Modulus::new(q).unwrap()).unwrap()
}

fn random_row(m: &Modulus, n: usize, label: &[u8]) -> Vec<u64> {
    let mut rng = Prg::new(&[7; 32], "ring tests", &[label, &m.value().to_le_bytes()]);
    (0..n).map(|_| m.reduce_u64(rng.next_u64())).collect()
}

fn mul(a: u64, b: u64, q: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(q)) as u64
}

fn pow(a: u64, e: u64, q: u64) -> u64 {
    (0..64).rev().fold(1, |r, bit| {
        let r = mul(r, r, q);
        if e >> bit & 1 == 1 { mul(r, a, q) } else { r }
    })
}

/// The element as coefficients in Z[X]/(X^N + 1): N = n, or 2n for the conjugate-invariant ring.
fn embed(kind: RingKind, a: &[u64], q: u64) -> Vec<u64> {
    match kind {
        RingKind::Standard => a.to_vec(),
        RingKind::ConjugateInvariant => {
            let mut wide = a.to_vec();
            wide.push(0);
            wide.extend(a[1..].iter().rev().map(|&x| (q - x) % q));
            wide
        }
    }
}

fn negacyclic_product(a: &[u64], b: &[u64], q: u64) -> Vec<u64> {
    let n = a.len();
    let mut out = vec![0; n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let p = mul(x, y, q);
            let k = (i + j) % n;
            out[k] = if i + j < n { (out[k] + p) % q } else { (out[k] + q - p) % q };
        }
    }
    out
}

#[test]
fn the_transform_evaluates_at_the_stated_roots_in_the_stated_order() {
    for kind in KINDS {
        for log_n in [3, 4, 5, 6] {
            for bits in [20, 26, 33, 50] {
                let t = table(kind, log_n, bits);
                let (q, n) = (t.modulus().value(), t.n());
                let order = t.shape().order();
                assert_eq!(pow(t.psi(), order / 2, q), q - 1);
                let a = random_row(t.modulus(), n, b"evaluate");
                let wide = embed(kind, &a, q);
                let mut values = a.clone();
                t.forward(&mut values);
                for (i, &value) in values.iter().enumerate() {
                    let x = pow(t.psi(), t.shape().exponent(i), q);
                    let expected = wide
                        .iter()
                        .enumerate()
                        .fold(0, |s, (k, &c)| (s + mul(c, pow(x, k as u64, q), q)) % q);
                    assert_eq!(value, expected, "{kind:?} n {n} q {q} output {i}");
                    assert_eq!(t.shape().index_of_exponent(t.shape().exponent(i)), Some(i));
                }
                t.inverse(&mut values);
                assert_eq!(values, a);
            }
        }
    }
}

#[test]
fn transforms_equal_answers_computed_with_python_integers() {
    for &(kind, log_n, q, psi, values) in known::TRANSFORMS {
        let t = NttTable::new(RingShape::new(kind, log_n).unwrap(), Modulus::new(q).unwrap()).unwrap();
        assert_eq!(t.psi(), psi);
        let input: Vec<u64> = (0..t.n() as u128)
            .map(|i| ((i * i * 2_654_435_761 + 12_345 * i + 7) % u128::from(q)) as u64)
            .collect();
        let mut row = input.clone();
        t.forward(&mut row);
        for &(i, value) in values {
            assert_eq!(row[i], value, "{kind:?} log n {log_n} q {q} output {i}");
        }
        t.inverse(&mut row);
        assert_eq!(row, input);
    }
}

#[test]
fn pointwise_products_are_ring_products() {
    for kind in KINDS {
        for log_n in [4, 5, 6] {
            let t = table(kind, log_n, 50);
            let (m, q, n) = (*t.modulus(), t.modulus().value(), t.n());
            let (mut a, mut b) = (random_row(&m, n, b"a"), random_row(&m, n, b"b"));
            let wide = negacyclic_product(&embed(kind, &a, q), &embed(kind, &b, q), q);
            t.forward(&mut a);
            t.forward(&mut b);
            kernel::mul_assign(&m, &mut a, &b);
            t.inverse(&mut a);
            assert_eq!(embed(kind, &a, q), wide, "{kind:?} n {n}");
        }
    }
}

#[test]
fn the_largest_residues_survive_a_round_trip_in_every_supported_size() {
    for kind in KINDS {
        for log_n in 3..=17 {
            for bits in [26, 50] {
                let t = table(kind, log_n, bits);
                for row in [vec![t.modulus().value() - 1; t.n()], random_row(t.modulus(), t.n(), b"trip")] {
                    let mut copy = row.clone();
                    t.forward(&mut copy);
                    assert!(copy.iter().all(|&x| x < t.modulus().value()));
                    assert_ne!(copy, row);
                    t.inverse(&mut copy);
                    assert_eq!(copy, row, "{kind:?} log n {log_n} bits {bits}");
                }
            }
        }
    }
}

/// X → X^g on coefficients of Z[X]/(X^N + 1).
fn substitute(wide: &[u64], g: u64, q: u64) -> Vec<u64> {
    let n = wide.len() as u64;
    let mut out = vec![0; wide.len()];
    for (k, &c) in wide.iter().enumerate() {
        let e = k as u64 * g % (2 * n);
        out[(e % n) as usize] = if e < n { c } else { (q - c) % q };
    }
    out
}

#[test]
fn automorphisms_gather_and_do_not_scatter() {
    for kind in KINDS {
        let t = table(kind, 5, 33);
        let shape = t.shape();
        let (q, n) = (t.modulus().value(), t.n());
        let basis = Basis::new(shape, &[q]).unwrap();
        let elements = match kind {
            // 5 is no involution: a scatter would apply its inverse.
            RingKind::Standard => vec![1, 3, 5, 25, shape.order() - 1],
            RingKind::ConjugateInvariant => vec![1, 5, 25, 13],
        };
        for g in elements {
            let perm = shape.automorphism(g).unwrap();
            let a = random_row(t.modulus(), n, b"automorphism");
            let image = substitute(&embed(kind, &a, q), g, q);
            let mut p = Poly::<Coeff>::zero(&basis);
            p.row_mut(0).copy_from_slice(&a);
            let p = p.into_ntt();
            let mut moved = Poly::zero(&basis);
            p.permute_into(&perm, &mut moved);
            assert_eq!(embed(kind, moved.into_coeff().row(0), q), image, "{kind:?} g {g}");

            let back = shape.automorphism(shape.galois_inverse(g).unwrap()).unwrap();
            let (mut there, mut again) = (Poly::zero(&basis), Poly::zero(&basis));
            p.permute_into(&perm, &mut there);
            there.permute_into(&back, &mut again);
            assert_eq!(again, p);
        }
        assert!(matches!(shape.automorphism(2), Err(RingError::Galois { .. })));
        assert!(matches!(shape.automorphism(shape.order() + 1), Err(RingError::Galois { .. })));
    }
    let ci = RingShape::new(RingKind::ConjugateInvariant, 5).unwrap();
    assert!(ci.automorphism(3).is_err() && ci.conjugation().is_none());
}

#[test]
fn rotation_by_r_moves_slot_j_plus_r_to_slot_j() {
    for kind in KINDS {
        let shape = RingShape::new(kind, 6).unwrap();
        let slots = shape.slots();
        let row: Vec<u64> = (0..shape.n() as u64).collect();
        for r in [0i64, 1, 3, slots as i64 - 1, -1] {
            let perm = shape.automorphism(shape.rotation(r)).unwrap();
            let mut out = vec![0; row.len()];
            kernel::gather_into(&perm, &row, &mut out);
            for j in 0..slots {
                let from = (j as i64 + r).rem_euclid(slots as i64) as usize;
                assert_eq!(out[shape.index_of_slot(j)], row[shape.index_of_slot(from)]);
            }
        }
        let mut power = 1;
        for j in 0..slots {
            assert_eq!(
                shape.exponent(shape.index_of_slot(j)),
                power,
                "slot {j} is the value at exponent 5^j"
            );
            power = power * 5 % shape.order();
        }
        let distinct: std::collections::BTreeSet<usize> =
            (0..slots).map(|j| shape.index_of_slot(j)).collect();
        assert_eq!(distinct.len(), slots);
    }
}

#[test]
fn primes_follow_the_rule_and_repeat_nowhere() {
    let bits: Vec<u32> = known::PRIMES.iter().map(|p| p.0).collect();
    let expected: Vec<u64> = known::PRIMES.iter().map(|p| p.1).collect();
    assert_eq!(primes_below(&bits, 32768, &[]).unwrap(), expected);
    assert_eq!(primes_below(&bits[3..], 32768, &expected[..3]).unwrap(), expected[3..]);
    // 12289 is the only one: 8193 = 3·2731.
    assert_eq!(prime_below(14, 4096, &[]), Ok(12289));
    assert_eq!(prime_below(14, 4096, &[12289]), Err(RingError::NoPrime { bits: 14, step: 4096 }));
    assert!(prime_below(51, 4096, &[]).is_err());
    assert!(prime_below(20, 0, &[]).is_err());
    assert!(prime_below(20, 1 << 40, &[]).is_err());
}
