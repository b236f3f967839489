//! Where the elements of a tensor lie in vectors of slots.

use crate::slots::CircuitError;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_nn::Shape;

/// One digit of an index: `radix` values, each `stride` slots after the one before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digit {
    /// Number of values.
    pub radix: u32,
    /// Slots between neighbouring values.
    pub stride: u32,
}

/// How the indices of one axis of a tensor become slots: index + `offset` is written in mixed radix, least
/// significant digit first, and every digit moves by its stride.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Axis {
    /// Added to every index.
    pub offset: u32,
    /// Least significant first.
    pub digits: Vec<Digit>,
}

impl Axis {
    /// Neighbouring indices `stride` apart.
    pub fn strided(len: usize, stride: usize) -> Self {
        Self::new(0, &[(len, stride)])
    }

    /// From `(radix, stride)` pairs.
    pub fn new(offset: usize, digits: &[(usize, usize)]) -> Self {
        let digit = |&(radix, stride): &(usize, usize)| Digit { radix: radix as u32, stride: stride as u32 };
        Self { offset: offset as u32, digits: digits.iter().map(digit).collect() }
    }

    /// Address of each of `len` indices; `None` where an index has more digits than there are.
    fn addresses(&self, len: usize) -> Option<Vec<u64>> {
        (0..len as u64)
            .map(|i| {
                let mut rest = i + u64::from(self.offset);
                let mut at = 0u64;
                for d in &self.digits {
                    let radix = u64::from(d.radix.max(1));
                    at += rest % radix * u64::from(d.stride);
                    rest /= radix;
                }
                (rest == 0).then_some(at)
            })
            .collect()
    }
}

/// Places the elements of a `[channels, height, width]` tensor (a vector of n features is `[n, 1, 1]`) in
/// `vectors` vectors of `slots` slots: element (c, y, x) is at address a_c + a_y + a_x, vector address / slots, slot
/// address mod slots, and again at all distances that are multiples of `period`. Between periods there may be
/// [inner copies](Self::with_inner_copies) too.
///
/// | representation | digits |
/// |---|---|
/// | dense | one per axis, row-major |
/// | stacked, interleaved | channels after or between positions |
/// | convolution (client-side im2col) | a tap is a channel, one vector or block per tap |
/// | phase-packed | y and x split by the stride: (y mod s) and (x mod s) become blocks |
/// | multiplexed | channels fill the gaps that strides leave: c = (c_hi, c_y, c_x) |
/// | replicated | a `period` below the number of slots |
/// | replicated inside | inner copies between the blocks of channels or phases |
/// | batch | every element a vector of its own, slots are samples |
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    shape: [usize; 3],
    slots: usize,
    vectors: usize,
    axes: [Axis; 3],
    period: usize,
    inner: Digit,
}

/// No inner copies.
const ALONE: Digit = Digit { radix: 1, stride: 0 };

/// The most elements of a tensor with a layout.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// The most vectors of a layout.
pub const MAX_VECTORS: usize = 1 << 8;

impl Layout {
    /// A layout, if every element has a place of its own.
    ///
    /// # Errors
    /// [`CircuitError::Layout`] when `slots` or `period` is not a power of two, the period is longer than a vector, a
    /// channel is split over two vectors, an element falls outside the vectors or beyond the period, or two elements
    /// share a slot.
    pub fn new(
        shape: [usize; 3],
        slots: usize,
        vectors: usize,
        axes: [Axis; 3],
        period: usize,
    ) -> Result<Self, CircuitError> {
        Self { shape, slots, vectors, axes, period, inner: ALONE }.checked()
    }

    /// The same elements `radix` times, `stride` slots apart, before they repeat with the period.
    ///
    /// # Errors
    /// As [`Layout::new`], and when `radix` or `stride` is not a power of two.
    pub fn with_inner_copies(&self, radix: usize, stride: usize) -> Result<Self, CircuitError> {
        let inner = match radix {
            1 => ALONE,
            _ => Digit { radix: radix as u32, stride: stride as u32 },
        };
        Self { inner, ..self.clone() }.checked()
    }

    fn checked(self) -> Result<Self, CircuitError> {
        let Self { shape, slots, vectors, period, inner, .. } = self;
        let layout = self;
        let bad = |why: &'static str| CircuitError::Layout { why };
        if !slots.is_power_of_two() || !period.is_power_of_two() || period > slots {
            return Err(bad("slots and period must be powers of two, the period at most the slots"));
        }
        let powers = inner == ALONE || inner.radix.is_power_of_two() && inner.stride.is_power_of_two();
        if !powers || u64::from(inner.radix) * u64::from(inner.stride) > period as u64 {
            return Err(bad("inner copies and their distance must be powers of two within the period"));
        }
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if !(1..=MAX_VECTORS).contains(&vectors) || elements.is_none_or(|n| !(1..=MAX_ELEMENTS).contains(&n))
        {
            return Err(bad("too many elements or vectors"));
        }
        let places = layout.places().ok_or(bad("an index has more digits than its axis"))?;
        let longest = |axis: &[u64]| axis.iter().max().copied().unwrap_or(0);
        let [channels, height, width] = &places.axes;
        let position = longest(height) + longest(width);
        if channels.iter().any(|c| c % slots as u64 + position >= slots as u64) {
            return Err(bad("a channel is split over two vectors"));
        }
        let mut taken = vec![false; vectors * slots];
        let copy = |r: u32| u64::from(r) * u64::from(inner.stride);
        for at in places.all().flat_map(|at| (0..inner.radix).map(move |r| at + copy(r))) {
            if at % slots as u64 >= period as u64 {
                return Err(bad("an element lies beyond the period"));
            }
            match taken.get_mut(at as usize) {
                Some(t) if !*t => *t = true,
                Some(_) => return Err(bad("two elements share a slot")),
                None => return Err(bad("an element lies outside the vectors")),
            }
        }
        Ok(layout)
    }

    /// A feature vector, neighbours `stride` apart from slot 0 on.
    pub fn features(n: usize, slots: usize, stride: usize, period: usize) -> Result<Self, CircuitError> {
        let axes = [Axis::strided(n, stride), Axis::default(), Axis::default()];
        Self::new([n, 1, 1], slots, 1, axes, period)
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Slots per vector.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// Distance of copies.
    pub fn period(&self) -> usize {
        self.period
    }

    /// Copies inside the period: how many, and how far apart.
    pub fn inner_copies(&self) -> Digit {
        self.inner
    }

    /// The axes.
    pub fn axes(&self) -> &[Axis; 3] {
        &self.axes
    }

    /// The same places repeated at another distance.
    pub fn with_period(&self, period: usize) -> Result<Self, CircuitError> {
        Self { period, ..self.clone() }.checked()
    }

    /// Addresses by axis.
    pub(crate) fn places(&self) -> Option<Places> {
        let [c, h, w] = &self.axes;
        Some(Places {
            slots: self.slots as u64,
            axes: [c.addresses(self.shape[0])?, h.addresses(self.shape[1])?, w.addresses(self.shape[2])?],
        })
    }

    /// Vector and slot of every element, in row-major order.
    pub fn positions(&self) -> Vec<(usize, usize)> {
        let split = |at: u64| ((at / self.slots as u64) as usize, (at % self.slots as u64) as usize);
        self.places().map_or_else(Vec::new, |p| p.all().map(split).collect())
    }

    /// The vectors of `values` (row-major), zeros where there is no element.
    pub fn spread(&self, values: impl IntoIterator<Item = f64>) -> Vec<Vec<f64>> {
        let mut vectors = vec![vec![0.0; self.slots]; self.vectors];
        for ((v, slot), value) in self.positions().into_iter().zip(values) {
            let Some(vector) = vectors.get_mut(v) else { continue };
            for r in 0..self.inner.radix as usize {
                let first = slot + r * self.inner.stride as usize;
                vector.iter_mut().skip(first).step_by(self.period).for_each(|s| *s = value);
            }
        }
        vectors
    }

    /// The elements of the first copy, row-major.
    pub fn gather(&self, vectors: &[Vec<f64>]) -> Vec<f64> {
        let at = |(v, slot): (usize, usize)| vectors.get(v).and_then(|x| x.get(slot)).copied().unwrap_or(0.0);
        self.positions().into_iter().map(at).collect()
    }

    /// The smallest power of two that no element reaches.
    pub fn extent(&self) -> usize {
        let slots = self.slots as u64;
        let last = self.places().map_or(0, |p| p.all().map(|at| at % slots).max().unwrap_or(0));
        let copies = (self.inner.radix - 1) as usize * self.inner.stride as usize;
        (last as usize + copies + 1).next_power_of_two()
    }
}

/// Addresses by axis: an element's address is the sum of its three.
pub(crate) struct Places {
    slots: u64,
    pub(crate) axes: [Vec<u64>; 3],
}

impl Places {
    /// Of all elements, row-major.
    pub(crate) fn all(&self) -> impl Iterator<Item = u64> {
        let [c, h, w] = &self.axes;
        c.iter().flat_map(move |&a| h.iter().flat_map(move |&b| w.iter().map(move |&d| a + b + d)))
    }

    /// Slots per vector.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }
}

/// The most digits of an axis.
const MAX_DIGITS: usize = 6;

impl Encode for Layout {
    fn encode(&self, w: &mut Writer) {
        self.shape.iter().for_each(|&d| w.count(d));
        w.count(self.slots);
        w.count(self.vectors);
        w.count(self.period);
        w.u32(self.inner.radix);
        w.u32(self.inner.stride);
        for axis in &self.axes {
            w.u32(axis.offset);
            w.u8(axis.digits.len() as u8);
            for d in &axis.digits {
                w.u32(d.radix);
                w.u32(d.stride);
            }
        }
    }
}

impl Decode for Layout {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut size = |what, max: usize| {
            let v = r.u32(what)? as usize;
            r.require((1..=max).contains(&v), what)?;
            Ok::<_, DecodeError>(v)
        };
        let shape =
            [size("channels", MAX_ELEMENTS)?, size("height", MAX_ELEMENTS)?, size("width", MAX_ELEMENTS)?];
        let slots = size("slots", 1 << 17)?;
        let vectors = size("vectors", MAX_VECTORS)?;
        let period = size("period", 1 << 17)?;
        let inner = Digit { radix: r.u32("inner copies")?, stride: r.u32("inner stride")? };
        let plausible = inner == ALONE || (2..=1 << 17).contains(&inner.radix) && inner.stride <= 1 << 17;
        r.require(plausible, "inner copies")?;
        let mut axis = || {
            let offset = r.u32("axis offset")?;
            r.require(offset <= 1 << 16, "axis offset")?;
            let digits = usize::from(r.u8("digits")?);
            r.require(digits <= MAX_DIGITS, "digits")?;
            let mut digit = || {
                let d = Digit { radix: r.u32("radix")?, stride: r.u32("stride")? };
                r.require((1..=1 << 20).contains(&d.radix) && d.stride <= 1 << 29, "digit")?;
                Ok::<_, DecodeError>(d)
            };
            Ok(Axis { offset, digits: (0..digits).map(|_| digit()).collect::<Result<_, _>>()? })
        };
        let axes = [axis()?, axis()?, axis()?];
        let layout = Self { shape, slots, vectors, axes, period, inner }.checked();
        layout.map_err(|_| r.error("layout", oblivia_base::codec::Fault::Invalid))
    }
}

/// Channels, height and width of a shape; features are channels.
pub fn chw(shape: &Shape) -> Option<[usize; 3]> {
    match *shape.dims() {
        [n] => Some([n, 1, 1]),
        [c, h, w] => Some([c, h, w]),
        _ => None,
    }
}
