//! What a planner of `leveled` may choose, in canonical bytes.

use super::units::UnitCosts;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_he::ParamsLiteral;
use oblivia_pack::Layout;
use oblivia_pack::circuit::Options;

/// How the client lays out its input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum InputForm {
    /// One vector per tap of the first convolution.
    Taps,
    /// By a layout.
    Packed(Layout),
    /// Its columns, one channel per tap of the first convolution, by a layout.
    Columns(Layout),
    /// One vector per tap of the first convolution, for LoLa's circuits.
    Lola(LolaChoice),
}

/// What is chosen for LoLa's circuits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LolaChoice {
    /// log2 of the slots in use; what they hold repeats.
    pub(super) log_period: u32,
    /// log2 of the scales behind convolution, first dense layer, interleaving, second dense layer.
    pub(super) log_scales: [u32; 4],
}

/// What is chosen for one linear layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LayerChoice {
    /// log2 of the scale of its result; a layer whose result joins another value takes that one's.
    pub(super) log_scale: u32,
    /// Its input is first copied to this distance.
    pub(super) copies: Option<usize>,
    /// Where its results go.
    pub(super) output: Layout,
    /// Fold, spread, baby steps.
    pub(super) options: Options,
}

/// Everything that is chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LeveledChoices {
    pub(super) params: ParamsLiteral,
    pub(super) input_log_scale: u32,
    pub(super) input: InputForm,
    /// What it was weighed with.
    pub(super) units: UnitCosts,
    /// Whether plaintexts are kept as coefficients and transformed at every use, for want of memory.
    pub(super) deferred: bool,
    /// Of the linear layers in order; with [`InputForm::Taps`] the first one has but its scale,
    /// with [`InputForm::Lola`] there are none.
    pub(super) layers: Vec<LayerChoice>,
}

/// The most linear layers of a plan.
const MAX_LAYERS: usize = 64;

impl Encode for LeveledChoices {
    fn encode(&self, w: &mut Writer) {
        self.params.encode(w);
        w.u32(self.input_log_scale);
        match &self.input {
            InputForm::Taps => w.u8(0),
            InputForm::Packed(layout) => {
                w.u8(1);
                layout.encode(w);
            }
            InputForm::Columns(layout) => {
                w.u8(2);
                layout.encode(w);
            }
            InputForm::Lola(c) => {
                w.u8(3);
                w.u32(c.log_period);
                c.log_scales.into_iter().for_each(|v| w.u32(v));
            }
        }
        self.units.encode(w);
        w.bool(self.deferred);
        w.count(self.layers.len());
        for l in &self.layers {
            w.u32(l.log_scale);
            w.count(l.copies.unwrap_or(0));
            l.output.encode(w);
            w.count(l.options.fold);
            w.count(l.options.spread);
            w.count(l.options.baby);
            w.bool(l.options.chained);
            w.bool(l.options.quarters);
        }
    }
}

impl Decode for LeveledChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let params = ParamsLiteral::decode(r)?;
        let log = |r: &mut Reader<'_>| {
            let v = r.u32("log scale")?;
            // 0 in whole numbers.
            r.require(v == 0 || (20..=60).contains(&v), "log scale")?;
            Ok(v)
        };
        let steps = |r: &mut Reader<'_>, least: usize| {
            let v = r.u32("number of slots")? as usize;
            r.require((least..=1 << 17).contains(&v), "number of slots")?;
            Ok(v)
        };
        let input_log_scale = log(r)?;
        let form = r.u8("input form")?;
        r.require(form <= 3, "input form")?;
        let input = match form {
            0 => InputForm::Taps,
            1 => InputForm::Packed(Layout::decode(r)?),
            2 => InputForm::Columns(Layout::decode(r)?),
            _ => {
                let log_period = r.u32("log period")?;
                r.require(log_period <= 17, "log period")?;
                InputForm::Lola(LolaChoice { log_period, log_scales: [log(r)?, log(r)?, log(r)?, log(r)?] })
            }
        };
        let units = UnitCosts::decode(r)?;
        let deferred = r.bool("deferred")?;
        let count = r.count(MAX_LAYERS, 41, "layers")?;
        let layer = |r: &mut Reader<'_>| {
            Ok(LayerChoice {
                log_scale: log(r)?,
                copies: Some(steps(r, 0)?).filter(|&c| c > 0),
                output: Layout::decode(r)?,
                options: Options {
                    fold: steps(r, 1)?,
                    spread: steps(r, 1)?,
                    baby: steps(r, 1)?,
                    chained: r.bool("chained")?,
                    quarters: r.bool("quarters")?,
                },
            })
        };
        let layers = (0..count).map(|_| layer(r)).collect::<Result<_, DecodeError>>()?;
        Ok(Self { params, input_log_scale, input, units, deferred, layers })
    }
}
