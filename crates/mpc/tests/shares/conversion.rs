//! Widths and scales against the twins, with every message and COT against the declared cost.

use crate::common::*;
use oblivia_mpc::ideal::clear::{self, signed};
use oblivia_mpc::*;

/// Every pair of shares up to 8 bits, edges and random pairs above.
fn cases() -> impl Iterator<Item = (u32, [Vec<u64>; 2])> {
    let small = [4, 5, 6, 7, 8].map(|l| (l, all_pairs(l)));
    let large = [16, 20, 32, 37, 63, 64].map(|l| (l, some_pairs(l, 500, 9)));
    small.into_iter().chain(large)
}

/// The pairs whose number `keep` says to keep.
fn only(l: u32, pairs: &[Vec<u64>; 2], keep: impl Fn(i64) -> bool) -> [Vec<u64>; 2] {
    let kept: Vec<usize> =
        numbers(l, pairs).iter().enumerate().filter(|(_, x)| keep(signed(**x, l))).map(|(i, _)| i).collect();
    assert!(!kept.is_empty());
    [0, 1].map(|p| kept.iter().map(|i| pairs[p][*i]).collect())
}

/// Shifts tried for a width.
fn shifts(l: u32) -> Vec<u32> {
    if l <= 8 { (1..l).collect() } else { vec![1, 7, l / 2, l - 2, l - 1] }
}

#[test]
fn widening_keeps_the_number_inside_its_range() {
    for (l, pairs) in cases().filter(|(l, _)| *l < 64) {
        for to in [l + 1, l + 2, 64.min(l + 9), 64] {
            if to <= l || to > 64 {
                continue;
            }
            for range in [Range::NonNegative, Range::SpareBit, Range::Any] {
                let inside = |x: i64| match range {
                    Range::NonNegative => x >= 0,
                    Range::SpareBit => x.unsigned_abs() < 1 << (l - 2),
                    Range::Any => true,
                };
                let pairs = only(l, &pairs, inside);
                let x = numbers(l, &pairs);
                for pen in PENS {
                    let cost = widen_cost(l, to, range, Radix::Four).times(x.len());
                    let got = play(&(l, to, range), pen, shares(l, &pairs), &cost, async |cx, x| {
                        widen(cx, &x, to, range, Radix::Four).await
                    });
                    let want = x.iter().map(|x| clear::widen(*x, l, to));
                    assert!(opened(&got).into_iter().eq(want), "{l} to {to}, {range:?}");
                }
            }
        }
    }
}

#[test]
fn narrowing_is_local_and_keeps_the_low_bits() {
    let pairs = all_pairs(8);
    let [a, b] = shares(8, &pairs).map(|s| s.narrow(5).unwrap());
    assert!(open(&a, &b).unwrap().into_iter().eq(numbers(8, &pairs).iter().map(|x| x & 31)));
}

#[test]
fn faithful_truncation_is_the_floor_for_every_share() {
    for (l, pairs) in cases() {
        let x = numbers(l, &pairs);
        for f in shifts(l) {
            for (radix, pen) in [(Radix::Four, Party::Client), (Radix::Eight, Party::Server)] {
                let cost = truncate_cost(l, f, radix).times(x.len());
                let got = play(&(l, f), pen, shares(l, &pairs), &cost, async |cx, x| {
                    truncate(cx, &x, f, radix).await
                });
                assert!(
                    opened(&got).into_iter().eq(x.iter().map(|x| clear::truncate(*x, l, f))),
                    "{l} by {f}"
                );
                let cost = truncate_reduce_cost(l, f, radix).times(x.len());
                let got = play(&(l, f, "narrower"), pen, shares(l, &pairs), &cost, async |cx, x| {
                    truncate_reduce(cx, &x, f, radix).await
                });
                let want = x.iter().map(|x| clear::truncate_reduce(*x, l, f));
                assert!(opened(&got).into_iter().eq(want), "{l} by {f}, in {} bits", l - f);
            }
        }
    }
}

#[test]
fn close_truncation_is_the_floor_or_one_less_below_a_third_of_the_ring() {
    for (l, pairs) in cases() {
        let pairs = only(l, &pairs, |x| 3 * u128::from(x.unsigned_abs()) < 1 << l);
        let x = numbers(l, &pairs);
        for f in shifts(l) {
            for pen in PENS {
                let cost = truncate_close_cost(f).times(x.len());
                let got = play(&(l, f), pen, shares(l, &pairs), &cost, async |cx, x| {
                    truncate_close(cx, &x, f).await
                });
                let got = opened(&got);
                for (i, (got, x)) in got.iter().zip(&x).enumerate() {
                    let error = got.wrapping_sub(clear::truncate(*x, l, f)) & mask(l);
                    assert!([0, mask(l)].contains(&error), "{l} by {f}");
                    assert_eq!(*got, clear::truncate_close([pairs[0][i], pairs[1][i]], l, f));
                }
            }
        }
    }
}

#[test]
fn local_truncation_fails_no_more_often_than_declared() {
    for l in 4..=8u32 {
        let pairs = all_pairs(l);
        for f in 1..l {
            let [a, b] = shares(l, &pairs);
            let got = opened(&[
                truncate_local(Party::Client, &a, f).unwrap(),
                truncate_local(Party::Server, &b, f).unwrap(),
            ]);
            let mut failures = vec![0u64; 1 << l];
            for (i, (got, x)) in got.iter().zip(numbers(l, &pairs)).enumerate() {
                assert_eq!(*got, clear::truncate_local([pairs[0][i], pairs[1][i]], l, f));
                let error = signed(got.wrapping_sub(clear::truncate(x, l, f)), l);
                failures[x as usize] += u64::from(error.abs() > 1);
            }
            for (x, failures) in failures.iter().enumerate() {
                // Of 2^l ways to share x; the bound is (|x| + 2^f) / 2^l.
                assert!(*failures <= signed(x as u64, l).unsigned_abs() + (1 << f), "{x} of {l} bits by {f}");
            }
        }
    }
}

#[test]
fn division_by_a_constant_is_the_floor_inside_its_range() {
    for (l, pairs) in cases() {
        let quarter = 1u64 << (l - 2);
        let divisors: Vec<u64> = match l {
            4..=6 => (2..=quarter).collect(),
            7 | 8 => vec![2, 3, 5, 7, 9, 10, 25, quarter - 1, quarter],
            _ => vec![3, 9, 49, 64, 1000, quarter - 1, quarter],
        };
        for d in divisors {
            let least = -i128::from((1u64 << (l - 1)) / d * d);
            let pairs = only(l, &pairs, |x| i128::from(x) >= least);
            let x = numbers(l, &pairs);
            let cost = divide_cost(l, d, Radix::Four).times(x.len());
            let got = play(&(l, d), Party::Server, shares(l, &pairs), &cost, async |cx, x| {
                divide(cx, &x, d, Radix::Four).await
            });
            assert!(
                opened(&got).into_iter().eq(x.iter().map(|x| clear::divide(*x, l, d))),
                "{l} bits by {d}"
            );
        }
    }
}

#[test]
fn arguments_outside_their_range_are_refused_before_anything_is_sent() {
    let x = || shares(8, &[vec![1], vec![2]]);
    let refused = |role: &dyn Fn(Shares) -> Result<Shares, MpcError>| {
        for x in x() {
            assert_eq!(role(x).unwrap_err().blame(), oblivia_base::Blame::Misuse);
        }
    };
    macro_rules! refused {
        ($f:expr) => {
            let (results, said, _) =
                ideal::pair::run(ideal::dealer::pads(&[0; 32]), Party::Client, x(), $f).unwrap();
            assert!(said.is_empty());
            for r in results {
                assert_eq!(r.map(|_| ()).unwrap_err().blame(), oblivia_base::Blame::Misuse);
            }
        };
    }
    refused(&|x| truncate_local(Party::Client, &x, 0));
    refused(&|x| truncate_local(Party::Client, &x, 8));
    refused!(async |cx, x| truncate(cx, &x, 8, Radix::Four).await);
    refused!(async |cx, x| truncate_reduce(cx, &x, 0, Radix::Four).await);
    refused!(async |cx, x| truncate_close(cx, &x, 8).await);
    refused!(async |cx, x| widen(cx, &x, 8, Range::Any, Radix::Four).await);
    refused!(async |cx, x| widen(cx, &x, 65, Range::NonNegative, Radix::Four).await);
    refused!(async |cx, x| divide(cx, &x, 1, Radix::Four).await);
    refused!(async |cx, x| divide(cx, &x, 65, Radix::Four).await);
    refused!(async |cx, x| relu(cx, &x.narrow(1)?, Radix::Four).await);
    refused!(async |cx, x| carries(cx, &x, &[3, 3], Radix::Four).await);
    refused!(async |cx, x| carries(cx, &x, &[9], Radix::Four).await);
    refused!(async |cx, x| select(cx, &Bits::zeros(2), &x).await);
    refused!(async |cx, x| max(cx, &x, &x.narrow(7)?, Radix::Four).await);
    refused!(async |cx, _| max_of(cx, vec![], Radix::Four).await);
    refused!(async |cx, x| arg_max(cx, vec![x.clone(), x.clone(), x], 1, Radix::Four).await);
}
