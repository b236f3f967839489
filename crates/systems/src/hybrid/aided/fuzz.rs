//! Harnesses for fuzzers, as those of [`super::super::fuzz`], for the messages of mode `client-aided`.

use super::super::fuzz::MODEL;
use super::super::plan::{PLANS, SYSTEM};
use super::choices::AidedChoices;
use super::plan::{Derived, derive};
use super::{MODE, search, wire};
use crate::fuzz::derived;
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::fuzz::round_trip;
use oblivia_protocol::{Choices, Wish};
use std::sync::LazyLock;

/// The small network as planned.
static SMALL: LazyLock<Option<Derived>> = LazyLock::new(|| {
    let model = MODEL.as_ref()?;
    let plan = search(model, &Wish { mode: Some(MODE.into()), ..Wish::default() }).ok()?;
    derive(model, &plan.choices).ok()
});

fn offered(bytes: &[u8]) -> Choices {
    let name = str::to_owned;
    Choices { system: name(SYSTEM), mode: name(MODE), plan: name(PLANS[0]), bytes: bytes.to_vec() }
}

/// Bytes of choices for the small network: refused, or a plan.
pub fn choices(bytes: &[u8]) -> bool {
    round_trip::<AidedChoices>(bytes);
    MODEL.as_ref().is_some_and(|model| derived(model, &offered(bytes)))
}

/// The body of a message of inputs for the first layer of the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertexts was accepted.
pub fn inputs(bytes: &[u8]) -> bool {
    let Some((d, layer)) = SMALL.as_ref().and_then(|d| Some((d, d.layers.values().next()?))) else {
        return false;
    };
    let mut r = Reader::new(bytes);
    let Ok(cts) = wire::read_inputs(d, layer, &mut r) else { return false };
    let mut w = Writer::new();
    cts.iter().for_each(|ct| ct.encode(&mut w));
    assert!(bytes.starts_with(&w.into_bytes()), "two encodings of the same ciphertexts");
    r.finish().is_ok() && cts.iter().all(|ct| ct.expand(&d.context, b"label").is_ok())
}

/// The body of a message of results of the first layer of the small network.
///
/// # Panics
/// When something other than the encoding of the replies was accepted.
pub fn results(bytes: &[u8]) -> bool {
    let Some((d, layer)) = SMALL.as_ref().and_then(|d| Some((d, d.layers.values().next()?))) else {
        return false;
    };
    let mut r = Reader::new(bytes);
    let Ok(replies) = wire::read_results(d, layer, &mut r) else { return false };
    let mut w = Writer::new();
    replies.iter().for_each(|reply| reply.encode(&mut w));
    assert!(bytes.starts_with(&w.into_bytes()), "two encodings of the same replies");
    r.finish().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz_tests::committed;
    use oblivia_base::codec::{Decode, Encode};
    use oblivia_base::{Prg, Secret};
    use oblivia_he::SecretKey;
    use oblivia_he::bfv::Encryptor;
    use proptest::prelude::*;

    static HONEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let wish = Wish { mode: Some(MODE.into()), ..Wish::default() };
        search(MODEL.as_ref().unwrap(), &wish).unwrap().choices.bytes
    });

    #[test]
    fn the_seed_of_choices_is_the_planned_one_and_a_plan_follows_from_it() {
        committed("hybrid_aided_choices", choices, [("planned", HONEST.clone())]);
        assert!(!choices(&[]) && !choices(&HONEST[1..]));
    }

    #[test]
    fn honest_ciphertexts_are_taken_and_nothing_behind_or_before_them() {
        let d = SMALL.as_ref().unwrap();
        let mut rng = Prg::new(&[3; 32], "bodies", &[]);
        let sk = SecretKey::generate(d.context.params(), &mut rng);
        let top = d.context.params().max_level();
        let encoder = oblivia_he::bfv::Encoder::new(&d.context);
        let seed = Secret::new(vec![7i64; 16]);
        let pt = encoder.encode(seed.expose(), top, d.context.level_factor(top).unwrap()).unwrap();
        let layer = d.layers.values().next().unwrap();
        let mut w = Writer::new();
        for _ in 0..layer.free.inputs() {
            Encryptor::new(&d.context).encrypt_seeded(&sk, &pt, b"label", &mut rng).unwrap().encode(&mut w);
        }
        let body = w.into_bytes();
        assert_eq!(body.len(), layer.up_bytes);
        assert!(inputs(&body) && !results(&body));
        let mut longer = body.clone();
        longer.push(0);
        assert!(!inputs(&longer) && !inputs(&body[1..]) && !inputs(&[]) && !results(&[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn damaged_choices_are_refused_or_make_a_plan(at: prop::sample::Index, with: u8, cut in 0usize..4) {
            let mut bytes = HONEST.clone();
            let i = at.index(bytes.len());
            bytes[i] = with;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            choices(&bytes);
        }

        #[test]
        fn choices_of_any_layout_are_refused_or_make_a_plan(
            way in 0u32..12, baby in 1u32..5000, chained: bool, quarters: bool, log_n in 13u32..16,
        ) {
            let mut c = AidedChoices::from_bytes(&HONEST).unwrap();
            c.log_n = log_n;
            for layer in &mut c.layers {
                *layer = super::super::choices::LayerChoice { way, baby, chained, quarters };
            }
            choices(&c.to_bytes());
        }
    }
}
