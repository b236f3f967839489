//! What a planner of the exact modes may choose, in canonical bytes.

use super::super::choices::{InputForm, LeveledChoices};
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};

/// Everything that is chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ExactChoices {
    /// Ring, layouts, unit costs; all scales are 2^0.
    pub(super) inner: LeveledChoices,
    /// Bits of the plaintext primes: the largest ones that are used nowhere else.
    pub(super) t: Vec<u32>,
    /// log2 of the input's scale.
    pub(super) input_log_scale: u32,
    /// log2 of the scales of weights, by convolution and dense layer.
    pub(super) weight_log_scales: Vec<u32>,
    /// log2 of the width of the flood, 0 for none.
    pub(super) flood: u32,
    /// Low bits of the reply's halves that are not sent.
    pub(super) cut: [u32; 2],
}

/// The most plaintext primes.
pub(super) const MAX_T: usize = 3;
/// Their sizes; the product must fit [`oblivia_he::bfv::Combiner`].
const T_BITS: std::ops::RangeInclusive<u32> = 20..=42;
/// The largest log2 of a scale.
pub(super) const MAX_LOG_SCALE: u32 = 20;

impl Encode for ExactChoices {
    fn encode(&self, w: &mut Writer) {
        self.inner.encode(w);
        w.count(self.t.len());
        self.t.iter().for_each(|&bits| w.u32(bits));
        w.u32(self.input_log_scale);
        w.count(self.weight_log_scales.len());
        self.weight_log_scales.iter().for_each(|&log| w.u32(log));
        w.u32(self.flood);
        self.cut.iter().for_each(|&bits| w.u32(bits));
    }
}

impl Decode for ExactChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let inner = LeveledChoices::decode(r)?;
        let whole = inner.input_log_scale == 0 && inner.layers.iter().all(|l| l.log_scale == 0);
        r.require(whole, "scale of integers")?;
        r.require(!matches!(inner.input, InputForm::Lola(_)), "input form without whole numbers")?;
        let number = |r: &mut Reader<'_>, range: std::ops::RangeInclusive<u32>, what: &'static str| {
            let v = r.u32(what)?;
            r.require(range.contains(&v), what)?;
            Ok::<_, DecodeError>(v)
        };
        let count = r.count(MAX_T, 4, "plaintext primes")?;
        let t =
            (0..count).map(|_| number(r, T_BITS, "bits of a plaintext prime")).collect::<Result<_, _>>()?;
        let input_log_scale = number(r, 0..=MAX_LOG_SCALE, "log scale")?;
        let count = r.count(64, 4, "scales of weights")?;
        let scales = (0..count).map(|_| number(r, 0..=MAX_LOG_SCALE, "log scale"));
        let weight_log_scales = scales.collect::<Result<_, _>>()?;
        let flood = number(r, 0..=900, "width of a flood")?;
        let cut = [number(r, 0..=49, "bits cut")?, number(r, 0..=49, "bits cut")?];
        Ok(Self { inner, t, input_log_scale, weight_log_scales, flood, cut })
    }
}
