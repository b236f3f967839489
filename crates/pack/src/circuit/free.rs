//! A linear layer whose input is laid out for it alone and whose results may lie in any slots.

use super::linear::{Linear, Options};
use super::window::{Tap, Window};
use crate::layout::{Axis, Layout};
use crate::slots::{CircuitError, Plain};

/// A linear layer between two people, one of whom sends its input and reads its results: neither has to lie where another
/// layer wants it, so both are laid out for few diagonals (Halevi and Shoup 2014, with rows permuted).
///
/// Channels are blocks whose distance is a power of two, as many to a vector as fit, and what does not fill a vector repeats.
/// The slot of a result is that of an input of its window, so that the rotation of a weight depends on its place in the
/// kernel and on the difference of channels alone; strides either leave their results in place or split the input into
/// phases, a block each. Rows of a dense layer are shared out among copies of its input, and partial sums folded.
///
/// Exact slots have two rows ([`crate::BfvSlots`]), and rotations move both: the first makes the first half of the
/// output channels, the second the others. An odd channel too many is zero. Grouped layers split their groups; where neither
/// works out, rows are equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreeLayer {
    whole: Window,
    /// Rows that differ: 1 or 2.
    rows: usize,
    /// Of one row.
    linear: Linear,
}

/// Layouts of one row, and the fold between them.
struct Way {
    input: Layout,
    output: Layout,
    fold: usize,
}

impl FreeLayer {
    /// The layer `window` over rows of `slots` slots, laid out in way number `index` of [`FreeLayer::count`], with these baby
    /// steps, chained giant steps and folds in quarters (see [`Options`]).
    ///
    /// # Errors
    /// [`CircuitError::Layout`] where there is no such way, or it has too many diagonals.
    pub fn way(
        window: &Window,
        slots: usize,
        index: usize,
        (baby, chained, quarters): (usize, bool, bool),
    ) -> Result<Self, CircuitError> {
        let whole = flattened(window);
        let (part, rows) = part_of_row(&whole);
        let none = CircuitError::Layout { why: "no such way to lay a layer out" };
        let way = layouts(&part, slots).into_iter().nth(index).ok_or(none)?;
        let options = Options { fold: way.fold, spread: 1, baby, chained, quarters };
        let linear = Linear::new(part, &way.input, &way.output, options)?;
        Ok(Self { whole, rows, linear })
    }

    /// How many ways there are: none if one channel is longer than a row, or the layer larger than a layout may be. Some may
    /// turn out to have too many diagonals.
    pub fn count(window: &Window, slots: usize) -> usize {
        layouts(&part_of_row(&flattened(window)).0, slots).len()
    }

    /// The circuit of a row.
    pub fn linear(&self) -> &Linear {
        &self.linear
    }

    /// Input vectors.
    pub fn inputs(&self) -> usize {
        self.linear.input().vectors()
    }

    /// Output vectors.
    pub fn outputs(&self) -> usize {
        self.linear.output().vectors()
    }

    /// The vectors of `x` (row-major), both rows one after the other.
    pub fn spread(&self, x: &[i64]) -> Vec<Vec<i64>> {
        let layout = self.linear.input();
        let own = layout.shape().iter().product::<usize>();
        let row = |r: usize| {
            let from = if own == x.len() { 0 } else { r * own };
            let values = x.get(from..).unwrap_or_default().iter().take(own);
            layout.spread(values.map(|&v| v as f64))
        };
        let join = |(a, b): (Vec<f64>, Vec<f64>)| a.into_iter().chain(b).map(|v| v as i64).collect();
        row(0).into_iter().zip(row(self.rows - 1)).map(join).collect()
    }

    /// Vector and slot (the second row begins at [`Layout::slots`]) of every result, row-major.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let layout = self.linear.output();
        let [m, h, w] = self.whole.output;
        let places = layout.positions();
        let of_row = |r: usize| places.iter().map(move |&(v, slot)| (v, slot + r * layout.slots()));
        (0..self.rows).flat_map(of_row).take(m * h * w).collect()
    }

    /// The results, row-major, from vectors of both rows.
    pub fn gather(&self, vectors: &[Vec<i64>]) -> Vec<i64> {
        let at = |(v, slot): (usize, usize)| vectors.get(v).and_then(|x| x.get(slot)).copied().unwrap_or(0);
        self.places().into_iter().map(at).collect()
    }

    /// The diagonals, in order of use, of weights `[out, in / groups, height, width]`, row-major: values of both rows.
    pub fn diagonals(&self, weights: &[i32]) -> Vec<Plain> {
        let outputs = self.linear.window().output[0];
        let count = self.linear.schedule().plains();
        let of_row = |r: usize| {
            let weight = |tap: Tap| {
                let tap = Tap { out: tap.out + r * outputs, ..tap };
                weights.get(self.whole.index(tap)).map_or(0.0, |&w| w as f32)
            };
            let mut plains = self.linear.plains(weight, 1.0, |_| 0.0);
            plains.truncate(count);
            plains
        };
        let mut all = of_row(0);
        if self.rows == 2 {
            for (first, second) in all.iter_mut().zip(of_row(1)) {
                if let (Plain::Weights { values, .. }, Plain::Weights { values: more, .. }) = (first, second)
                {
                    values.extend(more);
                }
            }
        }
        all
    }

    /// What is added to every output vector, both rows: the bias of its channel (one per output channel) to a result, and what
    /// `mask` gives to every other slot. Slots that hold no result hold sums over parts of a layer's inputs, or copies of
    /// results: who is to learn the results alone must not see them.
    pub fn biases(&self, bias: &[i64], mut mask: impl FnMut() -> i64) -> Vec<Vec<i64>> {
        let [_, h, w] = self.whole.output;
        let slots = 2 * self.linear.output().slots();
        let mut vectors: Vec<Vec<i64>> =
            (0..self.outputs()).map(|_| (0..slots).map(|_| mask()).collect()).collect();
        for (element, (v, slot)) in self.places().into_iter().enumerate() {
            if let Some(at) = vectors.get_mut(v).and_then(|x| x.get_mut(slot)) {
                *at = bias.get(element / (h * w).max(1)).copied().unwrap_or(0);
            }
        }
        vectors
    }
}

/// A layer that reads all of its input at once is one over a vector.
fn flattened(window: &Window) -> Window {
    let [c, h, w] = window.input;
    let dense = window.output[1..] == [1, 1] && window.kernel == [h, w] && window.pads == [0; 2];
    match dense && window.groups == 1 && window.pool == [1, 1] {
        true => Window::dense([c * h * w, 1, 1], window.output[0]),
        false => window.clone(),
    }
}

/// What one of two rows computes, and how many rows differ.
fn part_of_row(whole: &Window) -> (Window, usize) {
    let ([c, ih, iw], [m, oh, ow]) = (whole.input, whole.output);
    match whole.groups {
        0 | 1 if m > 1 => (Window { output: [m.div_ceil(2), oh, ow], ..whole.clone() }, 2),
        groups if groups > 1 && groups.is_multiple_of(2) => {
            let half = Window { input: [c / 2, ih, iw], output: [m / 2, oh, ow], ..whole.clone() };
            (Window { groups: groups / 2, ..half }, 2)
        }
        _ => (whole.clone(), 1),
    }
}

/// Rows and columns of one channel, of input and output, and the distance of channels of either.
struct Grid {
    input: [Axis; 2],
    output: [Axis; 2],
    distance: [usize; 2],
}

/// Results where their window begins.
fn in_place(part: &Window) -> Grid {
    let ([_, h, w], [_, oh, ow], [sy, sx]) = (part.input, part.output, part.stride);
    let last = |n: usize, step: usize| n.saturating_sub(1) * step;
    let pitch = w.max(last(ow, sx) + 1);
    let extent = (last(h, pitch) + w).max(last(oh, sy * pitch) + last(ow, sx) + 1);
    Grid {
        input: [Axis::strided(h, pitch), Axis::strided(w, 1)],
        output: [Axis::strided(oh, sy * pitch), Axis::strided(ow, sx)],
        distance: [extent.next_power_of_two(); 2],
    }
}

/// The input split by what is left of its place modulo the stride, so that results lie side by side.
fn phased(part: &Window) -> Option<Grid> {
    let ([_, h, w], [_, oh, ow], [sy, sx]) = (part.input, part.output, part.stride);
    if sy * sx <= 1 || h * w <= 1 {
        return None;
    }
    let rows = (h + part.pads[0]).div_ceil(sy);
    let columns = (w + part.pads[1]).div_ceil(sx).max(ow);
    let block = (rows.max(oh) * columns).next_power_of_two();
    Some(Grid {
        input: [
            Axis::new(part.pads[0], &[(sy, sx * block), (rows, columns)]),
            Axis::new(part.pads[1], &[(sx, block), (columns, 1)]),
        ],
        output: [Axis::strided(oh, columns), Axis::strided(ow, 1)],
        distance: [(sy * sx).next_power_of_two() * block, block],
    })
}

/// Every way to lay out one row.
fn layouts(part: &Window, slots: usize) -> Vec<Way> {
    let mut found = Vec::new();
    for grid in [Some(in_place(part)), phased(part)].into_iter().flatten() {
        let [unit, block] = grid.distance;
        if unit > slots || part.input[0] == 0 || part.output[0] == 0 {
            continue;
        }
        let channels = part.input[0];
        let each = (slots / unit).min(channels.next_power_of_two());
        let vectors = channels.div_ceil(each);
        let period = if vectors == 1 { each * unit } else { slots };
        let [y, x] = grid.input.clone();
        let axes = [Axis::new(0, &[(each, unit), (vectors, slots)]), y, x];
        let Ok(input) = Layout::new(part.input, slots, vectors, axes, period) else { continue };
        let maps = part.output[0];
        let mut push = |vectors: usize, channels: Axis, period: usize, fold: usize| {
            let [y, x] = grid.output.clone();
            if let Ok(output) = Layout::new(part.output, slots, vectors, [channels, y, x], period) {
                found.push(Way { input: input.clone(), output, fold });
            }
        };
        // All results side by side, as many to a vector as fit.
        let fit = (slots / block).min(maps.next_power_of_two());
        let vectors = maps.div_ceil(fit);
        push(vectors, Axis::new(0, &[(fit, block), (vectors, slots)]), slots, period);
        // Fewer results than there are slots in a period: partial sums, folded.
        let span = maps.next_power_of_two() * block;
        if span < period {
            push(1, Axis::strided(maps, block), span, span);
        }
        // Results shared out among copies of the input.
        let copies = slots / period;
        let mut share = maps.next_power_of_two() / 2;
        while copies > 1 && share > 0 && maps.div_ceil(share) <= copies {
            if share * block < period {
                let channels = Axis::new(0, &[(share, block), (copies, period)]);
                push(1, channels, slots, share * block);
            }
            share /= 2;
        }
    }
    found
}
