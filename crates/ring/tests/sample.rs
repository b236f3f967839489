//! The samplers against independently computed answers and against their distributions.
use oblivia_base::Prg;
use oblivia_base::seed::{EntropySource, PublicSeed};
use oblivia_ring::sample::{self, GAUSSIAN_BOUND, GAUSSIAN_SIGMA};
use oblivia_ring::{Basis, Modulus, RingKind, RingShape, primes_below};
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// The byte stream of tests/known/sample.py.
struct SplitMix {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl SplitMix {
    fn new(state: u64) -> Self {
        Self { state, word: [0; 8], used: 8 }
    }

    fn byte(&mut self) -> u8 {
        if self.used == 8 {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (self.word, self.used) = ((z ^ (z >> 31)).to_le_bytes(), 0);
        }
        self.used += 1;
        self.word[self.used - 1]
    }
}

impl TryRng for SplitMix {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut b = [0; 4];
        self.try_fill_bytes(&mut b)?;
        Ok(u32::from_le_bytes(b))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut b = [0; 8];
        self.try_fill_bytes(&mut b)?;
        Ok(u64::from_le_bytes(b))
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        assert!(dst.len().is_multiple_of(8), "requests are whole words");
        dst.fill_with(|| self.byte());
        Ok(())
    }
}

impl TryCryptoRng for SplitMix {}

fn prg(label: &[u8]) -> Prg {
    Prg::new(&[11; 32], "ring sample tests", &[label])
}

/// Σ (i + 1)·v_i modulo 2^61 − 1.
fn digest(values: impl IntoIterator<Item = i128>) -> i128 {
    values.into_iter().zip(1..).map(|(v, i)| v * i).sum::<i128>().rem_euclid((1 << 61) - 1)
}

#[test]
fn uniform_rows_equal_answers_computed_with_python_integers() {
    for (q, n, start, sum) in [
        (17179672577, 8192, [2442431779, 14879757670, 16623293525, 9561109065], 292648701470380594),
        (67043329, 4096, [26512675, 51734052, 5627321, 33010901], 278510563809413),
        (
            1125899904679937,
            8192,
            [94113765821731, 979996937516775, 610816953665831, 1067262269839159],
            380321285433320426,
        ),
        (12289, 4096, [3363, 1618, 6537, 10005], 51805476447),
        (769, 8, [291, 291, 281, 610], 14594),
        (5, 1000, [3, 4, 4, 0], 1012051),
    ] {
        let mut row = vec![u64::MAX; n];
        sample::uniform_row(&Modulus::new(q).unwrap(), &mut SplitMix::new(2026), &mut row);
        assert_eq!(row[..4], start);
        assert_eq!(digest(row.into_iter().map(i128::from)), sum, "q {q}");
    }
}

#[test]
fn ternary_and_gaussian_values_equal_answers_computed_with_python_integers() {
    let (mut t, mut g) = (vec![9; 8192], vec![99; 8192]);
    sample::ternary(&mut SplitMix::new(2027), &mut t);
    sample::gaussian(&mut SplitMix::new(2028), &mut g);
    assert_eq!(t[..12], [0, 1, 1, 1, 0, 1, 0, 0, 1, 0, -1, -1]);
    assert_eq!(g[..12], [2, 2, 3, 1, 4, 2, -4, -2, 3, 9, 3, -1]);
    assert_eq!(digest(t.into_iter().map(i128::from)), 2305843009213617274);
    assert_eq!(digest(g.into_iter().map(i128::from)), 2305843009213165781);
}

/// Σ (observed − expected)²/expected, less its mean k − 1, in units of its standard deviation √(2(k−1)).
fn chi_square(observed: &[u64], expected: &[f64]) -> f64 {
    let statistic: f64 = observed.iter().zip(expected).map(|(&o, &e)| (o as f64 - e).powi(2) / e).sum();
    let freedom = observed.len() as f64 - 1.0;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

/// Correlation of neighbours, in units of its standard deviation.
fn lag_one(values: &[f64], mean: f64) -> f64 {
    let variance: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let product: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    product / variance * (values.len() as f64).sqrt()
}

const COUNT: usize = 1 << 20;

// Seeds are fixed, so nothing below can fail by chance; the bounds hold for all but one seed in 10^5 or fewer.

#[test]
fn uniform_residues_are_spread_evenly_over_all_residues_and_bits() {
    for bits in [10, 14, 34, 50] {
        // Far from a power of two, so that reduction in place of rejection would show.
        let q = (0..(1 << bits) / 4 * 3).rev().find(|&q| oblivia_ring::is_prime(q)).unwrap();
        let m = Modulus::new(q).unwrap();
        let mut row = vec![0; COUNT];
        sample::uniform_row(&m, &mut prg(&q.to_le_bytes()), &mut row);
        assert!(row.iter().all(|&x| x < q));
        let cells = q.min(256);
        let (mut high, mut low) = (vec![0u64; cells as usize], vec![0u64; cells as usize]);
        for &x in &row {
            high[(u128::from(x) * u128::from(cells) / u128::from(q)) as usize] += 1;
            low[(x % cells) as usize] += 1;
        }
        // How many residues fall in each cell.
        let share = |c: u64| {
            let start = |c: u64| (u128::from(c) * u128::from(q)).div_ceil(u128::from(cells)) as f64;
            (start(c + 1) - start(c)) / q as f64 * COUNT as f64
        };
        let residues = |c: u64| ((q - 1 - c) / cells + 1) as f64 / q as f64 * COUNT as f64;
        let chi = chi_square(&high, &(0..cells).map(share).collect::<Vec<_>>());
        assert!(chi.abs() < 5.0, "high part, q {q}: {chi}");
        let chi = chi_square(&low, &(0..cells).map(residues).collect::<Vec<_>>());
        assert!(chi.abs() < 5.0, "low part, q {q}: {chi}");
        let values: Vec<f64> = row.iter().map(|&x| x as f64 / q as f64).collect();
        let mean = values.iter().sum::<f64>() / COUNT as f64;
        assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / COUNT as f64).sqrt(), "mean {mean}");
        assert!(lag_one(&values, 0.5).abs() < 5.0);
    }
}

#[test]
fn ternary_values_are_uniform_and_uncorrelated() {
    // An odd length: five values come from one byte.
    let mut out = vec![7i64; COUNT + 3];
    sample::ternary(&mut prg(b"ternary"), &mut out);
    let mut counts = [0u64; 3];
    let mut pairs = [0u64; 9];
    for &x in &out {
        counts[usize::try_from(x + 1).unwrap()] += 1;
    }
    for w in out.windows(2) {
        pairs[(3 * (w[0] + 1) + w[1] + 1) as usize] += 1;
    }
    let third = out.len() as f64 / 3.0;
    assert!(chi_square(&counts, &[third; 3]) < 12.0, "{counts:?}");
    assert!(chi_square(&pairs, &[third / 3.0; 9]) < 8.0, "{pairs:?}");
    // The five digits of a byte each on their own, and against the next byte's.
    for phase in 0..5 {
        let mut counts = [0u64; 3];
        out.iter().skip(phase).step_by(5).for_each(|&x| counts[(x + 1) as usize] += 1);
        let third = counts.iter().sum::<u64>() as f64 / 3.0;
        assert!(chi_square(&counts, &[third; 3]) < 12.0, "digit {phase}: {counts:?}");
    }
    let values: Vec<f64> = out.iter().map(|&x| x as f64).collect();
    assert!(lag_one(&values, 0.0).abs() < 5.0);
}

#[test]
fn gaussian_values_follow_the_density_of_sigma_three_point_two() {
    let mut out = vec![0i64; COUNT];
    sample::gaussian(&mut prg(b"gaussian"), &mut out);
    assert!(out.iter().all(|x| x.abs() <= GAUSSIAN_BOUND));
    let density = |x: f64| (-x * x / (2.0 * GAUSSIAN_SIGMA * GAUSSIAN_SIGMA)).exp();
    let total: f64 = (-60..=60).map(|x| density(f64::from(x))).sum();
    // Cells −12 … 12, each with hundreds of values, and one for each tail.
    let mut counts = [0u64; 27];
    for &x in &out {
        counts[(x.clamp(-13, 13) + 13) as usize] += 1;
    }
    let mut expected: Vec<f64> = (-13..=13).map(|x| density(f64::from(x)) / total * COUNT as f64).collect();
    let tail = (13..=60).map(|x| density(f64::from(x))).sum::<f64>() / total * COUNT as f64;
    (expected[0], expected[26]) = (tail, tail);
    let chi = chi_square(&counts, &expected);
    assert!(chi.abs() < 6.0, "{chi}: {counts:?} against {expected:?}");

    let n = COUNT as f64;
    let variance = GAUSSIAN_SIGMA * GAUSSIAN_SIGMA;
    let values: Vec<f64> = out.iter().map(|&x| x as f64).collect();
    let mean = values.iter().sum::<f64>() / n;
    assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "mean {mean}");
    let found = values.iter().map(|x| x * x).sum::<f64>() / n;
    assert!((found - variance).abs() < 5.0 * variance * (2.0 / n).sqrt(), "variance {found}");
    assert!(lag_one(&values, 0.0).abs() < 5.0);
    let squares: Vec<f64> = values.iter().map(|x| x * x).collect();
    assert!(lag_one(&squares, variance).abs() < 5.0);
}

const SEEDED: i128 = 506575070387720802;

#[test]
fn seeded_rows_depend_on_the_prime_and_not_on_its_place() {
    let shape = RingShape::new(RingKind::Standard, 6).unwrap();
    let all = Basis::new(shape, &primes_below(&[34, 26, 33, 39], shape.order(), &[]).unwrap()).unwrap();
    let seed = PublicSeed([3; 32]);
    let whole = sample::uniform_seeded(&all, &seed, "test", &[b"label", &[1]]);
    let prefix = sample::uniform_seeded(&all.prefix(2), &seed, "test", &[b"label", &[1]]);
    assert!(prefix.rows().eq(whole.rows().take(2)));
    let last = sample::uniform_seeded(&all.slice(3..4), &seed, "test", &[b"label", &[1]]);
    assert_eq!(last.row(0), whole.row(3));
    let mut row = vec![0; shape.n()];
    sample::uniform_row_seeded(all.modulus(2), &seed, "test", &[b"label", &[1]], &mut row);
    assert_eq!(row, whole.row(2));
    // Two primes so close that equal streams would give equal rows.
    let twins = Basis::new(shape, &primes_below(&[50, 50], shape.order(), &[]).unwrap()).unwrap();
    let both = sample::uniform_seeded(&twins, &seed, "test", &[]);
    assert_ne!(both.row(0), both.row(1));
    // Keys and ciphertexts at rest name their uniform halves by seed: the derivation may not change.
    assert_eq!(digest(both.rows().flatten().map(|&x| i128::from(x))), SEEDED);
    for other in [
        sample::uniform_seeded(&all, &PublicSeed([4; 32]), "test", &[b"label", &[1]]),
        sample::uniform_seeded(&all, &seed, "tesu", &[b"label", &[1]]),
        sample::uniform_seeded(&all, &seed, "test", &[b"label", &[2]]),
        sample::uniform_seeded(&all, &seed, "test", &[b"label"]),
    ] {
        assert!(other.rows().zip(whole.rows()).all(|(a, b)| a != b));
    }
}

#[test]
fn samplers_take_any_generator_behind_a_reference() {
    let mut prg_a = prg(b"dynamic");
    let dynamic: &mut dyn EntropySource = &mut prg_a;
    let shape = RingShape::new(RingKind::Standard, 4).unwrap();
    let basis = Basis::new(shape, &primes_below(&[34, 26], shape.order(), &[]).unwrap()).unwrap();
    let a = sample::uniform(&basis, dynamic);
    assert_eq!(a, sample::uniform(&basis, &mut prg(b"dynamic")));
    let mut e = [0; 3];
    sample::gaussian(dynamic, &mut e);
    sample::ternary(dynamic, &mut e);
    sample::ternary(dynamic, &mut []);
}
