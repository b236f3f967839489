//! Slots without values: what a circuit costs, which keys and plaintexts it needs, and at which levels.

use crate::batch::{BatchSlots, Place, Then, equally_many, members, place_fits};
use crate::schedule::Schedule;
use crate::slots::{CircuitError, MulSlots, Scale, Slots};
use oblivia_he::{HeError, KeyRequest, OpCounts, Params};

/// Shape of a modulus chain, as far as costs depend on it.
#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    /// Slots of a vector.
    pub slots: usize,
    /// From level 1 on.
    pub levels: Vec<ChainLevel>,
}

/// One level of a [`Chain`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ChainLevel {
    /// What a rescale divides by.
    pub divisor: f64,
    /// Primes of the modulus.
    pub limbs: usize,
    /// Special primes.
    pub special: usize,
    /// Digits of key switching.
    pub digits: usize,
    /// Primes that a rescale takes away, alone and together with the special ones.
    pub dropped: [usize; 2],
    /// The lowest level that primes can be forgotten down to.
    pub lowest: usize,
}

impl Chain {
    /// That of `params`.
    pub fn of(params: &Params) -> Result<Self, HeError> {
        let level = |l: usize| {
            let from = |low: &usize| params.serves(l, *low, false);
            Ok::<_, HeError>(ChainLevel {
                divisor: params.rescale_divisor(l)?,
                limbs: params.basis(l)?.limbs(),
                special: params.special(l)?.limbs(),
                digits: params.digits(l)?,
                dropped: params.dropped_primes(l)?,
                lowest: (1..=l).rev().take_while(from).last().unwrap_or(l),
            })
        };
        let levels = (1..=params.max_level()).map(level).collect::<Result<_, HeError>>()?;
        Ok(Self { slots: params.slots(), levels })
    }

    /// One prime per level, the first one dropped last, and everywhere the same special ones and `digit` primes per digit.
    pub fn plain(slots: usize, primes: &[u64], special: usize, digit: usize) -> Self {
        let level = |(l, &prime): (usize, &u64)| ChainLevel {
            divisor: prime as f64,
            limbs: l,
            special,
            digits: l.div_ceil(digit),
            dropped: [1, special + 1],
            lowest: 1,
        };
        Self { slots, levels: (1..).zip(primes).map(level).collect() }
    }

    fn at(&self, level: usize) -> Result<&ChainLevel, CircuitError> {
        let deep = CircuitError::TooDeep { levels: self.levels.len() };
        level.checked_sub(1).and_then(|l| self.levels.get(l)).ok_or(deep)
    }

    /// Level `level` and the primes of the one below it.
    fn step(&self, level: usize) -> Result<(&ChainLevel, usize), CircuitError> {
        Ok((self.at(level)?, self.at(level.wrapping_sub(1))?.limbs))
    }

    /// Transforms of switching a key with a decomposition of its own: (d + 2)(ℓ + k) (cookbook §4).
    fn switch_ntts(&self, level: usize) -> Result<u64, CircuitError> {
        let at = self.at(level)?;
        Ok(at.decompose_ntts() + at.mod_down_ntts())
    }

    /// Of both halves of a division by P and to the level below.
    fn merged_ntts(&self, level: usize) -> Result<u64, CircuitError> {
        let (at, below) = self.step(level)?;
        Ok(2 * (at.dropped[1] + below) as u64)
    }

    /// Of both halves of a rescale.
    fn rescale_ntts(&self, level: usize) -> Result<u64, CircuitError> {
        let (at, below) = self.step(level)?;
        Ok(2 * (at.dropped[0] + below) as u64)
    }
}

impl ChainLevel {
    fn decompose_ntts(&self) -> u64 {
        (self.digits * (self.limbs + self.special)) as u64
    }

    /// Of both halves of a division by P.
    fn mod_down_ntts(&self) -> u64 {
        2 * (self.limbs + self.special) as u64
    }
}

/// A plaintext as a circuit uses it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PlainUse {
    /// The level where it is used.
    pub level: usize,
    /// Its scale.
    pub scale: Scale,
    /// Whether it is used modulo QP, by [`Slots::linear`].
    pub extended: bool,
}

/// A vector the counter tracks: level and scale.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Traced {
    /// Level.
    pub level: usize,
    /// Scale.
    pub scale: Scale,
}

/// Runs circuits without values.
#[derive(Clone, Debug)]
pub struct Counter {
    chain: Chain,
    exact: bool,
    counts: OpCounts,
    keys: KeyRequest,
    uses: Vec<PlainUse>,
}

impl Counter {
    /// A counter at zero.
    pub fn new(chain: Chain) -> Self {
        Self { chain, exact: false, counts: OpCounts::default(), keys: KeyRequest::new(), uses: Vec::new() }
    }

    /// As [`Counter::new`] for exact arithmetic: a scale is the integer that 1 is stored as, and dropping a prime leaves
    /// it alone (see [`crate::BfvSlots`]).
    pub fn exact(chain: Chain) -> Self {
        Self { exact: true, ..Self::new(chain) }
    }

    /// A fresh vector.
    pub fn input(&self, level: usize, scale: Scale) -> Traced {
        Traced { level, scale }
    }

    /// Numbers of operations so far.
    pub fn counts(&self) -> OpCounts {
        self.counts
    }

    /// The evaluation keys used so far, each with its levels of use.
    pub fn keys(&self) -> &KeyRequest {
        &self.keys
    }

    /// The plaintexts in order of use.
    pub fn plains(&self) -> &[PlainUse] {
        &self.uses
    }

    /// Counts transforms that no operation of [`Slots`] makes.
    pub fn count_ntts(&mut self, ntts: u64) {
        self.counts.ntt += ntts;
    }

    /// What a rescale at `level` divides scales by.
    fn divisor(&self, level: usize) -> Result<f64, CircuitError> {
        let (at, _) = self.chain.step(level)?;
        Ok(if self.exact { 1.0 } else { at.divisor })
    }

    fn dot(&mut self, xs: &[&Traced], plains: usize, target: Scale) -> Result<Traced, CircuitError> {
        let first = match xs.first() {
            Some(x) if xs.len() == plains => **x,
            _ => {
                let (expected, found) = (xs.len(), plains);
                return Err(CircuitError::Count { what: "plaintexts of a sum of products", expected, found });
            }
        };
        for x in xs {
            same("a sum of products", &first, x)?;
        }
        let product = Scale(target.0 * self.divisor(first.level)?);
        let scale = Scale(product.0 / first.scale.0);
        self.uses.extend((0..plains).map(|_| PlainUse { level: first.level, scale, extended: false }));
        self.counts.add += xs.len() as u64 - 1;
        Ok(Traced { level: first.level, scale: product })
    }
}

fn same(op: &'static str, a: &Traced, b: &Traced) -> Result<(), CircuitError> {
    if a == b {
        return Ok(());
    }
    let show = |t: &Traced| format!("level {} scale 2^{:.3}", t.level, t.scale.0.log2());
    Err(CircuitError::Mismatch { op, left: show(a), right: show(b) })
}

impl Slots for Counter {
    type Ct = Traced;
    type Pt = ();
    type Error = CircuitError;

    fn slots(&self) -> usize {
        self.chain.slots
    }

    fn scale_of(&self, x: &Traced) -> Option<Scale> {
        Some(x.scale)
    }

    fn rotate(&mut self, x: &Traced, left: usize) -> Result<Traced, CircuitError> {
        let left = left % self.chain.slots;
        if left != 0 {
            self.keys.need_rotation(left, x.level);
            self.counts.rotations += 1;
            self.counts.ntt += self.chain.switch_ntts(x.level)?;
        }
        Ok(*x)
    }

    fn rotate_hoisted(&mut self, x: &Traced, lefts: &[usize]) -> Result<Vec<Traced>, CircuitError> {
        let moved: Vec<usize> = lefts.iter().map(|r| r % self.chain.slots).filter(|&r| r != 0).collect();
        if !moved.is_empty() {
            self.counts.ntt += self.chain.at(x.level)?.decompose_ntts();
        }
        for &left in &moved {
            self.keys.need_rotation(left, x.level);
            self.counts.hoisted += 1;
            self.counts.ntt += self.chain.at(x.level)?.mod_down_ntts();
        }
        Ok(vec![*x; lefts.len()])
    }

    fn add_assign(&mut self, x: &mut Traced, y: &Traced) -> Result<(), CircuitError> {
        same("an addition", x, y)?;
        self.counts.add += 1;
        Ok(())
    }

    fn add_lowered(&mut self, x: &Traced, y: &Traced) -> Result<Traced, CircuitError> {
        let level = x.level.min(y.level);
        if level < self.chain.at(x.level.max(y.level))?.lowest {
            let show = |t: &Traced| format!("level {}", t.level);
            let op = "a sum at a level whose primes are not among those of the other operand";
            return Err(CircuitError::Mismatch { op, left: show(x), right: show(y) });
        }
        if self.exact && x.level != y.level {
            // The factor modulo t is brought along: a scalar, and a switch from the level above.
            self.counts.scalar_mul += 1;
            self.counts.rescale += 1;
            self.counts.ntt += self.chain.rescale_ntts(level + 1)?;
        }
        let mut x = Traced { level, ..*x };
        self.add_assign(&mut x, &Traced { level, ..*y })?;
        Ok(x)
    }

    fn add_plain_assign(&mut self, x: &mut Traced, (): &()) -> Result<(), CircuitError> {
        self.uses.push(PlainUse { level: x.level, scale: x.scale, extended: false });
        self.counts.add += 1;
        Ok(())
    }

    fn dot_plain(&mut self, xs: &[&Traced], ps: &[&()], target: Scale) -> Result<Traced, CircuitError> {
        self.counts.pt_mul += xs.len() as u64;
        self.dot(xs, ps.len(), target)
    }

    fn dot_scalars(
        &mut self,
        xs: &[&Traced],
        rows: &[Vec<&()>],
        target: Scale,
    ) -> Result<Vec<Traced>, CircuitError> {
        self.counts.scalar_mul += (rows.len() * xs.len()) as u64;
        rows.iter().map(|ps| self.dot(xs, ps.len(), target)).collect()
    }

    /// Transforms as cookbook §4 states for double hoisting: d(ℓ+k) per rotated input, (d+1)(ℓ+k) per giant step
    /// and stage of folds, and per output those of the division by P and to the level below at once, 2(ℓ+k) in a plain
    /// chain.
    fn linear(
        &mut self,
        xs: &[&Traced],
        schedule: &Schedule,
        plains: &[&()],
        target: Scale,
    ) -> Result<Vec<Traced>, CircuitError> {
        schedule.check(xs.len(), plains.len())?;
        let Some(first) = xs.first().map(|x| **x) else { return Ok(Vec::new()) };
        for x in xs {
            same("a matrix product", &first, x)?;
        }
        let level = first.level;
        let product = Scale(target.0 * self.divisor(level)?);
        let scale = Scale(product.0 / first.scale.0);
        for babies in &schedule.babies {
            let moved: Vec<usize> = babies.iter().copied().filter(|&b| b != 0).collect();
            if !moved.is_empty() {
                self.counts.ntt += self.chain.at(level)?.decompose_ntts();
            }
            self.counts.hoisted += moved.len() as u64;
            moved.iter().for_each(|&b| self.keys.need_rotation(b, level));
        }
        let giant = self.chain.at(level)?.decompose_ntts() + self.chain.at(level)?.mod_down_ntts() / 2;
        for groups in &schedule.outputs {
            if groups.is_empty() {
                return Err(CircuitError::Count { what: "diagonals", expected: 1, found: 0 });
            }
            for g in groups {
                self.counts.pt_mul += g.terms.len() as u64;
                self.counts.add += g.terms.len() as u64 - 1;
            }
            self.counts.add += groups.len() as u64 - 1;
            for &step in groups.iter().flat_map(|g| &g.turns) {
                self.keys.need_rotation(step, level);
                self.counts.rotations += 1;
                self.counts.ntt += giant;
            }
            for stage in &schedule.folds {
                stage.iter().for_each(|&step| self.keys.need_rotation(step, level));
                self.counts.rotations += stage.len() as u64;
                self.counts.add += stage.len() as u64;
                self.counts.ntt += giant;
            }
            self.counts.rescale += 1;
            self.counts.ntt += self.chain.merged_ntts(level)?;
        }
        self.uses.extend(plains.iter().map(|_| PlainUse { level, scale, extended: true }));
        Ok(vec![Traced { level: level - 1, scale: target }; schedule.outputs.len()])
    }

    fn square_rescale(&mut self, x: &Traced) -> Result<Traced, CircuitError> {
        let q = self.divisor(x.level)?;
        self.counts.ct_mul += 1;
        self.counts.relin += 1;
        self.counts.rescale += 1;
        self.counts.ntt += self.chain.at(x.level)?.decompose_ntts() + self.chain.merged_ntts(x.level)?;
        self.keys.need_relin(x.level);
        Ok(Traced { level: x.level - 1, scale: Scale(x.scale.0 * x.scale.0 / q) })
    }

    fn square(&mut self, x: &Traced) -> Result<Traced, CircuitError> {
        self.counts.ct_mul += 1;
        self.counts.relin += 1;
        self.counts.ntt += self.chain.switch_ntts(x.level)?;
        self.keys.need_relin(x.level);
        Ok(Traced { level: x.level, scale: Scale(x.scale.0 * x.scale.0) })
    }

    fn rescale(&mut self, x: &Traced) -> Result<Traced, CircuitError> {
        let q = self.divisor(x.level)?;
        self.counts.rescale += 1;
        self.counts.ntt += self.chain.rescale_ntts(x.level)?;
        Ok(Traced { level: x.level - 1, scale: Scale(x.scale.0 / q) })
    }
}

impl MulSlots for Counter {
    fn inner_product(&mut self, xs: &[&Traced], ys: &[&Traced]) -> Result<Traced, CircuitError> {
        equally_many(xs.len(), ys.len())?;
        let (Some(x), Some(y)) = (xs.first(), ys.first()) else {
            return Err(CircuitError::Count { what: "vectors", expected: 1, found: 0 });
        };
        for (a, b) in xs.iter().map(|a| (x, a)).chain(ys.iter().map(|b| (y, b))) {
            same("a sum of products", a, b)?;
        }
        same("a product", x, &Traced { scale: x.scale, ..**y })?;
        self.counts.ct_mul += xs.len() as u64;
        self.counts.add += xs.len() as u64 - 1;
        self.counts.relin += 1;
        self.counts.ntt += self.chain.switch_ntts(x.level)?;
        self.keys.need_relin(x.level);
        Ok(Traced { level: x.level, scale: Scale(x.scale.0 * y.scale.0) })
    }
}

/// A matrix as [`Counter`] knows it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TracedMap {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    like: Traced,
    product: Scale,
}

impl BatchSlots for Counter {
    type Map = TracedMap;

    fn map(
        &mut self,
        rows: &[Vec<&()>],
        bias: &[&()],
        like: &Traced,
        target: Scale,
    ) -> Result<TracedMap, CircuitError> {
        let columns = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|r| r.len() != columns) || bias.len() != rows.len() {
            let (expected, found) = (rows.len(), bias.len());
            return Err(CircuitError::Count {
                what: "biases of a map, its rows being equally long",
                expected,
                found,
            });
        }
        let product = Scale(target.0 * self.divisor(like.level)?);
        let weight = PlainUse { level: like.level, scale: Scale(product.0 / like.scale.0), extended: false };
        self.uses.extend((0..rows.len() * columns).map(|_| weight));
        let bias = PlainUse { level: like.level, scale: product, extended: false };
        self.uses.extend((0..rows.len()).map(|_| bias));
        Ok(TracedMap { rows: rows.len(), columns, like: *like, product })
    }

    fn apply(
        &mut self,
        xs: &[&Traced],
        map: &TracedMap,
        places: &[Place],
        then: Then,
    ) -> Result<Vec<Traced>, CircuitError> {
        for x in xs {
            same("a map", &map.like, x)?;
        }
        let mut out = Vec::with_capacity(places.len() * map.rows);
        for place in places {
            place_fits(place, map.columns, xs.len())?;
            let terms = (place.inputs.len() * map.rows) as u64;
            self.counts.scalar_mul += terms;
            // A sum of k products is k − 1 additions; the bias is one more.
            self.counts.add += if terms > 0 { terms } else { map.rows as u64 };
            for _ in 0..map.rows {
                out.push(self.rescale(&Traced { level: map.like.level, scale: map.product })?);
            }
        }
        match then {
            Then::Keep => Ok(out),
            Then::Square => self.square_rescale_all(out),
        }
    }

    fn square_rescale_all(&mut self, xs: Vec<Traced>) -> Result<Vec<Traced>, CircuitError> {
        xs.iter().map(|x| self.square_rescale(x)).collect()
    }

    fn sum_at(&mut self, xs: &[Traced], groups: &[Vec<usize>]) -> Result<Vec<Traced>, CircuitError> {
        groups
            .iter()
            .map(|group| {
                let (first, others) = members(xs, group)?;
                for x in others {
                    same("a sum", first, x)?;
                    self.counts.add += 1;
                }
                Ok(*first)
            })
            .collect()
    }

    fn add_assign_all(&mut self, xs: &mut [Traced], ys: &[Traced]) -> Result<(), CircuitError> {
        equally_many(xs.len(), ys.len())?;
        xs.iter_mut().zip(ys).try_for_each(|(x, y)| self.add_assign(x, y))
    }
}
