//! Residue arithmetic, deferred sums and base changes against 128-bit integers, at the ends of every range.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as such")]

use oblivia_base::Prg;
use oblivia_ring::kernel::{self, CentredTerm};
use oblivia_ring::{
    Accumulator, Basis, Coeff, Modulus, Ntt, Poly, RingError, RingKind, RingShape, Shoup, is_prime,
    prime_below,
};
use rand_core::Rng;
use zeroize::Zeroize;

fn moduli() -> Vec<Modulus> {
    let mut primes = vec![3, 5, 17, 65537];
    for bits in [20, 26, 33, 36, 43, 45, 47, 48, 49, 50] {
        primes.push(prime_below(bits, 2, &[]).unwrap());
        primes.push(prime_below(bits, 1 << 14, &[]).unwrap());
    }
    primes.push(562_949_953_421_381); // the first above 2^49
    primes.into_iter().map(|q| Modulus::new(q).unwrap()).collect()
}

fn rng(label: &[u8]) -> Prg {
    Prg::new(&[9; 32], "ring arithmetic tests", &[label])
}

/// Ends of the range and random values.
fn samples(m: &Modulus, rng: &mut Prg) -> Vec<u64> {
    let q = m.value();
    let mut v = vec![0, 1, 2 % q, q / 2, q / 2 + 1, q - 2, q - 1];
    v.extend((0..20).map(|_| rng.next_u64() % q));
    v
}

#[test]
fn only_odd_primes_below_two_to_the_fifty_are_moduli() {
    for q in [0, 1, 2, 4, 9, 15, 561, 3_215_031_751, 1 << 50, (1 << 50) + 55, u64::MAX] {
        assert_eq!(Modulus::new(q), Err(RingError::Modulus { q }));
    }
    // 2^50 + 55 is prime and one bit too long; 2^50 − 27 is the largest that will do.
    assert!(is_prime((1 << 50) + 55));
    assert_eq!(prime_below(50, 2, &[]), Ok((1 << 50) - 27));
    let sieve = |x: u64| x > 1 && (2..x).take_while(|d| d * d <= x).all(|d| !x.is_multiple_of(d));
    assert!((0..20_000).all(|x| is_prime(x) == sieve(x)));
    // Strong pseudoprimes to the first 4, 8 and 11 prime bases, and the largest 64-bit prime.
    for composite in [3_215_031_751, 341_550_071_728_321, 3_825_123_056_546_413_051] {
        assert!(!is_prime(composite));
    }
    assert!(is_prime(18_446_744_073_709_551_557));
}

#[test]
fn residue_arithmetic_equals_integer_arithmetic() {
    let mut rng = rng(b"residues");
    for m in moduli() {
        let q = m.value();
        let values = samples(&m, &mut rng);
        for &a in &values {
            assert_eq!(m.neg(a), (q - a) % q);
            assert_eq!(i128::from(m.centre(a)).rem_euclid(i128::from(q)), i128::from(a));
            assert!(m.centre(a).unsigned_abs() <= q / 2);
            match m.inv(a) {
                Some(inverse) => assert_eq!(m.mul(a, inverse), 1),
                None => assert_eq!(a, 0),
            }
            let w = m.shoup(a);
            assert_eq!(w.value(), a);
            for &b in &values {
                assert_eq!(m.add(a, b), (a + b) % q);
                assert_eq!(m.sub(a, b), (a + q - b) % q);
                let product = (u128::from(a) * u128::from(b) % u128::from(q)) as u64;
                assert_eq!(m.mul(a, b), product);
                assert_eq!(m.mul_shoup(b, w), product);
            }
            for x in [(1 << 52) - 1, (1 << 52) - 2, 4 * q - 1, rng.next_u64() >> 12] {
                assert_eq!(m.mul_shoup(x, w), (u128::from(x) * u128::from(a) % u128::from(q)) as u64);
            }
        }
        assert_eq!(m.pow(2 % q, 100), (0..100).fold(1, |r, _| r * 2 % q));
    }
}

#[test]
fn integers_of_any_size_and_sign_are_reduced() {
    let mut rng = rng(b"reduce");
    for m in moduli() {
        let q = i128::from(m.value());
        let mut small = vec![0, 1, -1, i64::MAX, i64::MIN, i64::MIN + 1];
        small.extend((0..50).map(|_| rng.next_u64() as i64));
        for x in small {
            assert_eq!(i128::from(m.reduce_i64(x)), i128::from(x).rem_euclid(q));
            assert_eq!(m.reduce_u64(x as u64), x as u64 % m.value());
        }
        let mut large = vec![0, 1, -1, i128::MAX, i128::MIN, i128::MIN + 1, 1 << 104, -(1 << 104), 1 << 52];
        large.extend((0..50).map(|_| (i128::from(rng.next_u64()) << 64) | i128::from(rng.next_u64())));
        for x in large {
            assert_eq!(i128::from(m.reduce_i128(x)), x.rem_euclid(q), "{x} mod {q}");
            assert_eq!(u128::from(m.reduce_u128(x as u128)), x as u128 % m.value() as u128);
        }
    }
}

#[test]
fn deferred_sums_hold_their_stated_number_of_the_largest_terms() {
    for m in moduli() {
        let (q, terms) = (m.value(), m.mac_terms());
        assert!((16..=4096).contains(&terms));
        // The stated bound on the two words, and that it is the largest such number below 4096.
        let h = ((u128::from(q) * u128::from(q)) >> 52) as u64;
        assert!(u128::from(terms) * u128::from(h + 1) <= 1 << 52);
        assert!(terms == 4096 || u128::from(terms + 1) * u128::from(h + 1) > 1 << 52);

        let a = [q - 1; 8];
        let (mut lo, mut hi) = ([u64::MAX; 8], [u64::MAX; 8]);
        kernel::mac_first(&mut lo, &mut hi, &a, &a);
        for _ in 1..terms {
            kernel::mac(&mut lo, &mut hi, &a, &a);
        }
        let mut out = [0; 8];
        kernel::mac_reduce_into(&m, &lo, &hi, &mut out);
        assert_eq!(out, [u64::from(terms) % q; 8]); // (−1)² terms times
        kernel::mac_fold(&m, &mut lo, &mut hi);
        assert_eq!((lo, hi), (out, [0; 8]));
    }
}

#[test]
fn the_capacity_of_deferred_sums_is_the_published_one() {
    let at = |bits: u32| Modulus::new(prime_below(bits, 2, &[]).unwrap()).unwrap().mac_terms();
    assert_eq!((at(45), at(47), at(48), at(50)), (4096, 1024, 256, 16));
}

#[test]
fn dot_products_of_any_length_equal_integer_sums() {
    let mut rng = rng(b"dot");
    for m in moduli() {
        let q = m.value();
        let n = 72;
        for count in [0usize, 1, 2, 15, 16, 17, 33, 300] {
            let rows: Vec<Vec<u64>> = (0..2 * count)
                .map(|k| {
                    (0..n)
                        .map(|_| if k % 3 == 0 || count > 100 { q - 1 } else { rng.next_u64() % q })
                        .collect()
                })
                .collect();
            let pairs: Vec<(&[u64], &[u64])> = rows.chunks(2).map(|p| (&p[0][..], &p[1][..])).collect();
            let mut out = vec![7; n];
            kernel::dot_into(&m, &pairs, &mut out);
            let mut sum = vec![0; n];
            for (a, b) in &pairs {
                kernel::mul_add_assign(&m, &mut sum, a, b);
            }
            assert_eq!(out, sum);
            for (j, &o) in out.iter().enumerate() {
                let exact: u128 =
                    pairs.iter().map(|(a, b)| u128::from(a[j]) * u128::from(b[j]) % u128::from(q)).sum();
                assert_eq!(u128::from(o), exact % u128::from(q));
            }
        }
    }
}

#[test]
fn centred_rows_change_modulus_by_a_true_reduction() {
    let mut rng = rng(b"centred");
    for from in moduli() {
        let row = samples(&from, &mut rng);
        for to in moduli() {
            let q = i128::from(to.value());
            let centred = |x: u64| {
                let (x, p) = (i128::from(x), i128::from(from.value()));
                if 2 * x > p { x - p } else { x }
            };
            let mut out = vec![0; row.len()];
            kernel::reduce_centred_into(&from, &to, &row, &mut out);
            for (&x, &o) in row.iter().zip(&out) {
                assert_eq!(i128::from(o), centred(x).rem_euclid(q));
            }
            let factors = [to.value() - 1, 2 % to.value(), to.value() / 2];
            let terms: Vec<CentredTerm<'_>> = factors
                .iter()
                .map(|&f| CentredTerm { row: &row, modulus: &from, factor: to.shoup(f) })
                .collect();
            kernel::convert_centred_into(&to, &terms, &mut out);
            let sum = factors.iter().map(|&f| i128::from(f)).sum::<i128>() % q;
            for (&x, &o) in row.iter().zip(&out) {
                assert_eq!(i128::from(o), (centred(x) * sum).rem_euclid(q));
            }
        }
    }
}

fn basis(bits: &[u32]) -> Basis {
    let shape = RingShape::new(RingKind::ConjugateInvariant, 4).unwrap();
    let primes = oblivia_ring::primes_below(bits, shape.order(), &[]).unwrap();
    Basis::new(shape, &primes).unwrap()
}

fn random(basis: &Basis, label: &[u8]) -> Poly<Ntt> {
    let mut rng = rng(label);
    let mut p = Poly::zero(basis);
    for (m, row) in basis.moduli().zip(p.rows_mut()) {
        row.fill_with(|| m.reduce_u64(rng.next_u64()));
    }
    p
}

#[test]
fn row_kernels_do_what_their_names_say() {
    let mut rng = rng(b"rows");
    for m in moduli() {
        let (a, mut b) = (samples(&m, &mut rng), samples(&m, &mut rng));
        b.reverse();
        let c = m.shoup(rng.next_u64());
        let each =
            |f: &dyn Fn(u64, u64) -> u64| -> Vec<u64> { a.iter().zip(&b).map(|(&x, &y)| f(x, y)).collect() };
        type Assign = fn(&Modulus, &mut [u64], &[u64], Shoup);
        type Scalar<'a> = &'a dyn Fn(u64, u64) -> u64;
        let cases: [(Assign, Scalar<'_>); 9] = [
            (|m, a, b, _| kernel::add_assign(m, a, b), &|x, y| m.add(x, y)),
            (|m, a, b, _| kernel::sub_assign(m, a, b), &|x, y| m.sub(x, y)),
            (|m, a, b, _| kernel::mul_assign(m, a, b), &|x, y| m.mul(x, y)),
            (|m, a, _, _| kernel::neg_assign(m, a), &|x, _| m.neg(x)),
            (|m, a, _, c| kernel::scale_assign(m, a, c), &|x, _| m.mul(x, c.value())),
            (|m, a, b, c| kernel::scale_add_assign(m, a, b, c), &|x, y| m.add(x, m.mul(y, c.value()))),
            (|m, a, b, c| kernel::sub_scale_into(m, &Vec::from(&*a), b, c, None, a), &|x, y| {
                m.mul(m.sub(x, y), c.value())
            }),
            (|m, a, b, c| kernel::sub_scale_into(m, &Vec::from(&*a), b, c, Some(b), a), &|x, y| {
                m.add(m.mul(m.sub(x, y), c.value()), y)
            }),
            (|m, a, b, _| kernel::mul_add_assign(m, a, b, b), &|x, y| m.add(x, m.mul(y, y))),
        ];
        for (k, (assign, scalar)) in cases.iter().enumerate() {
            let mut row = a.clone();
            assign(&m, &mut row, &b, c);
            assert_eq!(row, each(*scalar), "case {k}");
        }
        let mut out = vec![0; a.len()];
        kernel::add_into(&m, &a, &b, &mut out);
        assert_eq!(out, each(&|x, y| m.add(x, y)));
        kernel::sub_into(&m, &a, &b, &mut out);
        assert_eq!(out, each(&|x, y| m.sub(x, y)));
        kernel::mul_into(&m, &a, &b, &mut out);
        assert_eq!(out, each(&|x, y| m.mul(x, y)));
        kernel::scale_into(&m, &a, c, &mut out);
        assert_eq!(out, each(&|x, _| m.mul(x, c.value())));
    }
}

#[test]
fn polynomials_add_subtract_negate_scale_and_multiply() {
    let basis = basis(&[34, 26, 50]);
    let (a, b) = (random(&basis, b"a"), random(&basis, b"b"));
    let (mut sum, mut product) = (Poly::zero(&basis), Poly::zero(&basis));
    a.add_into(&b, &mut sum);
    a.mul_into(&b, &mut product);
    let mut c = a.clone();
    c.mul_assign(&b);
    assert_eq!(c, product);
    c.mul_add_assign(&a, &b);
    let mut twice = product.clone();
    twice.mul_scalar_assign(&basis.scalar(2));
    assert_eq!(c, twice);
    let mut d = sum.clone();
    d.sub_assign(&b);
    assert_eq!(d, a);
    sum.sub_into(&a, &mut d);
    assert_eq!(d, b);
    d.neg_assign();
    d.add_assign(&b);
    assert_eq!(d, Poly::zero(&basis));
    let mut e = a.clone();
    e.mul_scalar_assign(&basis.scalar(-1));
    e.add_assign(&a);
    assert_eq!(e, d);
}

#[test]
fn sums_of_products_of_polynomials_equal_repeated_additions() {
    let basis = basis(&[34, 26, 50]);
    let p: Vec<_> = (0..6u8).map(|k| random(&basis, &[k])).collect();
    let (mut a, mut b) = (Poly::zero(&basis), Poly::zero(&basis));
    for k in 0..2 {
        a.mul_add_assign(&p[k], &p[k + 4]);
        b.mul_add_assign(&p[k + 2], &p[k + 4]);
    }
    let (mut x, mut y) = (random(&basis, b"dirt"), random(&basis, b"dirt"));
    x.set_dot2(&mut y, &[(&p[0], &p[2], &p[4]), (&p[1], &p[3], &p[5])]);
    assert_eq!((x, y), (a, b));
}

#[test]
fn accumulators_count_their_terms_and_restart_after_clearing() {
    let basis = basis(&[50, 26, 48]);
    let (mut a, b) = (Poly::<Ntt>::zero(&basis), random(&basis, b"b"));
    for (m, row) in basis.moduli().zip(a.rows_mut()) {
        row.fill(m.value() - 1);
    }
    let (mut expected, mut out) = (Poly::zero(&basis), random(&basis, b"dirt"));
    let mut acc = Accumulator::new(&basis);
    acc.reduce_into(&mut out);
    assert_eq!(out, expected);
    for _ in 0..600 {
        acc.mac(&a, &a);
        expected.mul_add_assign(&a, &a);
    }
    acc.reduce_into(&mut out);
    assert_eq!(out, expected);
    acc.clear();
    acc.mac(&a, &b);
    acc.reduce_into(&mut out);
    a.mul_into(&b, &mut expected);
    assert_eq!(out, expected);

    let fewer = basis.prefix(1);
    acc.reset(&fewer);
    let mut out = Poly::zero(&fewer);
    acc.row_mut(0).mac(a.row(0), b.row(0));
    acc.reduce_into(&mut out);
    assert_eq!(out.row(0), expected.row(0));
}

#[test]
fn bases_split_and_join_and_find_their_rows_in_larger_ones() {
    let all = basis(&[34, 26, 33, 39]);
    let (q, p) = (all.prefix(3), all.slice(3..4));
    assert_eq!(q.concat(&p).unwrap(), all);
    let level = q.prefix(2).concat(&p).unwrap();
    assert_eq!(level.positions_in(&all), Some(vec![0, 1, 3]));
    assert_eq!(all.positions_in(&level), None);
    assert!(matches!(q.concat(&all), Err(RingError::Repeated { .. })));
    let other = RingShape::new(RingKind::Standard, 4).unwrap();
    let primes: Vec<u64> = all.moduli().map(Modulus::value).collect();
    let other = Basis::new(other, &primes[3..]).unwrap();
    assert_eq!(q.concat(&other), Err(RingError::ShapeMismatch));
    assert_ne!(other, p);
    assert_eq!(p.product_mod(q.modulus(1)), p.modulus(0).value() % q.modulus(1).value());
}

#[test]
fn signed_coefficients_lift_back_to_themselves() {
    let basis = basis(&[34, 26, 33]);
    let bound = basis.moduli().map(|m| i128::from(m.value())).product::<i128>() / 2;
    let mut coefficients: Vec<i128> = (0..12).map(|k| (k - 6) * (bound / 7)).collect();
    coefficients.extend([bound, -bound, bound - 1, -1]);
    let p = Poly::<Coeff>::from_i128(&basis, &coefficients);
    let mut lifted = vec![0; 16];
    p.clone().into_ntt().into_coeff().lift_centred_i128(&mut lifted).unwrap();
    assert_eq!(lifted, coefficients);

    let small: Vec<i64> = (0..16).map(|k| (k - 8) * 1_000_003).collect();
    Poly::from_i64(&basis, &small).lift_centred_i128(&mut lifted).unwrap();
    assert!(lifted.iter().zip(&small).all(|(&a, &b)| a == i128::from(b)));

    let wide = self::basis(&[50, 50, 26]);
    let p = Poly::<Coeff>::zero(&wide);
    assert!(wide.log_product() < 126.0 && p.lift_centred_i128(&mut lifted).is_ok());
    let wider = self::basis(&[50, 50, 27]);
    let p = Poly::<Coeff>::zero(&wider);
    assert_eq!(p.lift_centred_i128(&mut lifted), Err(RingError::TooWide { limbs: 3 }));
}

#[test]
fn rows_are_aligned_and_zeroising_wipes_forgotten_limbs_too() {
    let basis = basis(&[34, 26, 33]);
    let mut p = random(&basis, b"aligned");
    let copy = p.clone();
    for row in p.rows().chain(copy.rows()) {
        assert_eq!(row.as_ptr() as usize % 64, 0);
        assert!(row.iter().any(|&x| x != 0));
    }
    p.keep_limbs(1);
    assert_eq!((p.limbs(), p.basis()), (1, &basis.prefix(1)));
    p.zeroize();
    p.reset(&basis);
    assert_eq!(p, Poly::zero(&basis));
    assert!(!format!("{copy:?}").contains(&copy.row(0)[3].to_string()));
}
