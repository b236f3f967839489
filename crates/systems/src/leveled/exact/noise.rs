//! How large the phase becomes along a program, for every message.
//!
//! Weights are taken for plaintexts whose polynomials have coefficients like uniform residues, rows equal
//! ([`NoiseModel::spread_equal_rows`]): a dense layer's as independent of each other, a convolution's not, since one kernel
//! is on all of them. Scalars of the first level have no factor, so they are as small as the published row norm says.
//!
//! **What is taken to be independent, and what is not.** Errors of different origin are independent, and products with
//! weights like the above have coefficients whose variance the norm of the error alone decides, however its
//! coefficients depend on each other. But what meets again in a sum may be the same error, and then standard deviations add:
//! operands of a residual sum share what lies before the fork, stacked maps are made from the same inputs, and a
//! rotation is a permutation of coefficients (with signs) that leaves some where they are, the constant one always, so that
//! each fold and each doubling of copies doubles them ([`together`]).

use super::super::network::{Kind, LinearLayer};
use super::super::program::{Program, Step};
use oblivia_he::HeError;
use oblivia_he::bfv::{Context, Estimate, Flood, NoiseModel};
use oblivia_pack::circuit::Linear;

/// Statistical distance of floods: 2^-40.
pub(super) const FLOOD_BITS: u32 = 40;

/// What the model says of a program under one plaintext prime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// The least of log2(Q/2 over the bound of the phase) on the way, reply included.
    pub(super) spare: f64,
    /// log2 of the width that floods to 2^-[`FLOOD_BITS`].
    pub(super) flood: u32,
}

/// A value.
#[derive(Clone, Copy)]
struct Wire {
    phase: Estimate,
    level: usize,
}

struct Machine<'a> {
    context: &'a Context,
    model: NoiseModel,
    program: &'a Program,
    weight_scales: &'a [f64],
    spare: f64,
}

/// The noise of `program` with weights at `weight_scales`, flooded if so chosen, and of its reply with `cut` bits cut.
pub(super) fn verdict(
    context: &Context,
    program: &Program,
    weight_scales: &[f64],
    flood: Option<Flood>,
    cut: [u32; 2],
) -> Result<Verdict, HeError> {
    let model = NoiseModel::new(context);
    let mut m = Machine { context, model, program, weight_scales, spare: f64::MAX };
    let top = context.params().max_level();
    let mut wires = vec![Wire { phase: m.model.fresh(), level: top }];
    let mut weighted = 0;
    for (step, layer) in program.steps().iter().zip(&program.network().layers) {
        let x = wires.get(layer.from).copied().unwrap_or(Wire { phase: m.model.fresh(), level: top });
        let y = match (step, &layer.kind) {
            (Step::Add(other), _) => m.sum(x, wires.get(*other).copied().unwrap_or(x))?,
            (Step::Shift, _) | (_, Kind::Shift(_)) => Wire { phase: m.model.add_plain(x.phase), ..x },
            (Step::Square, _) | (_, Kind::Square | Kind::Add(_)) => m.square(x)?,
            (Step::Taps(_), Kind::Linear(l)) => m.taps(x, l, layer.shape[0], weighted)?,
            (Step::Linear { copies, circuit }, Kind::Linear(_)) => m.linear(x, *copies, circuit)?,
        };
        if matches!(&layer.kind, Kind::Linear(l) if l.weight.is_some()) {
            weighted += 1;
        }
        wires.push(y);
    }
    let Some(mut y) = wires.pop() else { return Ok(Verdict { spare: 0.0, flood: 0 }) };
    let needed = m.model.flooding(y.phase, FLOOD_BITS).log_width();
    if let Some(flood) = flood {
        y.phase = m.model.flood(y.phase, flood);
        m.at(y)?;
    }
    while y.level > 1 {
        y = Wire { phase: m.model.switch(y.phase, y.level)?, level: y.level - 1 };
        m.at(y)?;
    }
    m.at(Wire { phase: m.model.cut(y.phase, cut), ..y })?;
    Ok(Verdict { spare: m.spare, flood: needed })
}

/// x + y that may hold the same errors.
fn together(model: &NoiseModel, x: Estimate, y: Estimate) -> Estimate {
    Estimate { std: x.std + y.std, ..model.add(x, y) }
}

/// x and a rotation of it.
fn doubled(model: &NoiseModel, x: Estimate, level: usize) -> Result<Estimate, HeError> {
    Ok(together(model, x, model.key_switch(x, level)?))
}

impl Machine<'_> {
    /// Takes note of a value.
    fn at(&mut self, x: Wire) -> Result<Wire, HeError> {
        self.spare = self.spare.min(self.model.spare_bits(x.phase, x.level)?);
        Ok(x)
    }

    fn square(&mut self, x: Wire) -> Result<Wire, HeError> {
        let phase = self.at(Wire { phase: self.model.square(x.phase), ..x })?.phase;
        let phase = self.model.key_switch_switch(phase, x.level)?;
        self.at(Wire { phase, level: x.level.saturating_sub(1) })
    }

    /// The operand of more levels is brought down by a scalar and a switch.
    fn sum(&mut self, x: Wire, y: Wire) -> Result<Wire, HeError> {
        let (mut high, low) = if x.level > y.level { (x, y) } else { (y, x) };
        if high.level > low.level {
            let most = self.context.t() as f64 / 2.0;
            let level = low.level + 1;
            let scaled = Wire { phase: self.model.dot_scalars(high.phase, 1, most), level };
            self.at(scaled)?;
            high = Wire { phase: self.model.switch(scaled.phase, level)?, level: low.level };
        }
        self.at(Wire { phase: together(&self.model, high.phase, low.phase), ..low })
    }

    /// Scalar products, maps stacked by rotations, a switch, a bias.
    fn taps(&mut self, x: Wire, l: &LinearLayer, maps: usize, index: usize) -> Result<Wire, HeError> {
        let t = self.context.t() as f64;
        let scale = self.weight_scales.get(index).copied().unwrap_or(t);
        let most = match x.level == self.context.params().max_level() {
            true => (l.row_norm * scale + 0.5).min(t / 2.0),
            false => t / 2.0,
        };
        let one = self.model.dot_scalars(x.phase, l.window.fan_in(), most);
        let one = self.model.add_plain(one);
        let turned = self.model.key_switch(one, x.level)?;
        let mut sum = one;
        for _ in 1..maps {
            sum = together(&self.model, sum, turned);
        }
        self.at(Wire { phase: sum, ..x })?;
        let phase = self.model.add_plain(self.model.switch(sum, x.level)?);
        self.at(Wire { phase, level: x.level.saturating_sub(1) })
    }

    /// Copies, a matrix product by double hoisting, folds, a switch, a bias.
    fn linear(&mut self, x: Wire, copies: Option<usize>, circuit: &Linear) -> Result<Wire, HeError> {
        let schedule = circuit.schedule();
        let mut phase = x.phase;
        if let Some(period) = copies {
            for _ in 0..(self.program.slots() / period.max(1)).ilog2() {
                phase = doubled(&self.model, phase, x.level)?;
            }
        }
        let of = |groups: &Vec<oblivia_pack::Group>| {
            let terms: usize = groups.iter().map(|g| g.terms.len()).sum();
            (terms, groups.iter().map(|g| g.turns.len()).sum::<usize>())
        };
        let (terms, turns) =
            schedule.outputs.iter().map(of).fold((1, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let window = circuit.window();
        let dense =
            window.output[1] * window.output[2] == 1 && window.kernel == [window.input[1], window.input[2]];
        // Of plaintexts like each other errors add up like terms: √(terms²).
        let counted = if dense { terms } else { terms * terms };
        let w = self.model.spread_equal_rows();
        let mut phase = self.model.double_hoisted(phase, counted, turns, w, x.level)?;
        for stage in &schedule.folds {
            let moved = self.model.key_switch(phase, x.level)?;
            phase = stage.iter().fold(phase, |sum, _| together(&self.model, sum, moved));
        }
        self.at(Wire { phase, ..x })?;
        let phase = self.model.add_plain(self.model.reduce_switch(phase, x.level)?);
        self.at(Wire { phase, level: x.level.saturating_sub(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::{doubled, together};
    use oblivia_base::Prg;
    use oblivia_he::bfv::{
        Ciphertext, Context, Decryptor, Encoder, Encryptor, Estimate, Evaluator, Factor, NoiseModel,
    };
    use oblivia_he::noise::BOUND_FACTOR_2_64;
    use oblivia_he::{KeyRequest, Moduli, Params, ParamsLiteral, RingKind, SecretKey};
    use rand_core::Rng;
    use std::sync::Arc;

    const LEVEL: usize = 3;

    /// A ring that protects nothing, with keys for folds over a row of 4096 slots.
    fn ends() -> (Context, SecretKey, Evaluator, Prg) {
        let params = Params::new(&ParamsLiteral {
            kind: RingKind::Standard,
            log_n: 13,
            q: Moduli::Bits(vec![44; LEVEL]),
            p: Moduli::Bits(vec![49]),
            alpha: 1,
            levels: Vec::new(),
        })
        .unwrap();
        let context = Context::over(&params, &Moduli::Bits(vec![32])).unwrap().remove(0);
        let mut rng = Prg::new(&[8; 32], "folds", &[]);
        let sk = SecretKey::generate(&params, &mut rng);
        let mut request = KeyRequest::new();
        (0..12).for_each(|e| request.need_rotation(1 << e, LEVEL));
        let keys = context.evaluation_keys(&sk, &request, b"", &mut rng).unwrap();
        (context, sk, Evaluator::new(Arc::new(keys)), rng)
    }

    #[test]
    fn a_fold_doubles_the_errors_of_coefficients_that_rotations_leave_in_place() {
        let (context, sk, evaluator, mut rng) = ends();
        let (model, encoder) = (NoiseModel::new(&context), Encoder::new(&context));
        let slots = context.slots();
        let mut worst = [0.0f64; 2];
        for _ in 0..4 {
            // Zero times a random plaintext: an error and nothing else.
            let zero = encoder.encode(&vec![0; slots], LEVEL, Factor::ONE).unwrap();
            let x = Encryptor::new(&context).encrypt_symmetric(&sk, &zero, &mut rng).unwrap();
            let w: Vec<i64> = (0..slots).map(|_| i64::from(rng.next_u32() >> 2)).collect();
            let w = encoder.encode(&w, LEVEL, Factor::ONE).unwrap();
            let mut y: Ciphertext = evaluator.mul_plain(&x, &w).unwrap();
            let start = Estimate { peak: 0.0, rms: 0.0, slot: 0.0, std: model.fresh().std };
            let mut phase = model.mul_plain(start, model.spread());
            let mut apart = phase;
            for e in 0..12 {
                let mut turned = evaluator.rotate(&y, 1 << e).unwrap();
                evaluator.add_assign(&mut turned, &y).unwrap();
                y = turned;
                phase = doubled(&model, phase, LEVEL).unwrap();
                apart = model.add(apart, model.key_switch(apart, LEVEL).unwrap());
            }
            let found = Decryptor::new(&context, &sk).unwrap().noise(&y).unwrap().largest;
            for (worst, model) in worst.iter_mut().zip([phase, apart]) {
                *worst = worst.max(found / model.bound(BOUND_FACTOR_2_64));
            }
        }
        println!("largest coefficient over the bound: {:.3}; errors taken apart: {:.3}", worst[0], worst[1]);
        assert!(worst[0] < 1.0, "{} times the bound", worst[0]);
        // Variances do not add here.
        assert!(worst[1] > 1.0, "{}", worst[1]);
    }

    #[test]
    fn a_value_and_itself_have_twice_the_error() {
        let (context, ..) = ends();
        let model = NoiseModel::new(&context);
        let x = model.fresh();
        assert_eq!(together(&model, x, x).std, 2.0 * x.std);
    }
}
