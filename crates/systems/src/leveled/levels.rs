//! Shapes of the levels of a modulus chain, known before any prime is found.

use oblivia_he::{LevelLiteral, Moduli, ParamsLiteral};

/// What the cost of operations at one level depends on.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(super) struct LevelShape {
    /// Primes of the modulus.
    pub(super) limbs: usize,
    /// Special primes.
    pub(super) special: usize,
    /// Digits of key switching.
    pub(super) digits: usize,
    /// Transforms of a rescale of one half, alone and together with the division by P.
    pub(super) rescale: [usize; 2],
    /// Bits of the modulus, and with P.
    pub(super) bits: [u32; 2],
    /// The highest level whose keys serve this one.
    pub(super) group: usize,
}

/// Bits of the primes of a list.
fn bits(moduli: &Moduli) -> Vec<u32> {
    match moduli {
        Moduli::Bits(bits) => bits.clone(),
        Moduli::Primes(primes) => primes.iter().map(|p| u64::BITS - p.leading_zeros()).collect(),
    }
}

/// The levels of `literal` written out, from level 1 on.
fn written_out(literal: &ParamsLiteral) -> Vec<LevelLiteral> {
    if !literal.levels.is_empty() {
        return literal.levels.clone();
    }
    let (q, p) = (bits(&literal.q).len(), bits(&literal.p).len());
    let plain =
        |l: usize| LevelLiteral { q: (0..l).collect(), p: (q..q + p).collect(), alpha: literal.alpha };
    (1..=q).map(plain).collect()
}

/// The shape of every level, from level 1 on.
pub(super) fn shapes(literal: &ParamsLiteral) -> Vec<LevelShape> {
    let sizes = [bits(&literal.q), bits(&literal.p)].concat();
    let levels = written_out(literal);
    let sum = |list: &[usize]| list.iter().filter_map(|&i| sizes.get(i)).sum::<u32>();
    let serves = |high: &LevelLiteral, low: &LevelLiteral| {
        high.p == low.p
            && high.q.starts_with(&low.q)
            && (high.alpha == low.alpha || low.q.len() <= high.alpha.min(low.alpha))
    };
    let shape = |(k, level): (usize, &LevelLiteral)| {
        let below: &[usize] = k.checked_sub(1).and_then(|b| levels.get(b)).map_or(&[], |b| &b.q);
        let gone = |list: &[usize]| list.iter().filter(|i| !below.contains(i)).count();
        let alone = gone(&level.q) + below.len();
        let group = (k..levels.len()).rev().find(|&h| levels.get(h).is_some_and(|h| serves(h, level)));
        LevelShape {
            limbs: level.q.len(),
            special: level.p.len(),
            digits: level.q.len().div_ceil(level.alpha.max(1)),
            rescale: [alone, alone + gone(&level.p)],
            bits: [sum(&level.q), sum(&level.q) + sum(&level.p)],
            group: group.unwrap_or(k) + 1,
        }
    };
    levels.iter().enumerate().map(shape).collect()
}
