//! A linear layer from any layout to any layout.

use super::rotations::{Zero, modulus, rotations, signed};
use super::window::{Pair, Tap, Window};
use crate::layout::{Layout, Places};
use crate::schedule::{Outline, Schedule};
use crate::slots::{CircuitError, Plain, Plains, Scale, Slots};
use std::collections::HashMap;

/// What may be chosen about a [`Linear`] beside its layouts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Options {
    /// Partial sums are made this many slots apart and then folded: diagonals are taken modulo `fold`, which divides
    /// the period of the input. Equal to it: no fold.
    pub fold: usize,
    /// Diagonals that differ modulo this power of two go to different copies of the input and are summed by a skewed
    /// fold; 1: none.
    pub spread: usize,
    /// Rotations below this are baby steps.
    pub baby: usize,
    /// Whether giant steps are chained ([`Schedule`]).
    pub chained: bool,
    /// Whether folds quadruple the sum by three rotations of one decomposition where they can: half the decompositions,
    /// half as many rotations more.
    pub quarters: bool,
}

/// Where the results of a [`Linear`] are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Landing {
    /// No fold: everything at its place.
    Placed,
    /// Folded over all slots: results repeat every `fold` slots.
    Repeated,
    /// Folded inside the block of the row: partial sums elsewhere.
    Blocks,
    /// Spread over copies: results in the first `fold` slots, partial sums elsewhere.
    Spread,
}

/// `y = W·x + b` by generalised diagonals.
///
/// Let in(j) and out(i) be the slots of elements, p the period of the input, f the fold. The product
/// `W[i, j]·x_j` uses the rotation d = (in(j) − out(i)) mod f and lands at a slot ≡ out(i) mod f from which d leads to a
/// copy of x_j; if f < p the partial sums then lie f apart within p slots and log2(p/f) rotations add them (hybrid
/// diagonals, Juvekar et al. 2018). With `spread` T, rotation d is split into d mod T, for which copy d mod T of the
/// input stands in, and the rest; log2 T rotations by (p + 1)·2^e bring the copies together.
///
/// Inner copies of the input, S slots apart and together f slots long, stand in for one another: diagonals are then taken
/// modulo S, and which copy is read follows from where the result is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Linear {
    window: Window,
    input: Layout,
    output: Layout,
    options: Options,
    landing: Landing,
    /// Rotations from each input vector to each output vector.
    steps: Vec<Vec<Vec<i64>>>,
    schedule: Schedule,
}

/// By pair of vectors.
type Diagonals = HashMap<(usize, usize), Vec<(usize, usize, usize)>>;

/// The most pairs of channels of a layer.
const MAX_CHANNEL_PAIRS: usize = 1 << 24;
/// The most pairs of rows, or of columns.
const MAX_CELLS: usize = 1 << 18;
/// The most rotations of a layer.
const MAX_ROTATIONS: usize = 1 << 16;

impl Linear {
    /// The layer `window` from `input` to `output`.
    ///
    /// The period of `output` says which of the results is meant: with a fold, the period `fold` repeats the
    /// results everywhere; a period of all slots leaves partial sums in between. Without a fold, the period is a
    /// multiple of that of the input.
    ///
    /// # Errors
    /// [`CircuitError::Layout`] when shapes, periods and options do not fit together.
    pub fn new(
        window: Window,
        input: &Layout,
        output: &Layout,
        options: Options,
    ) -> Result<Self, CircuitError> {
        Self::build(window, input, output, options, None)
    }

    /// As [`Linear::new`], without the diagonals all of whose weights are `zero`: neither their plaintexts nor the
    /// rotations that only they need. An output vector that no other weight leads to keeps one plaintext of zeros, so
    /// that there is something to add its bias to.
    ///
    /// # Errors
    /// As [`Linear::new`], and for a layer with more weights than may be looked through.
    pub fn sparse(
        window: Window,
        input: &Layout,
        output: &Layout,
        options: Options,
        zero: impl Fn(Tap) -> bool,
    ) -> Result<Self, CircuitError> {
        Self::build(window, input, output, options, Some(&zero))
    }

    fn build(
        window: Window,
        input: &Layout,
        output: &Layout,
        options: Options,
        zero: Option<Zero<'_>>,
    ) -> Result<Self, CircuitError> {
        let bad = |why: &'static str| CircuitError::Layout { why };
        let (slots, p) = (input.slots(), input.period());
        let Options { fold, spread, baby, chained, quarters } = options;
        if input.shape() != window.input || output.shape() != window.output || output.slots() != slots {
            return Err(bad("the layouts are not those of the layer's tensors"));
        }
        if !fold.is_power_of_two() || fold > p || !spread.is_power_of_two() || spread > fold || baby == 0 {
            return Err(bad("fold and spread must be powers of two, the fold at most the input's period"));
        }
        if output.inner_copies().radix > 1 || input.inner_copies().radix > 1 && spread > 1 {
            return Err(bad("inner copies are for inputs that are not spread"));
        }
        if window.channel_pairs() > MAX_CHANNEL_PAIRS || (0..2).any(|a| window.cells_along(a) > MAX_CELLS) {
            return Err(bad("a layer with too many weights"));
        }
        let within =
            |limit: usize, modulo: usize| output.positions().iter().all(|&(_, slot)| slot % modulo < limit);
        let landing = match (fold == p, output.period()) {
            _ if spread > 1 => {
                let fits = output.period() == slots && within(fold, slots) && spread * (p + 1) <= slots;
                fits.then_some(Landing::Spread).ok_or(bad("too few copies for the spread"))?
            }
            (true, period) if period >= p => Landing::Placed,
            (false, period) if period == fold => Landing::Repeated,
            (false, period) if period == slots && within(fold, p) => Landing::Blocks,
            _ => return Err(bad("the output's period fits neither fold nor input")),
        };
        let mut folds: Vec<usize> = powers(spread).map(|t| t * (p + 1)).collect();
        folds.extend(powers(p / fold).map(|t| t * fold));
        let folds = stages(&folds, quarters);
        let steps = rotations(&window, input, output, (fold, spread), zero)?;
        let outline = Outline::new(slots, &steps, baby, chained, &folds);
        if outline.rotations.iter().sum::<usize>() > MAX_ROTATIONS {
            return Err(bad("a layer with too many rotations"));
        }
        let schedule = Schedule::new(slots, input.vectors(), &steps, baby, chained, folds);
        Ok(Self { window, input: input.clone(), output: output.clone(), options, landing, steps, schedule })
    }

    /// What it would cost with other baby steps, giant steps and folds.
    pub fn outline_with(&self, baby: usize, chained: bool, quarters: bool) -> Outline {
        let folds: Vec<usize> = self.schedule.folds.iter().flat_map(|s| s.iter().take(2)).copied().collect();
        Outline::new(self.input.slots(), &self.steps, baby, chained, &stages(&folds, quarters))
    }

    /// Where the results are.
    pub fn output(&self) -> &Layout {
        &self.output
    }

    /// Where the input is.
    pub fn input(&self) -> &Layout {
        &self.input
    }

    /// As a matrix.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// As chosen.
    pub fn options(&self) -> Options {
        self.options
    }

    /// The rotations.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether slots that hold no result are zero.
    pub fn is_clean(&self) -> bool {
        matches!(self.landing, Landing::Placed | Landing::Repeated)
    }

    /// Plaintexts: one per diagonal, and a bias per output vector.
    pub fn plain_count(&self) -> usize {
        self.schedule.plains() + self.output.vectors()
    }

    /// The most diagonals that one slot of the results sums over, those that have no weight there included: plaintexts
    /// are rounded in every slot, so each adds its rounding, and each fold adds that of twice as many slots.
    pub fn terms(&self) -> usize {
        let diagonals =
            |groups: &Vec<crate::schedule::Group>| groups.iter().map(|g| g.terms.len()).sum::<usize>();
        let most = self.schedule.outputs.iter().map(diagonals).max().unwrap_or(0);
        most * self.schedule.folded()
    }

    /// The plaintexts in order of use: diagonals, then biases (at the scale of the result). `weight` and `bias` (per
    /// output channel) are multiplied by `weight_factor` and `bias_factor`. Weights that were said to be zero must be.
    pub fn plains(
        &self,
        weight: impl Fn(Tap) -> f32,
        weight_factor: f64,
        bias: impl Fn([usize; 3]) -> f64,
    ) -> Vec<Plain> {
        let slots = self.input.slots();
        let mut vectors: Vec<Vec<f32>> = vec![vec![0.0; slots]; self.schedule.plains()];
        self.for_each_product(|index, slot, tap| {
            if let Some(w) = vectors.get_mut(index).and_then(|v| v.get_mut(slot)) {
                *w = weight(tap);
            }
        });
        let factor = weight_factor / self.window.cells() as f64;
        let mut plains: Vec<Plain> =
            vectors.into_iter().map(|values| Plain::Weights { values, factor }).collect();
        let mut biases = vec![vec![0.0; slots]; self.output.vectors()];
        let [_, h, w] = self.window.output;
        for (element, (v, slot)) in self.output.positions().into_iter().enumerate() {
            let value = bias([element / (h * w), element / w % h, element % w]);
            if let Some(vector) = biases.get_mut(v) {
                vector.iter_mut().skip(slot).step_by(self.output.period()).for_each(|b| *b = value);
            }
        }
        plains.extend(biases.into_iter().map(Plain::Slots));
        plains
    }

    /// Calls `f` with plaintext, slot and weight of every product.
    fn for_each_product(&self, mut f: impl FnMut(usize, usize, Tap)) {
        let (Some(ins), Some(outs)) = (self.input.places(), self.output.places()) else { return };
        let (s, p) = (self.input.slots(), self.input.period());
        let Options { fold, spread, .. } = self.options;
        let index = self.plain_index();
        // Of one pair of vectors: a pair of channels lies in one.
        let mut places: Vec<Option<(usize, usize)>> = vec![None; s];
        let mut pair = None;
        let (modulo, inner) = modulus(&self.input, fold);
        let (rows, columns): (Vec<Pair>, Vec<Pair>) =
            (self.window.cells_of(0).collect(), self.window.cells_of(1).collect());
        for c in self.window.channels() {
            for &y in &rows {
                for &x in &columns {
                    let tap = self.window.tap(c, y, x);
                    let (u, from) = split(&ins, c.input, y.input, x.input);
                    let (v, to) = split(&outs, c.output, y.output, x.output);
                    let d = (from + s - to) % modulo;
                    let (copy, step) = (d % spread, d - d % spread);
                    let step = signed(step, modulo, p).rem_euclid(s as i64) as usize;
                    if pair != Some((v, u)) {
                        let of = |pair: Option<(usize, usize)>| {
                            pair.and_then(|p| index.get(&p)).into_iter().flatten()
                        };
                        of(pair).for_each(|&(step, ..)| places[step] = None);
                        pair = Some((v, u));
                        of(pair).for_each(|&(step, at, giant)| places[step] = Some((at, giant)));
                    }
                    let Some((at, giant)) = places[step] else { continue };
                    let from = match inner {
                        None => from,
                        Some(copies) => from + (to + d + s - from) / modulo % copies * modulo,
                    };
                    let inner = (from + s - d) % p;
                    let (first, distance) = match self.landing {
                        Landing::Placed => (to, self.output.period()),
                        Landing::Repeated => (inner, p),
                        Landing::Blocks => (to - to % p + inner, s),
                        Landing::Spread => (inner + copy * (p + 1), s),
                    };
                    let mut k = first;
                    while k < first + s {
                        f(at, (k + giant) % s, tap);
                        k += distance;
                    }
                }
            }
        }
    }

    /// By output vector and input vector: rotations, each with its plaintext and giant step.
    fn plain_index(&self) -> Diagonals {
        let mut index = Diagonals::new();
        let mut next = 0;
        for (v, groups) in self.schedule.outputs.iter().enumerate() {
            for g in groups {
                for &(u, i) in &g.terms {
                    let baby = self.schedule.babies.get(u).and_then(|b| b.get(i)).copied().unwrap_or(0);
                    let step = (g.giant + baby) % self.input.slots();
                    index.entry((v, u)).or_default().push((step, next, g.giant));
                    next += 1;
                }
            }
        }
        index
    }

    /// W·x alone, rescaled, at scale `target`; `diagonals` are [`Linear::plains`] without the biases at their end.
    pub fn product<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        diagonals: &[S::Pt],
        target: Scale,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let xs: Vec<&S::Ct> = xs.iter().collect();
        s.linear(&xs, &self.schedule, &diagonals.iter().collect::<Vec<_>>(), target)
    }

    /// Runs it: rescaled, at scale `target`.
    pub fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &mut Plains<'_, S::Pt>,
        target: Scale,
    ) -> Result<Vec<S::Ct>, S::Error> {
        let xs: Vec<&S::Ct> = xs.iter().collect();
        let diagonals = plains.take_many(self.schedule.plains())?;
        let mut ys = s.linear(&xs, &self.schedule, &diagonals, target)?;
        for y in &mut ys {
            s.add_plain_assign(y, plains.take()?)?;
        }
        Ok(ys)
    }
}

/// Folds one after the other, or two by two.
fn stages(folds: &[usize], quarters: bool) -> Vec<Vec<usize>> {
    let stage = |pair: &[usize]| match *pair {
        [a, b] => vec![a, b, a + b],
        ref one => one.to_vec(),
    };
    folds.chunks(if quarters { 2 } else { 1 }).map(stage).collect()
}

/// 1, 2, 4, … below `n`.
fn powers(n: usize) -> impl Iterator<Item = usize> {
    (0..n.ilog2()).map(|e| 1 << e)
}

fn split(places: &Places, c: usize, y: usize, x: usize) -> (usize, usize) {
    let at: u64 = places.axes.iter().zip([c, y, x]).filter_map(|(axis, i)| axis.get(i)).sum();
    ((at / places.slots()) as usize, (at % places.slots()) as usize)
}
