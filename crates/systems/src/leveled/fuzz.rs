//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take time and memory beyond what
//! [`plan`](super::plan) allows, and say whether the bytes were accepted.

pub use super::batch::fuzz::{choices as batch_choices, input as batch_input, output as batch_output};
use super::choices::LeveledChoices;
use super::messages;
use super::network::Network;
use super::plan::{MODE, SYSTEM, derive, wrap};
use super::search;
use crate::fuzz::derived;
use oblivia_base::codec::Writer;
use oblivia_base::fuzz::round_trip;
use oblivia_he::EvaluationKeys;
use oblivia_nn::{Conv, Graph, InputSpec, NnError, Op, OutputPolicy, PublicModel, Shape, WireId};
use oblivia_protocol::Choices;
use std::sync::LazyLock;

pub use super::exact::fuzz as exact;

/// The label everything is decoded under.
pub const LABEL: &[u8] = b"fuzz";

/// Sizes of a network of the shape the plan `diagonal` runs.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) input: [usize; 3],
    pub(super) maps: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dense: [usize; 2],
}

/// A 4×4 image, one map with a kernel of one pixel, two hidden values, two outputs: one input ciphertext.
pub(super) const SMALL: Sizes =
    Sizes { input: [1, 4, 4], maps: 1, kernel: [1, 1], stride: [1, 1], dense: [2, 2] };

/// The public part of such a network: all bounds 1 but that of the input, all row norms ½.
pub(super) fn network(s: &Sizes) -> Result<PublicModel, NnError> {
    let mut g = Graph::new("x", Shape::new(s.input)?);
    let weight = g.weight("w", Shape::new([s.maps, s.input[0], s.kernel[0], s.kernel[1]])?)?;
    let conv = Conv {
        out_channels: s.maps,
        kernel: s.kernel,
        stride: s.stride,
        pads: [0; 4],
        groups: 1,
        weight,
        bias: None,
    };
    let mut at = g.push("conv", Op::Conv(conv), &[WireId(0)])?;
    g.set_row_norm(at, 0.5)?;
    let mut features = g.output_shape().elements();
    at = g.push("square", Op::Square, &[at])?;
    at = g.push("flat", Op::Flatten, &[at])?;
    for (i, out) in s.dense.into_iter().enumerate() {
        let weight = g.weight("w", Shape::new([out, features])?)?;
        at = g.push("dense", Op::Dense { out, weight, bias: None }, &[at])?;
        g.set_row_norm(at, 0.5)?;
        if i == 0 {
            features = out;
            at = g.push("square", Op::Square, &[at])?;
        }
    }
    for wire in 0..g.nodes().len() {
        g.set_bound(WireId(wire as u32), 1.0)?;
    }
    Ok(PublicModel {
        name: "small".into(),
        graph: g,
        labels: Vec::new(),
        input: InputSpec::Tensor,
        input_range: [0.0, 2.0],
        output: OutputPolicy::Logits,
        fixed: None,
    })
}

pub(super) static MODEL: LazyLock<Option<PublicModel>> = LazyLock::new(|| network(&SMALL).ok());

/// Choices of the plan `name` for a network.
pub(super) fn choices_of(model: &PublicModel, name: &'static str) -> Option<LeveledChoices> {
    let network = Network::find(model).ok()?;
    let wish = oblivia_protocol::Wish { plan: Some(name.into()), ..Default::default() };
    Some(search::choose(model, &network, &wish).ok()?.1)
}

/// The small network under the plan `diagonal`.
static DERIVED: LazyLock<Option<super::plan::Derived>> = LazyLock::new(|| {
    let model = MODEL.as_ref()?;
    derive(model, &wrap("diagonal", &choices_of(model, "diagonal")?)).ok()
});

/// Bytes of choices for the small network: refused, or a plan.
pub fn choices(bytes: &[u8]) -> bool {
    let Some(model) = MODEL.as_ref() else { return false };
    round_trip::<LeveledChoices>(bytes);
    let name = str::to_owned;
    derived(
        model,
        &Choices { system: name(SYSTEM), mode: name(MODE), plan: name("diagonal"), bytes: bytes.to_vec() },
    )
}

/// The body of a message of keys for the small network.
///
/// # Panics
/// When something other than the encoding of the keys was accepted.
pub fn keys(bytes: &[u8]) -> bool {
    let Some(d) = DERIVED.as_ref() else { return false };
    let Ok(keys) = EvaluationKeys::from_bytes(&d.params, &d.keys, LABEL, bytes) else { return false };
    assert!(keys.to_bytes() == bytes, "two encodings of the same keys");
    true
}

/// The body of an input message for the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertexts was accepted.
pub fn input(bytes: &[u8]) -> bool {
    let Some(d) = DERIVED.as_ref() else { return false };
    let Ok(cts) = messages::read_input(d, bytes) else { return false };
    assert!(messages::write_input(d, &cts) == bytes, "two encodings of the same ciphertexts");
    cts.iter().all(|ct| ct.expand(&d.params, LABEL).is_ok())
}

/// The body of an output message for the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertext was accepted.
pub fn output(bytes: &[u8]) -> bool {
    let Some(d) = DERIVED.as_ref() else { return false };
    let Ok(cts) = messages::read_output(d, bytes) else { return false };
    let mut w = Writer::new();
    cts.iter().for_each(|ct| ct.encode(&mut w));
    assert!(w.into_bytes() == bytes, "two encodings of one ciphertext");
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz_tests::{
        Harness, any_params, committed, damage, damage_in_place, exactly, refusal, six_primes,
    };
    use crate::leveled::choices::{InputForm, LayerChoice};
    use oblivia_base::Prg;
    use oblivia_base::codec::Encode;
    use oblivia_he::ckks::{Encoder, Encryptor};
    use oblivia_he::{LevelLiteral, Moduli, Params, ParamsLiteral, RingKind, SecretKey};
    use oblivia_pack::circuit::Options;
    use oblivia_pack::{Axis, Layout};
    use oblivia_protocol::System;
    use oblivia_protocol::session::Offer;
    use proptest::prelude::*;

    /// One valid body of every message.
    struct Bodies {
        keys: Vec<u8>,
        input: Vec<u8>,
        output: Vec<u8>,
    }

    static BODIES: LazyLock<Bodies> = LazyLock::new(|| {
        let d = DERIVED.as_ref().unwrap();
        let mut rng = Prg::new(&[3; 32], "bodies", &[]);
        let sk = SecretKey::generate(&d.params, &mut rng);
        let keys = EvaluationKeys::generate(&sk, &d.keys, LABEL, &mut rng).unwrap().to_bytes();
        let (encoder, encryptor) = (Encoder::new(&d.params), Encryptor::new(&d.params));
        let pt = encoder.encode(&[0.5; 16], d.params.max_level(), d.circuit.input_scale().0).unwrap();
        let ct = encryptor.encrypt_seeded(&sk, &pt, LABEL, &mut rng).unwrap();
        let input = messages::write_input(d, &[ct]);
        let pt = encoder.encode(&[0.5], 1, d.output_scale).unwrap();
        let mut w = Writer::new();
        encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap().encode(&mut w);
        Bodies { keys, input, output: w.into_bytes() }
    });

    fn bodies() -> [(&'static str, Harness, &'static [u8]); 3] {
        let b = &*BODIES;
        [("keys", keys, &b.keys), ("input", input, &b.input), ("output", output, &b.output)]
    }

    fn standard() -> LeveledChoices {
        choices_of(MODEL.as_ref().unwrap(), "diagonal").unwrap()
    }

    /// Standard choices, the same with the primes written out, LoLa's, and some whose levels have primes of their own.
    fn valid_choices() -> [(&'static str, Vec<u8>); 4] {
        let standard = standard();
        let params = Params::new(&standard.params).unwrap().literal().clone();
        let primes = LeveledChoices { params, ..standard.clone() };
        let lola = choices_of(MODEL.as_ref().unwrap(), "lola").unwrap();
        let levels = choices_of(MODEL.as_ref().unwrap(), "planned").unwrap();
        assert!(!levels.params.levels.is_empty());
        [
            ("standard", standard.to_bytes()),
            ("primes", primes.to_bytes()),
            ("lola", lola.to_bytes()),
            ("levels", levels.to_bytes()),
        ]
    }

    /// Offers of the small network by every system.
    fn valid_offers() -> Vec<(&'static str, Vec<u8>)> {
        let model = MODEL.clone().unwrap();
        let systems: [&dyn System; 2] = [&crate::leveled::Leveled, &crate::clear::Clear];
        let offer = |s: &dyn System| {
            let choices = s.plan(&model, &oblivia_protocol::Wish::default()).unwrap().choices;
            Offer { version: 1, nonce: [2; 32], model: model.clone(), choices }.to_bytes()
        };
        systems.into_iter().map(|s| (s.id(), offer(s))).collect()
    }

    #[test]
    fn committed_seeds_are_what_this_build_writes_and_accepts() {
        committed("leveled_choices", choices, valid_choices());
        committed("plan_offer", crate::fuzz::offer, valid_offers());
    }

    #[test]
    fn valid_messages_are_accepted_and_no_prefix_or_extension_of_them_is() {
        let choices: Vec<_> = valid_choices().map(|(name, c)| (name, choices as Harness, c)).to_vec();
        let offers: Vec<_> =
            valid_offers().into_iter().map(|(n, o)| (n, crate::fuzz::offer as Harness, o)).collect();
        let bodies = bodies().map(|(name, harness, body)| (name, harness, body.to_vec()));
        for (name, harness, body) in choices.into_iter().chain(offers).chain(bodies) {
            exactly(name, harness, &body);
        }
    }

    /// How the plan `diagonal` judges a model and choices, and what it says.
    fn judged(sizes: &Sizes, change: impl FnOnce(&mut PublicModel, &mut LeveledChoices)) -> String {
        let mut model = network(sizes).unwrap();
        let mut c = standard();
        change(&mut model, &mut c);
        let choices = wrap("diagonal", &c);
        refusal(&model, &choices, derive(&model, &choices))
    }

    /// Each of these claims sizes that a client would run out of memory or hours with.
    #[test]
    fn an_offer_that_would_make_a_client_build_something_huge_is_refused_before_it_does() {
        let dot = Sizes { input: [1, 1, 1], dense: [1, 1], ..SMALL };
        let most = 1 << 28;
        let cases = [
            Sizes { input: [most, 1, 1], ..dot.clone() },
            Sizes { input: [1, 1 << 14, 1 << 14], kernel: [1 << 14; 2], ..dot.clone() },
            Sizes { maps: 1 << 13, input: [1 << 15, 1, 1], ..dot.clone() },
            Sizes { maps: most, ..dot.clone() },
            Sizes { input: [1 << 19, 1, 1], ..dot.clone() },
            Sizes { input: [1, 1 << 14, 1 << 14], ..dot.clone() },
            Sizes { input: [1, 1 << 14, 1 << 14], stride: [most; 2], dense: [most, 1], ..dot.clone() },
            Sizes { input: [1, 64, 128], dense: [8192, 1], ..dot.clone() },
        ];
        for sizes in cases {
            // With the layouts of the small network, with such as would fit, and by LoLa's circuits.
            judged(&sizes, |_, _| {});
            judged(&sizes, |_, c| *c = choices_of(MODEL.as_ref().unwrap(), "lola").unwrap());
            judged(&sizes, |m, c| {
                let Ok(network) = Network::find(m) else { return };
                let shapes: Vec<_> = network.linear().map(|l| l.shape).collect();
                for (l, [n, h, w]) in c.layers.iter_mut().zip(shapes) {
                    let slots = 1usize << 13;
                    let each = (slots / (h * w)).max(1).min(n);
                    let channels = Axis::new(0, &[(each, h * w), (n.div_ceil(each), slots)]);
                    let axes = [channels, Axis::strided(h, w), Axis::strided(w, 1)];
                    if let Ok(layout) = Layout::new([n, h, w], slots, n.div_ceil(each), axes, slots) {
                        l.output = layout;
                        l.options =
                            Options { fold: slots, spread: 1, baby: 1, chained: false, quarters: false };
                        l.copies = None;
                    }
                }
            });
        }
    }

    #[test]
    fn parameters_that_are_too_many_too_large_or_insecure_are_refused() {
        type Case = (fn(&mut ParamsLiteral), &'static str);
        fn level(q: &[usize], special: usize) -> LevelLiteral {
            LevelLiteral { q: q.to_vec(), p: vec![special], alpha: 1 }
        }
        fn levels(q: &[usize], special: usize) -> Vec<LevelLiteral> {
            (1..=6).map(|l| level(&q[..l.min(q.len())], special)).collect()
        }
        let cases: [Case; 14] = [
            (|p| p.q = Moduli::Bits(vec![18; 64]), "not 64 and 1"),
            (|p| p.p = Moduli::Bits(vec![18; 64]), "not 6 and 64"),
            (|p| p.p = Moduli::Bits(vec![18; 7]), "no unused prime"),
            (|p| p.q = Moduli::Primes(Vec::new()), "6 levels, not 0"),
            (|p| p.levels = vec![level(&[0], 6)], "6 levels, not 1"),
            (|p| p.levels = levels(&[0, 1, 2, 3, 4, 7], 6), "primes of both kinds"),
            (|p| p.levels = levels(&[0, 1, 2, 3, 4, 5], 7), "primes of both kinds"),
            (|p| p.levels = levels(&[1, 3, 5, 5, 0, 2], 6), "twice"),
            (|p| p.levels = levels(&[0, 1, 2, 3, 4], 5), "must be larger"),
            (|p| p.log_n = 16, "32768"),
            (|p| p.kind = RingKind::Standard, "conjugate-invariant"),
            (|p| p.log_n = 0, "no such layout"),
            (|p| p.p = Moduli::Bits(vec![50]), "218"),
            (|p| p.alpha = 0, "limbs per digit"),
        ];
        for (change, says) in cases {
            let why = judged(&SMALL, |_, c| change(&mut c.params));
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn larger_rings_and_other_digits_are_taken() {
        let network = Network::find(MODEL.as_ref().unwrap()).unwrap();
        let larger = search::diagonal_at(&network, 15).unwrap();
        let mut wider = search::diagonal_at(&network, 14).unwrap();
        wider.params = ParamsLiteral { p: Moduli::Bits(vec![40; 2]), alpha: 2, ..wider.params };
        for c in [larger, wider] {
            assert!(choices(&c.to_bytes()));
        }
    }

    #[test]
    fn bounds_from_which_no_error_bound_follows_are_refused() {
        for (bound, norm) in [(1e300, 1e300), (1e-300, 1e-300), (1e-300, 1e300), (1e12, 1e12)] {
            let why = judged(&SMALL, |m, _| {
                for i in 0..m.graph.nodes().len() {
                    m.graph
                        .set_bound(WireId(i as u32), if i % 2 == 0 { bound } else { 1.0 / bound })
                        .unwrap();
                    m.graph.set_row_norm(WireId(i as u32), norm).unwrap();
                }
            });
            assert!(why.contains("no useful error bound"), "{bound} {norm}: {why}");
        }
    }

    fn any_choices() -> impl Strategy<Value = LeveledChoices> {
        let usual = Just(standard().params);
        let list = || prop::collection::vec(0usize..12, 0..6);
        let level = (list(), list(), 0usize..4).prop_map(|(q, p, alpha)| LevelLiteral { q, p, alpha });
        let levels = prop::collection::vec(level, 0..8);
        let literal = (any_params(), levels).prop_map(|(params, levels)| ParamsLiteral { levels, ..params });
        let layer = (0usize..3, 0u32..18, 0u32..18, 1usize..=1 << 17, prop::option::of(0u32..18), 20u32..61);
        let edits = prop::collection::vec(layer, 0..3);
        (prop_oneof![usual, literal, six_primes()], 20u32..61, 0u8..3, edits).prop_map(
            |(params, scale, form, edits)| {
                let mut c = LeveledChoices { params, input_log_scale: scale, ..standard() };
                let slots = 1 << c.params.log_n.min(17);
                if form > 0 {
                    let axes = [Axis::strided(1, 16), Axis::strided(4, 4), Axis::strided(4, 1)];
                    if let Ok(layout) = Layout::new([1, 4, 4], slots, 1, axes, slots) {
                        c.input =
                            if form == 1 { InputForm::Packed(layout) } else { InputForm::Columns(layout) };
                    }
                }
                for (at, fold, spread, baby, copies, log_scale) in edits {
                    if let Some(l) = c.layers.get_mut(at) {
                        let options = Options {
                            fold: 1 << fold,
                            spread: 1 << spread,
                            baby,
                            chained: baby % 2 == 0,
                            quarters: baby % 3 == 0,
                        };
                        *l = LayerChoice { log_scale, copies: copies.map(|c| 1 << c), options, ..l.clone() };
                    }
                }
                c
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_choices_are_refused_or_give_a_plan(c in any_choices()) {
            choices(&c.to_bytes());
        }

        #[test]
        fn damaged_choices_and_offers_are_refused_or_give_a_plan(
            which in 0..5usize,
            damage in damage(),
        ) {
            let (harness, bytes): (Harness, _) = match which {
                0..=2 => (choices, valid_choices()[which].1.clone()),
                _ => (crate::fuzz::offer, valid_offers()[which - 3].1.clone()),
            };
            harness(&damage.of(&bytes));
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            for (_, harness, _) in bodies() {
                prop_assert!(!harness(&bytes));
            }
            choices(&bytes);
            crate::fuzz::offer(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn damaged_bodies_are_refused_or_mean_exactly_their_bytes(
            which in 0..3usize,
            damage in damage_in_place(),
        ) {
            let (_, harness, body) = bodies()[which];
            harness(&damage.of(body));
        }
    }
}
