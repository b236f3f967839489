//! Every path of the machine gives the bits of the portable one.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions marked as such")]

use oblivia_base::Prg;
use oblivia_ring::kernel::{self, CentredTerm, ConstantMatrix, Onto, Path};
use oblivia_ring::{Basis, Modulus, Ntt, NttTable, PackedPolys, RingKind, RingShape, prime_below, sample};
use rand_core::Rng;
use std::sync::Mutex;

/// The path belongs to the process, tests run side by side.
static PATH: Mutex<()> = Mutex::new(());

/// The results of `f` on every path but the portable one must equal those on the portable one.
fn same_on_all_paths<T: PartialEq + std::fmt::Debug>(what: &str, f: impl Fn() -> T) {
    let guard = PATH.lock();
    let chosen = Path::active();
    assert!(Path::Portable.select());
    let expected = f();
    for &path in Path::available() {
        assert!(path.select());
        assert_eq!(Path::active(), path);
        assert!(f() == expected, "{what} on {path:?}");
    }
    assert!(chosen.select());
    drop(guard);
}

fn modulus(bits: u32, step: u64) -> Modulus {
    Modulus::new(prime_below(bits, step, &[]).unwrap()).unwrap()
}

/// Random rows and rows at the ends of the range.
fn rows(m: &Modulus, n: usize) -> Vec<Vec<u64>> {
    let q = m.value();
    let mut rng = Prg::new(&[5; 32], "ring path tests", &[&q.to_le_bytes(), &n.to_le_bytes()]);
    let mut uniform = vec![0; n];
    sample::uniform_row(m, &mut rng, &mut uniform);
    let ends = [0, 1, q / 2, q / 2 + 1, q - 2, q - 1];
    let mixed = (0..n).map(|_| ends[rng.next_u64() as usize % ends.len()]).collect();
    let alternating = (0..n).map(|i| if i % 2 == 0 { q - 1 } else { 0 }).collect();
    vec![uniform, mixed, vec![q - 1; n], vec![0; n], alternating]
}

#[test]
fn transforms_agree_in_every_size_ring_and_range() {
    for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
        for log_n in 3..=17 {
            let shape = RingShape::new(kind, log_n).unwrap();
            // Around 2^46, where numbers stop growing through a whole transform, and at both ends.
            for bits in [26, 34, 39, 45, 46, 47, 48, 50] {
                let t = NttTable::new(shape, modulus(bits, shape.order())).unwrap();
                for (k, row) in rows(t.modulus(), t.n()).into_iter().enumerate() {
                    let transformed = |f: fn(&NttTable, &mut [u64])| {
                        let (t, row) = (&t, &row);
                        move || {
                            let mut row = row.clone();
                            f(t, &mut row);
                            row
                        }
                    };
                    let what = format!("{kind:?} log n {log_n}, {bits} bits, row {k}");
                    same_on_all_paths(&format!("forward {what}"), transformed(kernel::forward));
                    same_on_all_paths(&format!("inverse {what}"), transformed(kernel::inverse));
                    same_on_all_paths(&format!("inverse out of place, {what}"), || {
                        let (mut place, mut out) = (row.clone(), vec![7; row.len()]);
                        kernel::inverse(&t, &mut place);
                        kernel::inverse_into(&t, &row, &mut out);
                        assert_eq!(out, place);
                        out
                    });
                }
            }
        }
    }
}

#[test]
fn transforms_of_centred_rows_agree_between_all_sizes() {
    for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
        for log_n in 3..=15 {
            let shape = RingShape::new(kind, log_n).unwrap();
            let moduli = [26, 46, 47, 50].map(|bits| modulus(bits, shape.order()));
            for to in moduli {
                let t = NttTable::new(shape, to).unwrap();
                for from in moduli {
                    for (k, row) in rows(&from, t.n()).into_iter().enumerate() {
                        let (from_q, to_q) = (from.value(), to.value());
                        same_on_all_paths(
                            &format!("{kind:?} log n {log_n}, {from_q} to {to_q}, {k}"),
                            || {
                                let (mut once, mut twice) = (vec![7; t.n()], vec![7; t.n()]);
                                let ahead = [row[..].into(), row[..8].into()];
                                kernel::forward_centred_into(&from, &t, &row, &mut once, &ahead);
                                kernel::reduce_centred_into(&from, &to, &row, &mut twice);
                                kernel::forward(&t, &mut twice);
                                assert_eq!(once, twice);
                                once
                            },
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn row_operations_agree_on_every_length_and_range() {
    for m in [2, 3, 14, 26, 34, 45, 47, 48, 49, 50].map(|bits| modulus(bits, 2)) {
        let c = m.shoup(m.value() - 1);
        let d = m.shoup(m.value() / 3);
        for n in [0, 1, 7, 8, 9, 33, 64, 520] {
            let rows = rows(&m, n);
            for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))) {
                same_on_all_paths(&format!("q {} length {n}", m.value()), || {
                    let mut results = Vec::new();
                    let mut keep = |f: &dyn Fn(&mut [u64])| {
                        let mut out = a.clone();
                        f(&mut out);
                        results.push(out);
                    };
                    keep(&|o| kernel::add_assign(&m, o, b));
                    keep(&|o| kernel::add_into(&m, a, b, o));
                    keep(&|o| kernel::sub_assign(&m, o, b));
                    keep(&|o| kernel::sub_into(&m, a, b, o));
                    keep(&|o| kernel::neg_assign(&m, o));
                    keep(&|o| kernel::mul_assign(&m, o, b));
                    keep(&|o| kernel::mul_into(&m, a, b, o));
                    keep(&|o| kernel::mul_add_assign(&m, o, a, b));
                    for c in [c, d] {
                        keep(&|o| kernel::add_constant_assign(&m, o, c.value()));
                        keep(&|o| kernel::scale_assign(&m, o, c));
                        keep(&|o| kernel::scale_into(&m, b, c, o));
                        keep(&|o| kernel::scale_add_assign(&m, o, b, c));
                        keep(&|o| kernel::sub_scale_into(&m, a, b, c, None, o));
                        keep(&|o| kernel::sub_scale_into(&m, a, b, c, Some(a), o));
                    }
                    results
                });
            }
        }
    }
}

#[test]
fn sums_agree_up_to_the_last_term_they_hold() {
    for m in [3, 26, 34, 45, 48, 50].map(|bits| modulus(bits, 2)) {
        for n in [8, 13, 40, 72] {
            let rows = rows(&m, n);
            same_on_all_paths(&format!("sums, q {} length {n}", m.value()), || {
                let mut results = Vec::new();
                let (mut lo, mut hi, mut out) = (vec![9; n], vec![9; n], vec![9; n]);
                kernel::mac_first(&mut lo, &mut hi, &rows[2], &rows[2]);
                for k in 1..m.mac_terms() as usize {
                    kernel::mac(&mut lo, &mut hi, &rows[2 - k % 97 / 96], &rows[2]);
                }
                kernel::mac_reduce_into(&m, &lo, &hi, &mut out);
                results.push((lo.clone(), hi.clone(), out.clone()));
                kernel::mac_fold(&m, &mut lo, &mut hi);
                results.push((lo.clone(), hi.clone(), out.clone()));
                for count in [0, 1, 2, 6, 15, 16, 17, 31, 32, 100] {
                    let pairs: Vec<(&[u64], &[u64])> =
                        (0..count).map(|k| (&rows[2 - k % 7 / 6][..], &rows[2 - k % 2][..])).collect();
                    kernel::dot_into(&m, &pairs, &mut out);
                    results.push((lo.clone(), hi.clone(), out.clone()));
                    let triples: Vec<_> =
                        pairs.iter().enumerate().map(|(k, &(a, b))| (a, &rows[k % 4][..], b)).collect();
                    kernel::dot2_into(&m, &triples, &mut lo, &mut hi);
                    assert_eq!(lo, out);
                    let others: Vec<_> = triples.iter().map(|&(_, a, b)| (a, b)).collect();
                    kernel::dot_into(&m, &others, &mut out);
                    assert_eq!(hi, out);
                }
                results
            });
        }
    }
}

#[test]
fn packed_rows_give_their_residues_and_the_sums_of_plain_ones() {
    let mut widths = Vec::new();
    for bits in 2..=50 {
        for log_n in [3, 4, 6, 9] {
            let shape = RingShape::new(RingKind::Standard, log_n).unwrap();
            // Small primes serve small rings alone.
            let Ok(q) = prime_below(bits, shape.order(), &[]) else { continue };
            widths.push(bits);
            let basis = Basis::new(shape, &[q]).unwrap();
            let m = *basis.modulus(0);
            let rows = rows(&m, shape.n());
            same_on_all_paths(&format!("packed rows, q {q} length {}", shape.n()), || {
                let mut packed = PackedPolys::<Ntt>::zero(&basis, rows.len());
                for (k, row) in rows.iter().enumerate() {
                    packed.set_row(k, 0, row);
                }
                for (k, row) in rows.iter().enumerate() {
                    assert_eq!(packed.unpack(k).row(0), row);
                }
                let mut sums = Vec::new();
                for count in [0, 1, 2, 6, 15, 16, 17, 31, 32, 100] {
                    // Long sums are of largest terms.
                    let of = |k: usize| if count > 6 { 2 } else { [2, 2, 0, 1, 2, 4, 3][k % 7] };
                    let numbers = (0..count).map(|k| (of(k), of(k + 3), of(k + 1)));
                    let plain: Vec<_> =
                        numbers.clone().map(|(a, b, c)| (&rows[a][..], &rows[b][..], &rows[c][..])).collect();
                    let bits: Vec<_> =
                        numbers.map(|(a, b, c)| (packed.row(a, 0), packed.row(b, 0), &rows[c][..])).collect();
                    let mut outs = [(); 4].map(|_| vec![7; shape.n()]);
                    let [a, b, c, d] = &mut outs;
                    kernel::dot2_into(&m, &plain, a, b);
                    kernel::dot2_packed_into(&m, &bits, c, d);
                    assert_eq!((&a, &b), (&c, &d), "{count} terms, q {q} length {}", shape.n());
                    let by: Vec<_> = plain.iter().zip(&bits).map(|(&(a, _, c), t)| (a, c, t.1)).collect();
                    let plain: Vec<_> = plain.iter().map(|&(a, b, c)| (a, c, b)).collect();
                    let [a, b, c, d] = &mut outs;
                    kernel::dot2_into(&m, &plain, a, b);
                    kernel::dot2_by_packed_into(&m, &by, c, d);
                    assert_eq!((&a, &b), (&c, &d), "{count} terms by packed, q {q}");
                    sums.push(outs);
                }
                sums
            });
        }
    }
    widths.dedup();
    // There are 17, then 97 and 113.
    assert_eq!(widths, (5..=50).filter(|&b| b != 6).collect::<Vec<_>>());
}

/// Factors whose product fills a deferred sum fastest: those with the largest word above 52 bits, and those with the largest
/// word below, (2^26 − 1)(2^26 + 1) = 2^52 − 1.
fn filling_factors(m: &Modulus) -> Vec<(u64, u64)> {
    let q = m.value();
    let mut all = vec![(q - 1, q - 1)];
    if q > (1 << 26) + 1 {
        all.push(((1 << 26) - 1, (1 << 26) + 1));
    }
    all
}

#[test]
fn packed_sums_of_the_terms_that_fill_them_fastest_are_right_below_at_and_beyond_their_limit() {
    for bits in [26, 34, 40, 44, 45, 46, 47, 48, 49, 50] {
        let shape = RingShape::new(RingKind::Standard, 3).unwrap();
        let basis = Basis::new(shape, &[prime_below(bits, shape.order(), &[]).unwrap()]).unwrap();
        let (m, n) = (*basis.modulus(0), shape.n());
        let limit = m.mac_terms() as usize;
        for (a, c) in filling_factors(&m) {
            // The other sum is of other terms, so that neither passes for the other.
            let rows = [a, a - 1, c].map(|x| vec![x; n]);
            let mut packed = PackedPolys::<Ntt>::zero(&basis, 3);
            rows.iter().enumerate().for_each(|(k, row)| packed.set_row(k, 0, row));
            let [x, y, z] = [0, 1, 2].map(|k| packed.row(k, 0));
            for count in [limit - 1, limit, limit + 1, 2 * limit - 1, 2 * limit, 2 * limit + 1, 5 * limit] {
                let sum = |x: u64| {
                    let q = u128::from(m.value());
                    (count as u128 * (u128::from(x) * u128::from(c) % q) % q) as u64
                };
                let expected = [sum(a), sum(a - 1)].map(|sum| vec![sum; n]);
                same_on_all_paths(&format!("{count} terms, q {}", m.value()), || {
                    let mut outs = [(); 4].map(|_| vec![7; n]);
                    let [of, of_other, by, by_other] = &mut outs;
                    kernel::dot2_packed_into(&m, &vec![(x, y, &rows[2][..]); count], of, of_other);
                    let plain = (&rows[0][..], &rows[1][..], z);
                    kernel::dot2_by_packed_into(&m, &vec![plain; count], by, by_other);
                    assert_eq!(outs[..2], expected, "{count} terms of packed rows, {bits} bits");
                    assert_eq!(outs[2..], expected, "{count} terms by packed rows, {bits} bits");
                    outs
                });
            }
        }
    }
}

#[test]
fn turned_sums_are_sums_that_are_turned() {
    for (kind, bits) in [(RingKind::Standard, 49), (RingKind::ConjugateInvariant, 34)] {
        for log_n in [3, 4, 8, 11] {
            let shape = RingShape::new(kind, log_n).unwrap();
            let basis = Basis::new(shape, &[prime_below(bits, shape.order(), &[]).unwrap()]).unwrap();
            let m = *basis.modulus(0);
            let rows = rows(&m, shape.n());
            let mut packed = PackedPolys::<Ntt>::zero(&basis, rows.len());
            rows.iter().enumerate().for_each(|(k, row)| packed.set_row(k, 0, row));
            let triples: Vec<_> =
                (0..3).map(|k| (packed.row(k, 0), packed.row(k + 1, 0), &rows[k + 2][..])).collect();
            let (mut sum, mut other) = (rows[0].clone(), rows[0].clone());
            kernel::dot2_packed_into(&m, &triples, &mut sum, &mut other);
            for g in (0..12).map(|r| shape.rotation(r * r)).chain(shape.conjugation()) {
                let perm = shape.automorphism(g).unwrap();
                for addend in [None, Some(&rows[1][..])] {
                    let plus = |x: u64, i: usize| addend.map_or(x, |a| m.add(x, a[i]));
                    let turned = |k: usize| {
                        let at = perm.source()[k] as usize;
                        [plus(sum[at], at), other[at]]
                    };
                    let text = format!("{kind:?} log n {log_n} g {g}");
                    same_on_all_paths(&text, || {
                        let run = |onto| {
                            let mut outs = [rows[0].clone(), rows[2].clone()];
                            let (mut row0, mut row1) = (rows[0].clone(), rows[0].clone());
                            let ([a, b], scratch) = (outs.each_mut(), [&mut row0[..], &mut row1[..]]);
                            kernel::dot2_packed_turned(&m, &triples, addend, &perm, onto, scratch, [a, b]);
                            outs
                        };
                        let (set, added) = (run(Onto::Nothing), run(Onto::There));
                        for k in 0..shape.n() {
                            let [x, y] = turned(k);
                            assert_eq!([set[0][k], set[1][k]], [x, y], "{text}");
                            let there = [m.add(rows[0][k], x), m.add(rows[2][k], y)];
                            assert_eq!([added[0][k], added[1][k]], there, "{text}");
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn constant_matrices_agree_and_equal_sums_of_scaled_rows() {
    // 26 bits are the most whose products fit one word of a sum, 27 the fewest whose do not.
    for m in [3, 26, 27, 34, 45, 48, 50].map(|bits| modulus(bits, 2)) {
        let q = m.value();
        for (n, columns, results) in [
            (8, 0, 1),
            (1, 3, 2),
            (13, 1, 3),
            (40, 15, 4),
            (72, 16, 5),
            (33, 31, 6),
            (48, 46, 13),
            (8, 5000, 2),
        ] {
            let rows = rows(&m, n);
            let xs: Vec<&[u64]> = (0..columns).map(|t| &rows[[0, 1, 2, 2, 4][t % 5]][..]).collect();
            let factor = |i: usize| [q - 1, q / 3, 1, q - 1, 0, q / 2][i % 6];
            let entry = |r: usize, t: usize| factor(r * columns + t);
            // Entries are reduced.
            let matrix = ConstantMatrix::new(&m, results, columns, |r, t| {
                entry(r, t) + if t % 2 == 0 { q } else { 0 }
            });
            let run = || {
                let mut outs = vec![vec![9; n]; results];
                let mut refs: Vec<&mut [u64]> = outs.iter_mut().map(Vec::as_mut_slice).collect();
                kernel::dot_constants_into(&m, &xs, &matrix, &mut refs);
                outs
            };
            let what = format!("q {q} length {n}, {columns} rows to {results}");
            same_on_all_paths(&what, run);
            for (r, out) in run().iter().enumerate() {
                for (k, &o) in out.iter().enumerate() {
                    let sum = (0..columns).fold(0, |s, t| m.add(s, m.mul(xs[t][k], entry(r, t))));
                    assert_eq!(o, sum, "{what}, row {r}, entry {k}");
                }
            }
        }
    }
}

#[test]
fn changes_of_modulus_agree_between_all_sizes() {
    let moduli = [3, 26, 34, 45, 50].map(|bits| modulus(bits, 2));
    for n in [5, 8, 24, 1100] {
        for from in moduli {
            for (to, row) in moduli.iter().flat_map(|to| rows(&from, n).into_iter().map(move |r| (to, r))) {
                same_on_all_paths(&format!("{} to {}, length {n}", from.value(), to.value()), || {
                    let (mut once, mut sum) = (vec![7; n], vec![7; n]);
                    kernel::reduce_centred_into(&from, to, &row, &mut once);
                    let factors = [to.value() - 1, 1, to.value() / 2];
                    let terms: Vec<_> = (0..40)
                        .map(|k| CentredTerm { row: &row, modulus: &from, factor: to.shoup(factors[k % 3]) })
                        .collect();
                    kernel::convert_centred_into(to, &terms, &mut sum);
                    (once, sum)
                });
            }
        }
        let mut rng = Prg::new(&[6; 32], "ring path tests", &[]);
        let mut signed: Vec<i64> = (0..n).map(|_| rng.next_u64() as i64).collect();
        signed[..5].copy_from_slice(&[i64::MIN, i64::MAX, -1, 0, i64::MIN + 1]);
        for m in moduli {
            same_on_all_paths("integers", || {
                let mut out = vec![7; n];
                kernel::reduce_i64_into(&m, &signed, &mut out);
                out
            });
        }
    }
}

#[test]
fn automorphisms_agree_in_both_rings() {
    for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
        for log_n in 3..=11 {
            let shape = RingShape::new(kind, log_n).unwrap();
            let m = modulus(34, shape.order());
            let rows = rows(&m, shape.n());
            let elements = (0..12).map(|r| shape.rotation(r * r)).chain(shape.conjugation());
            for g in elements.chain([shape.order() - 3]) {
                let perm = shape.automorphism(g).unwrap();
                same_on_all_paths(&format!("{kind:?} log n {log_n} g {g}"), || {
                    let (mut out, mut sum) = (rows[1].clone(), rows[1].clone());
                    kernel::gather_into(&perm, &rows[0], &mut out);
                    kernel::gather_add_assign(&m, &perm, &mut sum, &rows[0]);
                    let c = m.shoup(m.value() / 3);
                    let (mut permuted, mut first) = (out.clone(), out.clone());
                    for addend in [None, Some(&rows[1][..])] {
                        kernel::gather_sub_scale_into(&m, &perm, &rows[0], &sum, c, addend, &mut permuted);
                        kernel::sub_scale_into(&m, &rows[0], &sum, c, addend, &mut first);
                        assert!(permuted.iter().zip(perm.source()).all(|(&x, &p)| x == first[p as usize]));
                    }
                    (out, sum, permuted)
                });
            }
        }
    }
}

#[test]
fn samplers_and_packing_agree() {
    use oblivia_base::codec::{Reader, Writer};
    use oblivia_ring::packing;
    for bits in [2, 3, 8, 14, 26, 33, 34, 39, 45, 50] {
        let m = modulus(bits, 2);
        for n in [1, 7, 8, 64, 65, 777, 4096] {
            same_on_all_paths(&format!("{bits} bits, length {n}"), || {
                let mut rng = Prg::new(&[8; 32], "ring path tests", &[]);
                let mut row = vec![0; n];
                sample::uniform_row(&m, &mut rng, &mut row);
                let mut w = Writer::new();
                w.u8(1);
                packing::write_row(&m, &row, &mut w);
                let bytes = w.into_bytes();
                let mut back = vec![0; n];
                let mut r = Reader::new(&bytes);
                assert_eq!(r.u8("tag").unwrap(), 1);
                packing::read_row(&m, &mut r, &mut back).unwrap();
                r.finish().unwrap();
                assert_eq!(back, row);
                (row, bytes, rng.next_u64())
            });
        }
    }
    for n in [1, 7, 8, 255, 256, 300, 4096] {
        same_on_all_paths(&format!("integers, length {n}"), || {
            let mut rng = Prg::new(&[8; 32], "ring path tests", &[]);
            let (mut t, mut g) = (vec![0; n], vec![0; n]);
            sample::ternary(&mut rng, &mut t);
            sample::gaussian(&mut rng, &mut g);
            (t, g, rng.next_u64())
        });
    }
}

#[test]
fn this_machine_runs_its_fastest_path_by_default() {
    let guard = PATH.lock();
    assert_eq!(Some(&Path::active()), Path::available().last());
    assert_eq!(Path::available().first(), Some(&Path::Portable));
    drop(guard);
}
