//! How large the phase becomes in a layer, whatever the input and the weights: the client chooses the one, and nobody but
//! the server knows the other, so nothing is taken to be random but errors of encryption and of keys.

use oblivia_he::HeError;
use oblivia_he::bfv::{Context, Estimate, Flood, NoiseModel};
use oblivia_pack::circuit::FreeLayer;

/// Statistical distance of floods: 2^-40.
pub(super) const FLOOD_BITS: u32 = 40;

/// What the model says of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// The least of log2(Q/2 over the bound of the phase) on the way, reply included.
    pub(super) spare: f64,
    /// log2 of the width that floods to 2^-[`FLOOD_BITS`].
    pub(super) flood: u32,
}

/// Products at the highest level, a bias and masks, a flood, the levels down to the reply, `cut` bits of its halves.
///
/// A rotation leaves some coefficients where they are (the constant one always), so a fold doubles standard deviations.
pub(super) fn verdict(
    context: &Context,
    layer: &FreeLayer,
    flood: Option<Flood>,
    cut: [u32; 2],
) -> Result<Verdict, HeError> {
    let model = NoiseModel::new(context);
    let top = context.params().max_level();
    let schedule = layer.linear().schedule();
    let mut spare = f64::MAX;
    let mut at = |phase: Estimate, level: usize| {
        spare = spare.min(model.spare_bits(phase, level)?);
        Ok::<_, HeError>(phase)
    };
    let of = |groups: &Vec<oblivia_pack::Group>| {
        let terms: usize = groups.iter().map(|g| g.terms.len()).sum();
        (terms, groups.iter().map(|g| g.turns.len()).sum::<usize>())
    };
    let (terms, turns) = schedule.outputs.iter().map(of).fold((1, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let mut phase = model.double_hoisted(model.fresh(), terms, turns, model.any(), top)?;
    for stage in &schedule.folds {
        let moved = model.key_switch(phase, top)?;
        phase = stage.iter().fold(phase, |sum, _| {
            let std = sum.std + moved.std;
            Estimate { std, ..model.add(sum, moved) }
        });
    }
    at(phase, top)?;
    let mut level = top - 1;
    phase = at(model.add_plain(model.reduce_switch(phase, top)?), level)?;
    let needed = model.flooding(phase, FLOOD_BITS).log_width();
    if let Some(flood) = flood {
        phase = at(model.flood(phase, flood), level)?;
    }
    while level > 1 {
        phase = model.switch(phase, level)?;
        level -= 1;
        at(phase, level)?;
    }
    at(model.cut(phase, cut), 1)?;
    Ok(Verdict { spare, flood: needed })
}
