//! Finds dimension, primes and layouts for mode `client-aided`.

use super::super::plan::{PLANS, SYSTEM};
use super::choices::{AidedChoices, LOG_N, LayerChoice, PRIMES};
use super::plan::{derive_from, he, linear_nodes, plaintext_bits, start, window};
use super::{MODE, check, noise};
use oblivia_base::codec::Encode;
use oblivia_he::bfv::{Context, Flood};
use oblivia_he::{Moduli, Params, security};
use oblivia_nn::PublicModel;
use oblivia_pack::Outline;
use oblivia_pack::circuit::{FreeLayer, Window};
use oblivia_protocol::{Choices, Error, Plan, Wish};
use std::collections::BTreeSet;

/// Bits of primes that are tried; the special one has [`SPECIAL`] more.
const BITS: std::ops::RangeInclusive<u32> = 34..=46;
const SPECIAL: u32 = 4;
/// Spare bits a search leaves, so that rounding of logarithms decides nothing.
const SPARE: f64 = 0.25;
/// Memory of encoded plaintexts without having been told a limit; beyond it they are transformed at every use.
const PLAINTEXT_BYTES: u64 = 1 << 30;

/// The best plan for `wish`.
pub(in super::super) fn search(model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
    let name = wish.plan.as_deref().unwrap_or(PLANS[0]);
    let ns_per_byte = match name {
        "lan" => 8.0,
        "wan" => 80.0,
        _ => {
            let have = PLANS.join(", ");
            return Err(Error::Input(format!("system `{SYSTEM}` has no plan `{name}`; it has: {have}")));
        }
    };
    let (network, steps) = start(model)?;
    let nodes = linear_nodes(&steps);
    let windows: Option<Vec<Window>> = nodes.iter().map(|&n| window(&network, n)).collect();
    let windows = windows.ok_or_else(|| Error::Misuse("a layer without a shape".into()))?;
    let t = Moduli::Bits(vec![plaintext_bits(&network)?]);
    let mut refusal =
        format!("`{}` has a layer with a channel longer than half the largest ring", model.name);
    for log_n in LOG_N {
        let limit = security::max_log_qp(1 << log_n).map_err(he)?;
        for levels in PRIMES {
            let price = Price { n: f64::from(1u32 << log_n), levels: levels as f64, ns_per_byte };
            let Some((choices, layers)) = lay_out(&windows, 1 << (log_n - 1), &price) else { break };
            for bits in BITS {
                if (levels as u32 + 1) * bits + SPECIAL > limit {
                    break;
                }
                let mut c = AidedChoices {
                    log_n,
                    q: vec![bits; levels],
                    p: bits + SPECIAL,
                    flood: 1,
                    cut: [0; 2],
                    deferred: false,
                    layers: choices.clone(),
                };
                let params = Params::new(&c.literal()).map_err(he)?;
                let contexts = Context::over(&params, &t).map_err(he)?;
                let verdicts = |flood: Option<Flood>, cut: [u32; 2]| {
                    let mut worst = (f64::MAX, 1);
                    for (context, layer) in contexts.iter().flat_map(|c| layers.iter().map(move |l| (c, l))) {
                        let v = noise::verdict(context, layer, flood, cut).map_err(he)?;
                        worst = (worst.0.min(v.spare), worst.1.max(v.flood));
                    }
                    Ok::<_, Error>(worst)
                };
                c.flood = verdicts(None, c.cut)?.1;
                let flood = Some(Flood::new(c.flood));
                let (spare, _) = verdicts(flood, c.cut)?;
                if spare < SPARE {
                    refusal = format!("{:.1} bits are missing for exact results", SPARE - spare);
                    continue;
                }
                // The second half meets the secret, so fewer of its bits can go.
                for cut in (1..=28u32).rev().map(|bits| [bits, bits.saturating_sub(6)]) {
                    if verdicts(flood, cut).is_ok_and(|(spare, _)| spare >= SPARE) {
                        c.cut = cut;
                        break;
                    }
                }
                let d = derive_from(model, &c)?;
                c.deferred = d.plaintext_bytes(false)
                    > wish.max_memory.unwrap_or(PLAINTEXT_BYTES).min(PLAINTEXT_BYTES);
                let (system, mode, plan) = (SYSTEM.into(), MODE.into(), name.into());
                return check(model, &Choices { system, mode, plan, bytes: c.to_bytes() });
            }
        }
    }
    Err(Error::Refused { why: refusal })
}

/// The cheapest way of every layer, keys of earlier layers being there already.
fn lay_out(windows: &[Window], slots: usize, price: &Price) -> Option<(Vec<LayerChoice>, Vec<FreeLayer>)> {
    let mut keys: BTreeSet<usize> = BTreeSet::new();
    let (mut choices, mut layers) = (Vec::new(), Vec::new());
    for window in windows {
        let mut best: Option<(f64, LayerChoice, Outline)> = None;
        for way in 0..FreeLayer::count(window, slots) {
            let Ok(layer) = FreeLayer::way(window, slots, way, (1, false, false)) else { continue };
            let linear = layer.linear();
            let rows = linear.input().axes()[1].digits.iter().map(|d| d.stride as usize);
            let babies: BTreeSet<usize> =
                (0..=slots.ilog2()).map(|e| 1 << e).chain(rows.filter(|&s| s > 0)).collect();
            for baby in babies {
                for (chained, quarters) in [(false, false), (false, true), (true, false), (true, true)] {
                    let outline = linear.outline_with(baby, chained, quarters);
                    let new = outline.steps.iter().filter(|s| !keys.contains(s)).count();
                    let cost = price.layer(&outline, layer.inputs(), new);
                    if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                        let (way, baby) = (way as u32, baby as u32);
                        best = Some((cost, LayerChoice { way, baby, chained, quarters }, outline));
                    }
                }
            }
        }
        let (_, choice, outline) = best?;
        let options = (choice.baby as usize, choice.chained, choice.quarters);
        layers.push(FreeLayer::way(window, slots, choice.way as usize, options).ok()?);
        keys.extend(outline.steps);
        choices.push(choice);
    }
    Some((choices, layers))
}

/// What things cost, in nanoseconds.
struct Price {
    n: f64,
    /// Ciphertext primes.
    levels: f64,
    ns_per_byte: f64,
}

/// Of a residue, measured with vectors of 52 bits: a transform, a product of both halves with a key, with a plaintext,
/// rounding and encoding something fresh.
const NTT: f64 = 1.3;
const KEY: f64 = 0.7;
const PLAIN: f64 = 0.6;
const FRESH: f64 = 4.0;
/// Bytes of a residue on the link.
const BYTES: f64 = 5.5;

impl Price {
    /// Of a layer with `new` keys that no other has.
    fn layer(&self, o: &Outline, inputs: usize, new: usize) -> f64 {
        let all = self.levels + 1.0;
        let [babies, giants, folds] = o.rotations.map(|n| n as f64);
        let decomposition = self.levels * all * NTT;
        let residues = o.hoisted as f64 * decomposition
            + (giants + o.stages as f64) * (decomposition + all * NTT)
            + (babies + giants + folds) * self.levels * all * KEY
            + o.plains as f64 * all * PLAIN
            + inputs as f64 * self.levels * (2.0 * FRESH + BYTES * self.ns_per_byte)
            + o.outputs as f64 * (12.0 * all * FRESH + 1.4 * BYTES * self.ns_per_byte)
            + new as f64 * self.levels * all * (2.0 * FRESH + BYTES * self.ns_per_byte);
        residues * self.n
    }
}
