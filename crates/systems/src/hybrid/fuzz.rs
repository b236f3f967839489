//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take time and memory beyond what the model's
//! size allows, and say whether the bytes were accepted.

use super::choices::{HybridChoices, Supply};
use super::packs::Claim;
use super::plan::{Base, MODE, PLANS, SYSTEM};
use crate::fuzz::derived;
use oblivia_base::codec::{Decode, Encode};
use oblivia_base::fuzz::round_trip;
use oblivia_mpc::Radix;
use oblivia_nn::fixed::{Certainty, Formats, LinearFormat};
use oblivia_nn::{Conv, Graph, InputSpec, NnError, Op, OutputPolicy, Pool, PublicModel, Shape, WireId};
use oblivia_protocol::Choices;
use std::sync::LazyLock;

/// Convolution, pool of maxima, ReLU, dense layer on a 4×4 image.
fn network() -> Result<PublicModel, NnError> {
    let mut g = Graph::new("x", Shape::new([1, 4, 4])?);
    let weight = g.weight("w", Shape::new([2, 1, 2, 2])?)?;
    let (kernel, stride, pads) = ([2; 2], [1; 2], [0; 4]);
    let conv = Conv { out_channels: 2, kernel, stride, pads, groups: 1, weight, bias: None };
    let mut at = g.push("conv", Op::Conv(conv), &[WireId(0)])?;
    at = g.push("pool", Op::MaxPool(Pool { kernel, stride, pads, count_include_pad: false }), &[at])?;
    at = g.push("relu", Op::Relu, &[at])?;
    at = g.push("flat", Op::Flatten, &[at])?;
    let weight = g.weight("v", Shape::new([2, 8])?)?;
    g.push("dense", Op::Dense { out: 2, weight, bias: None }, &[at])?;
    let layer = LinearFormat { bits: 16, shift: 8, weight_bits: 8, norm1: 400, norm2: 200 };
    Ok(PublicModel {
        name: "small".into(),
        graph: g,
        labels: Vec::new(),
        input: InputSpec::Tensor,
        input_range: [0.0, 1.0],
        output: OutputPolicy::Logits,
        fixed: Some(Formats {
            input_bits: 16,
            input_scale: 100.0,
            output_scale: 10.0,
            layers: vec![layer; 2],
            certainty: Certainty::Calibrated { images: 10, margin: 2.0, overflow: 1e-3, error: Some(0.1) },
        }),
    })
}

pub(super) static MODEL: LazyLock<Option<PublicModel>> = LazyLock::new(|| network().ok());

fn offered(bytes: &[u8]) -> Choices {
    let name = str::to_owned;
    Choices { system: name(SYSTEM), mode: name(MODE), plan: name(PLANS[0]), bytes: bytes.to_vec() }
}

/// Bytes of choices for a small network: refused, or a plan.
pub fn choices(bytes: &[u8]) -> bool {
    round_trip::<HybridChoices>(bytes);
    MODEL.as_ref().is_some_and(|model| derived(model, &offered(bytes)))
}

/// Bytes with which a client says which packs it has: refused, or a claim.
pub fn claim(bytes: &[u8]) -> bool {
    round_trip::<Claim>(bytes)
}

/// Bytes of formats in fixed point that a server publishes with a small network: refused, or a plan.
pub fn formats(bytes: &[u8]) -> bool {
    let (Some(model), Ok(formats)) = (MODEL.as_ref(), Formats::from_bytes(bytes)) else { return false };
    let model = PublicModel { fixed: Some(formats), ..model.clone() };
    plain(&model).is_some_and(|choices| derived(&model, &offered(&choices)))
}

/// Choices of as many steps as the network has.
fn plain(model: &PublicModel) -> Option<Vec<u8>> {
    let steps = Base::new(model).ok()?.steps.len() + 1;
    Some(HybridChoices { radices: vec![Radix::Four; steps], supply: Supply::ALL[0], images: 1 }.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz_tests::committed;
    use oblivia_base::Digest;
    use oblivia_protocol::PackId;
    use proptest::prelude::*;

    fn honest() -> Formats {
        MODEL.as_ref().and_then(|m| m.fixed.clone()).unwrap()
    }

    #[test]
    fn what_a_planner_chooses_is_taken_and_nothing_behind_it() {
        let honest_choices = plain(MODEL.as_ref().unwrap()).unwrap();
        assert!(choices(&honest_choices));
        let with = |change: fn(&mut Vec<u8>)| {
            let mut bytes = honest_choices.clone();
            change(&mut bytes);
            choices(&bytes)
        };
        assert!(with(|b| b[0] = 5) && with(|b| b[9] = 4), "another source of OTs, other digits");
        assert!(with(|b| b[1] = 7) && !with(|b| b[1] = 0), "groups");
        assert!(!with(|b| b[0] = 7) && !with(|b| b[9] = 5) && !with(Vec::clear));
        assert!(!with(|b| b.push(0)), "bytes behind the choices");
        let longer = |b: &mut Vec<u8>| {
            b[5] += 1;
            b.push(0);
        };
        assert!(!with(longer), "a step the network does not have");
        assert!(formats(&honest().to_bytes()));
    }

    #[test]
    fn committed_seeds_are_what_this_build_writes_and_accepts() {
        committed("hybrid_choices", choices, [("plain", plain(MODEL.as_ref().unwrap()).unwrap())]);
        committed("hybrid_formats", formats, [("calibrated", honest().to_bytes())]);
        let of = |run, number| PackId { run: Digest([run; 32]), number };
        let ids = [of(1, 4), of(1, 5), of(1, 7), of(2, 0)];
        let claims = [("none", &ids[..0], 9), ("runs", &ids[..], 9), ("some", &ids[..], 2)];
        committed(
            "hybrid_claim",
            claim,
            claims.map(|(name, ids, most)| (name, Claim::of(ids, most).to_bytes())),
        );
    }

    #[test]
    fn formats_from_which_no_plan_follows_are_refused() {
        let with = |change: fn(&mut Formats)| {
            let mut f = honest();
            change(&mut f);
            formats(&f.to_bytes())
        };
        assert!(!with(|f| f.layers[0].norm2 = 1 << 39), "noise above every modulus");
        assert!(!with(|f| f.layers[0].bits = 32), "no 22 bits are left below a share");
        assert!(!with(|f| f.layers[1].bits = 40));
        assert!(!with(|f| f.layers.truncate(1)));
        assert!(with(|f| f.output_scale = 1e300) && with(|f| f.output_scale = 1e-300));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn damaged_formats_are_refused_or_make_a_plan(at: prop::sample::Index, with: u8, cut in 0usize..4) {
            let mut bytes = honest().to_bytes();
            let i = at.index(bytes.len());
            bytes[i] = with;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            formats(&bytes);
            choices(&bytes);
        }
    }
}
