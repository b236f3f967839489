//! What a planner of mode `batch` may choose, in canonical bytes.

use super::super::units::UnitCosts;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_he::ParamsLiteral;

/// Everything that is chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BatchChoices {
    pub(super) params: ParamsLiteral,
    /// log2 of the scale of the input.
    pub(super) input_log_scale: u32,
    /// log2 of the scale of every linear layer's result, in order; one whose result joins another value takes that one's.
    pub(super) log_scales: Vec<u32>,
    /// Ciphertexts of an input message; the last one of a group may have fewer.
    pub(super) per_input: u32,
    /// Ciphertexts of an output message.
    pub(super) per_output: u32,
    /// What it was weighed with.
    pub(super) units: UnitCosts,
}

/// The most linear layers of a plan.
const MAX_LAYERS: usize = 64;

impl Encode for BatchChoices {
    fn encode(&self, w: &mut Writer) {
        self.params.encode(w);
        w.u32(self.input_log_scale);
        w.count(self.log_scales.len());
        self.log_scales.iter().for_each(|&log| w.u32(log));
        w.u32(self.per_input);
        w.u32(self.per_output);
        self.units.encode(w);
    }
}

impl Decode for BatchChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let params = ParamsLiteral::decode(r)?;
        let number = |r: &mut Reader<'_>, range: std::ops::RangeInclusive<u32>, what: &'static str| {
            let v = r.u32(what)?;
            r.require(range.contains(&v), what)?;
            Ok::<_, DecodeError>(v)
        };
        let input_log_scale = number(r, 20..=60, "log scale")?;
        let count = r.count(MAX_LAYERS, 4, "scales of layers")?;
        let log_scales = (0..count).map(|_| number(r, 20..=60, "log scale")).collect::<Result<_, _>>()?;
        let per_input = number(r, 1..=1 << 16, "ciphertexts of a message")?;
        let per_output = number(r, 1..=1 << 16, "ciphertexts of a message")?;
        Ok(Self { params, input_log_scale, log_scales, per_input, per_output, units: UnitCosts::decode(r)? })
    }
}
