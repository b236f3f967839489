//! Finds scales, plaintext primes, parameters and layouts for an exact mode.

use super::super::choices::{LayerChoice, LeveledChoices};
use super::super::memory::{MAX_PLAINTEXT_BYTES, kept_beside, kept_bytes};
use super::super::network::{Kind, Network};
use super::super::parameters::ChainBits;
use super::super::plan::SYSTEM;
use super::super::program::depths;
use super::super::search::{PLANS, ways};
use super::super::units::UnitCosts;
use super::choices::{ExactChoices, MAX_LOG_SCALE, MAX_T};
use super::plan::{Derived, derive, derive_from};
use super::{PRIVATE, noise};
use oblivia_base::codec::Encode;
use oblivia_he::bfv::{Context, Flood};
use oblivia_he::{Moduli, ParamsLiteral, RingKind, security};
use oblivia_nn::PublicModel;
use oblivia_nn::quant::Scales;
use oblivia_protocol::{Choices, Error, Plan, Wish};

/// Bits of every plaintext prime.
const T_BITS: u32 = 32;
/// log2 of the input's scale over its bound, and of a typical weight's integer.
const INPUT_BITS: i32 = 4;
const WEIGHT_BITS: i32 = 1;
/// What the special prime exceeds the others by.
const SPECIAL_MARGIN_BITS: u32 = 4;
/// A row of fewer weights may have one sign.
const FEW_INPUTS: usize = 16;
/// Primes are below 2^50; smaller ones hold no product of two 32-bit numbers.
const MAX_BITS: u32 = 50;
const FEWEST_BITS: u32 = 38;
/// Spare bits a search leaves, so that rounding of logarithms decides nothing.
const SPARE: f64 = 0.25;

/// The best plan for `wish` in `mode`.
pub(crate) fn search(model: &PublicModel, wish: &Wish, mode: &str) -> Result<Plan, Error> {
    if let Some(other) = wish.plan.as_deref().filter(|p| !PLANS.contains(p)) {
        let have = PLANS.join(", ");
        return Err(Error::Input(format!("system `{SYSTEM}` has no plan `{other}`; it has: {have}")));
    }
    let network = Network::find(model)?;
    let (input_log_scale, weight_log_scales, t) = scales(model, &network)?;
    let start = Start {
        model,
        network: network.undivided(),
        private: mode == PRIVATE,
        wish,
        input_log_scale,
        weight_log_scales,
        t,
    };
    let (name, c) = start.find()?;
    let choices =
        Choices { system: SYSTEM.into(), mode: mode.into(), plan: name.into(), bytes: c.to_bytes() };
    super::check(model, &choices)
}

/// Powers of two for the input and each layer's weights, from published figures alone, and how many plaintext primes hold
/// what outputs are then estimated to be at worst.
fn scales(model: &PublicModel, network: &Network) -> Result<(u32, Vec<u32>, Vec<u32>), Error> {
    let log = |v: f64| (v.log2().round() as i32).clamp(0, MAX_LOG_SCALE as i32) as u32;
    let input = log(2f64.powi(INPUT_BITS) / network.input_norm);
    // Worst values in integers, by value.
    let mut most = vec![network.input_norm * f64::from(1u32 << input)];
    let mut weights = Vec::new();
    for layer in &network.layers {
        let x = most.get(layer.from).copied().unwrap_or(1.0);
        let y = match &layer.kind {
            Kind::Square => x * x,
            // Has no whole numbers: refused below, by name.
            Kind::Add(other) => x + most.get(*other).copied().unwrap_or(x),
            Kind::Shift(_) => return Err(super::plan::constants(&layer.name)),
            Kind::Linear(l) => {
                let inputs = (l.window.fan_in() as f64).sqrt();
                let norm = l.row_norm * l.window.cells() as f64;
                let scale = match l.weight {
                    // A typical weight is the norm over the root of their number.
                    Some(_) => {
                        let own = log(2f64.powi(WEIGHT_BITS) * inputs / norm.max(f64::MIN_POSITIVE));
                        weights.push(own);
                        f64::from(1u32 << own)
                    }
                    None => 1.0,
                };
                // Inputs of one sign meet weights of both: of many, about half of the sum of absolute values.
                let signed = layer.from == 0 && model.input_range[0] < 0.0 || l.window.fan_in() < FEW_INPUTS;
                norm * scale * inputs * x * if signed { 1.0 } else { 0.5 }
            }
        };
        most.push(y);
    }
    let worst = most.last().copied().unwrap_or(1.0);
    let primes = ((worst.log2() + 1.0) / f64::from(T_BITS)).ceil();
    let primes = (primes as usize).clamp(1, MAX_T);
    let scales = Scales { input: 1.0, weights: weights.iter().map(|&w| f64::from(1u32 << w)).collect() };
    scales
        .wires(&model.graph)
        .map_err(|e| Error::Refused { why: format!("`{}` in whole numbers: {e}", model.name) })?;
    Ok((input, weights, vec![T_BITS; primes]))
}

struct Start<'a> {
    model: &'a PublicModel,
    network: Network,
    private: bool,
    wish: &'a Wish,
    input_log_scale: u32,
    weight_log_scales: Vec<u32>,
    t: Vec<u32>,
}

impl Start<'_> {
    /// The smallest dimension, then the smallest primes, then the cheapest layouts.
    fn find(&self) -> Result<(&'static str, ExactChoices), Error> {
        let depth = depths(&self.network).last().copied().unwrap_or(0);
        let levels = depth + 1 + usize::from(self.private);
        let mut refusal = None;
        for log_n in 13..=15u32 {
            let limit = f64::from(security::max_log_qp(1 << log_n).unwrap_or(0));
            // The same slots as a real-valued plan of half the dimension.
            let bits = ChainBits {
                literal: literal(log_n - 1, levels, 44, limit),
                input_log_scale: 0,
                output_log_scale: 0,
                inner_log_scale: 0,
            };
            if self.fits(log_n, levels, FEWEST_BITS, limit).is_none() {
                continue;
            }
            let costs = UnitCosts::of(log_n, &self.wish.units);
            let unfit = |why| Error::Refused { why: format!("`{}`: {why}", self.model.name) };
            let (name, ways) = match ways(&self.network, &bits, costs, self.wish) {
                Ok(found) => found,
                Err(why) => {
                    refusal = Some(unfit(why));
                    continue;
                }
            };
            for way in ways.into_iter().take(3) {
                let layers = way.1.into_iter().map(|(copies, output, options)| LayerChoice {
                    log_scale: 0,
                    copies,
                    output,
                    options,
                });
                let layers: Vec<LayerChoice> = layers.collect();
                // One prime more where nothing else helps.
                let sizes =
                    |more| (FEWEST_BITS..=MAX_BITS - SPECIAL_MARGIN_BITS).map(move |q| (levels + more, q));
                for (levels, q) in sizes(0).chain(sizes(1)) {
                    let Some(params) = self.fits(log_n, levels, q, limit) else { continue };
                    let inner = LeveledChoices {
                        params,
                        input_log_scale: 0,
                        input: way.0.clone(),
                        units: costs,
                        deferred: false,
                        layers: layers.clone(),
                    };
                    match self.settle(inner) {
                        Ok(c) => return Ok((name, c)),
                        Err(e) => refusal = Some(e),
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Error::Refused {
            why: format!(
                "no parameters up to dimension 32768 are deep enough for this network ({levels} levels)"
            ),
        }))
    }

    /// Primes of `q` bits, if the security table has room.
    fn fits(&self, log_n: u32, levels: usize, q: u32, limit: f64) -> Option<ParamsLiteral> {
        let one = literal(log_n, levels, q, limit);
        let (Moduli::Bits(a), Moduli::Bits(b)) = (&one.q, &one.p) else { return None };
        let total: u32 = a.iter().chain(b).sum();
        (f64::from(total) <= limit).then_some(one)
    }

    /// Flood, cuts and memory for parameters and layouts, if they are exact.
    fn settle(&self, inner: LeveledChoices) -> Result<ExactChoices, Error> {
        let mut c = ExactChoices {
            inner,
            t: self.t.clone(),
            input_log_scale: self.input_log_scale,
            weight_log_scales: self.weight_log_scales.clone(),
            flood: 0,
            cut: [0; 2],
        };
        let d = derive_from(self.model, self.network.clone(), &c)?;
        let verdicts = |flood: Option<Flood>, cut: [u32; 2]| {
            let one = |context: &Context| noise::verdict(context, &d.circuit, &d.scales.weights, flood, cut);
            let all = d.contexts.iter().map(one).collect::<Result<Vec<_>, _>>();
            let all = all.map_err(super::super::plan::refused)?;
            let spare = all.iter().map(|v| v.spare).fold(f64::MAX, f64::min);
            Ok::<_, Error>((spare, all.iter().map(|v| v.flood).max().unwrap_or(0)))
        };
        if self.private {
            c.flood = verdicts(None, c.cut)?.1;
        }
        let flood = self.private.then(|| Flood::new(c.flood));
        let (spare, _) = verdicts(flood, c.cut)?;
        if spare < SPARE {
            let why = format!("{:.1} bits are missing for exact results", SPARE - spare);
            return Err(Error::Refused { why });
        }
        // The second half meets the secret, so fewer of its bits can go.
        for cut in (1..=24u32).rev().map(|bits| [bits, bits.saturating_sub(6)]) {
            if verdicts(flood, cut).is_ok_and(|(spare, _)| spare >= SPARE) {
                c.cut = cut;
                break;
            }
        }
        c.inner.deferred = plaintext_bytes(&d, false)? > self.wish.max_memory.unwrap_or(MAX_PLAINTEXT_BYTES);
        Ok(c)
    }
}

/// Memory that the encoded plaintexts of a plan take.
fn plaintext_bytes(d: &Derived, deferred: bool) -> Result<u64, Error> {
    Ok(kept_bytes(d.params()?, &d.plains, deferred) * d.contexts.len() as u64)
}

/// Memory that a server keeps for a plan.
pub(in super::super) fn prepared_bytes(model: &PublicModel, choices: &Choices) -> Result<u64, Error> {
    /// Rows of n words per plaintext prime: the constants of its transforms, and what its encoder looks up.
    const PER_PRIME: usize = 12;
    let d = derive(model, choices)?;
    let (params, primes) = (d.params()?, d.contexts.len());
    let encoders = (primes * PER_PRIME * params.n() * 8) as u64;
    Ok(plaintext_bytes(&d, d.deferred)? + kept_beside(params, primes * d.plains.len()) + encoders)
}

/// A chain of `levels` primes of `bits` bits: with digits of as many primes as make switching cheapest, among those the
/// security table has room for.
fn literal(log_n: u32, levels: usize, bits: u32, limit: f64) -> ParamsLiteral {
    let special = |alpha: usize| (alpha as u32 * bits + SPECIAL_MARGIN_BITS).div_ceil(alpha as u32);
    let fits = |alpha: &usize| {
        let total = levels as u32 * bits + *alpha as u32 * special(*alpha);
        f64::from(total) <= limit && special(*alpha) <= MAX_BITS
    };
    let work =
        |alpha: usize| -> usize { (2..=levels).map(|l| (2 * l.div_ceil(alpha) + 2) * (l + alpha)).sum() };
    let alpha = (1..=levels).filter(fits).min_by_key(|&alpha| work(alpha)).unwrap_or(1);
    ParamsLiteral {
        kind: RingKind::Standard,
        log_n,
        q: Moduli::Bits(vec![bits; levels]),
        p: Moduli::Bits(vec![special(alpha); alpha]),
        alpha,
        levels: Vec::new(),
    }
}
