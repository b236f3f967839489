//! Comparison and what is made of it against the twins, with every message and COT against the declared cost.

use crate::common::*;
use oblivia_mpc::ideal::clear;
use oblivia_mpc::*;

/// Every pair of shares up to 8 bits, edges and random pairs above.
fn cases() -> impl Iterator<Item = (u32, [Vec<u64>; 2])> {
    let small = [2, 3, 4, 5, 6, 7, 8].map(|l| (l, all_pairs(l)));
    let large = [9, 12, 15, 16, 17, 20, 31, 32, 33, 37, 48, 63, 64].map(|l| (l, some_pairs(l, 500, 1)));
    small.into_iter().chain(large)
}

#[test]
fn the_sign_bit_is_that_of_the_number_for_every_radix_and_either_chooser() {
    for (l, pairs) in cases() {
        let x = numbers(l, &pairs);
        for (radix, pen) in Radix::ALL.into_iter().flat_map(|r| PENS.map(|p| (r, p))) {
            let cost = drelu_cost(l, radix).times(x.len());
            let got =
                play(&(l, radix), pen, shares(l, &pairs), &cost, async |cx, x| drelu(cx, &x, radix).await);
            let want: Vec<bool> = x.iter().map(|x| clear::drelu(*x, l)).collect();
            assert!(opened_bits(&got) == want, "drelu of {l} bits, {radix:?}, {pen:?}");
        }
    }
}

#[test]
fn carries_out_of_several_cuts_come_from_one_comparison() {
    for (l, pairs) in cases() {
        for cuts in [vec![l], vec![1, l], vec![1 + l / 3, l / 2 + 1], vec![1, 2, l]] {
            if !cuts.is_sorted_by(|a, b| a < b) {
                continue;
            }
            let radix = Radix::Four;
            let n = pairs[0].len();
            let cost = carries_cost(&cuts, radix).times(n);
            let got = play(&(l, &cuts), Party::Server, shares(l, &pairs), &cost, async |cx, x| {
                carries(cx, &x, &cuts, radix).await
            });
            for (i, cut) in cuts.iter().enumerate() {
                let bits = opened_bits(&[got[0][i].clone(), got[1][i].clone()]);
                let want = (0..n).map(|j| clear::carry([pairs[0][j], pairs[1][j]], *cut));
                assert!(bits.iter().copied().eq(want), "carry out of {cut} of {cuts:?} in {l} bits");
            }
        }
    }
}

#[test]
fn relu_and_sign_agree_with_their_twins() {
    for (l, pairs) in cases() {
        let x = numbers(l, &pairs);
        for (radix, pen) in Radix::ALL.into_iter().zip([PENS, PENS].concat()) {
            let cost = relu_cost(l, radix).times(x.len());
            let got =
                play(&(l, radix), pen, shares(l, &pairs), &cost, async |cx, x| relu(cx, &x, radix).await);
            assert!(
                opened(&got).into_iter().eq(x.iter().map(|x| clear::relu(*x, l))),
                "relu of {l} bits, {radix:?}"
            );
        }
        for to in [1, 2, 8, 64] {
            let cost = sign_cost(l, to, Radix::Four).times(x.len());
            let got = play(&(l, to), Party::Client, shares(l, &pairs), &cost, async |cx, x| {
                sign(cx, &x, to, Radix::Four).await
            });
            assert!(
                opened(&got).into_iter().eq(x.iter().map(|x| clear::sign(*x, l, to))),
                "sign of {l} in {to} bits"
            );
        }
    }
}

#[test]
fn clipping_keeps_a_number_between_zero_and_the_bound() {
    for (l, pairs) in cases() {
        let half = 1u64 << (l - 1);
        for top in [0, 1, half / 3, half - 1] {
            let inside = |x: u64| clear::signed(x, l) >= (top as i64).wrapping_sub(half as i64) || top == 0;
            let all = numbers(l, &pairs);
            let kept: Vec<usize> = (0..all.len()).filter(|i| inside(all[*i])).collect();
            let pairs = [0, 1].map(|p| kept.iter().map(|i| pairs[p][*i]).collect::<Vec<_>>());
            let x = numbers(l, &pairs);
            let cost = clip_cost(l, Radix::Eight).times(x.len());
            let got = play(&(l, top), Party::Server, shares(l, &pairs), &cost, async |cx, x| {
                clip(cx, &x, top, Radix::Eight).await
            });
            assert!(
                opened(&got).into_iter().eq(x.iter().map(|x| clear::clip(*x, l, top))),
                "{l} bits to {top}"
            );
        }
    }
}

#[test]
fn maximum_and_arg_max_agree_with_their_twins_within_a_quarter_of_the_ring() {
    for l in [4u32, 5, 8, 16, 32, 64] {
        // Numbers with |x| < 2^(l−2), shared at random; few values, so that ties are frequent.
        let quarter = 1u64 << (l - 2);
        let [noise, shares_of] = some_pairs(l, 300, 7);
        let n = noise.len() / 10;
        for operands in 1..=7usize {
            let numbers: Vec<Vec<u64>> = (0..operands)
                .map(|k| {
                    let part = &noise[k * n..][..n];
                    part.iter()
                        .enumerate()
                        .map(|(i, v)| {
                            let v = if i % 2 == 0 { v % 3 } else { v % (2 * quarter - 1) };
                            v.wrapping_sub(if i % 2 == 0 { 1 } else { quarter - 1 }) & mask(l)
                        })
                        .collect()
                })
                .collect();
            let split = |server: bool| -> Vec<Shares> {
                numbers
                    .iter()
                    .enumerate()
                    .map(|(k, x)| {
                        let theirs = &shares_of[k * n..][..n];
                        let mine =
                            x.iter().zip(theirs).map(|(x, t)| if server { *t } else { x.wrapping_sub(*t) });
                        Shares::new(l, mine.collect()).unwrap()
                    })
                    .collect()
            };
            let column = |i: usize| numbers.iter().map(|x| x[i]).collect::<Vec<_>>();
            let radix = Radix::Four;
            let cost = max_of_cost(operands, n, l, radix);
            let got =
                play(&(l, operands), Party::Server, [split(false), split(true)], &cost, async |cx, x| {
                    max_of(cx, x, radix).await
                });
            let want: Vec<(u64, u64)> = (0..n).map(|i| clear::arg_max(&column(i), l).unwrap()).collect();
            assert!(opened(&got).into_iter().eq(want.iter().map(|w| w.0)), "max of {operands}, {l} bits");
            let cost = arg_max_cost(operands, n, l, 3, radix);
            let got =
                play(&(l, operands), Party::Client, [split(false), split(true)], &cost, async |cx, x| {
                    arg_max(cx, x, 3, radix).await
                });
            let [(a, i), (b, j)] = got;
            let got: Vec<(u64, u64)> = opened(&[a, b]).into_iter().zip(opened(&[i, j])).collect();
            assert!(got == want, "arg-max of {operands}, {l} bits");
            let two = |a: u64, b: u64| clear::max(a, b, l);
            assert!((0..n).all(|i| column(i).into_iter().reduce(two) == Some(want[i].0)));
        }
    }
}

#[test]
fn windows_give_their_greatest_element_with_fewer_comparisons_than_one_by_one() {
    let l = 12;
    let cases = [
        Windows { channels: 3, size: [8, 8], kernel: [2, 2], stride: [2, 2], pad: [0, 0], output: [4, 4] },
        Windows { channels: 2, size: [9, 7], kernel: [3, 3], stride: [2, 2], pad: [0, 0], output: [4, 3] },
        Windows { channels: 1, size: [6, 5], kernel: [3, 3], stride: [2, 2], pad: [1, 1], output: [3, 3] },
        Windows { channels: 2, size: [7, 7], kernel: [3, 2], stride: [2, 3], pad: [0, 1], output: [4, 3] },
        Windows { channels: 1, size: [3, 4], kernel: [3, 4], stride: [1, 1], pad: [0, 0], output: [1, 1] },
        Windows { channels: 2, size: [3, 3], kernel: [1, 1], stride: [2, 2], pad: [0, 0], output: [2, 2] },
    ];
    for windows in cases {
        let n = windows.channels * windows.size[0] * windows.size[1];
        let [mut x, theirs] = some_pairs(l, n, 3).map(|v| v[v.len() - n..].to_vec());
        x.iter_mut().for_each(|v| *v = (*v % 2000).wrapping_sub(1000) & mask(l));
        let mine: Vec<u64> = x.iter().zip(&theirs).map(|(x, t)| x.wrapping_sub(*t)).collect();
        let cost = max_pool_cost(&windows, l, Radix::Four);
        let got = play(&windows, Party::Server, shares(l, &[mine, theirs]), &cost, async |cx, x| {
            max_pool(cx, &x, &windows, Radix::Four).await
        });
        assert_eq!(opened(&got), clear::max_pool(&x, &windows, l), "{windows:?}");
    }
    // 3 × 3 with stride 2 on 109 × 109: 25 % fewer comparisons than eight per output.
    let big = Windows {
        channels: 1,
        size: [109, 109],
        kernel: [3, 3],
        stride: [2, 2],
        pad: [0, 0],
        output: [54, 54],
    };
    let comparisons = max_pool_cost(&big, l, Radix::Four).cots() / max_cost(l, Radix::Four).cots();
    assert_eq!(comparisons, 2 * 109 * 54 + 2 * 54 * 54);
    assert!(100 * comparisons < 76 * 8 * 54 * 54);
}

#[test]
fn selection_and_products_of_bits_are_exact_for_every_share() {
    for l in [1u32, 3, 4] {
        let [a, b] = all_pairs(l);
        let n = a.len();
        for flips in 0..4u8 {
            let bit = |party: u8, i: usize| (flips >> party & 1 == 1) ^ (i % 3 == usize::from(party));
            let bits = [0, 1].map(|p| Bits::from_fn(n, |i| bit(p, i)));
            let x = shares(l, &[a.clone(), b.clone()]);
            let [x0, x1] = x;
            let [b0, b1] = bits.clone();
            let cost = select_cost(l).times(n);
            let got = play(&(l, flips), Party::Client, [(b0, x0), (b1, x1)], &cost, async |cx, (b, x)| {
                select(cx, &b, &x).await
            });
            let want = numbers(l, &[a.clone(), b.clone()]);
            let want = want.iter().enumerate().map(|(i, x)| if bit(0, i) ^ bit(1, i) { *x } else { 0 });
            assert!(opened(&got).into_iter().eq(want), "selection in {l} bits");
            for pen in PENS {
                let cost = and_private_cost().times(n);
                let got =
                    play(&"private bits", pen, bits.clone(), &cost, async |cx, b| and_private(cx, &b).await);
                assert!(opened_bits(&got).into_iter().eq((0..n).map(|i| bit(0, i) & bit(1, i))));
                let cost = to_ring_cost(l).times(n);
                let got = play(&"to ring", pen, bits.clone(), &cost, async |cx, b| to_ring(cx, &b, l).await);
                assert!(opened(&got).into_iter().eq((0..n).map(|i| u64::from(bit(0, i) ^ bit(1, i)))));
            }
            let shifted = |p: u8| Bits::from_fn(n, |i| bit(p, i + 1));
            let factors = [(bits[0].clone(), shifted(1)), (bits[1].clone(), shifted(0))];
            let cost = and_bits_cost().times(n);
            let got = play(&"shared bits", Party::Server, factors, &cost, async |cx, (a, b)| {
                and_bits(cx, &a, &b).await
            });
            let sum = |i: usize| bit(0, i) ^ bit(1, i);
            assert!(opened_bits(&got).into_iter().eq((0..n).map(|i| sum(i) & sum(i + 1))));
        }
    }
}

#[test]
fn nothing_is_said_about_no_element() {
    let none = || shares(16, &[vec![], vec![]]);
    let got = play(&"empty", Party::Client, none(), &Cost::none(), async |cx, x| {
        let y = relu(cx, &x, Radix::Four).await?;
        truncate(cx, &y, 4, Radix::Eight).await
    });
    assert_eq!(opened(&got), []);
}
