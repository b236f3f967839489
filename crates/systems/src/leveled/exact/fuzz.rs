//! Harnesses for fuzzers of the exact modes, as those of [`super::super::fuzz`].

use super::super::fuzz::{LABEL, MODEL};
use super::super::plan::{SYSTEM, search};
use super::choices::ExactChoices;
use super::plan::{Derived, derive};
use super::{EXACT, PRIVATE, wire};
use crate::common::keys::KeyMaker;
use crate::fuzz::derived;
use oblivia_base::codec::Writer;
use oblivia_base::fuzz::round_trip;
use oblivia_protocol::{Choices, Plan, Wish};
use std::sync::LazyLock;

/// The best plan of a mode for the small network.
fn planned(mode: &str) -> Option<Plan> {
    search(MODEL.as_ref()?, &Wish { mode: Some(mode.into()), ..Wish::default() }).ok()
}

/// The small network in mode `circuit-private`, whose messages have all parts there are.
static SMALL: LazyLock<Option<(Plan, Derived)>> = LazyLock::new(|| {
    let plan = planned(PRIVATE)?;
    let d = derive(MODEL.as_ref()?, &plan.choices).ok()?;
    Some((plan, d))
});

/// Bytes of choices for the small network in one mode or the other: refused, or a plan.
pub fn choices(bytes: &[u8]) -> bool {
    let Some(model) = MODEL.as_ref() else { return false };
    round_trip::<ExactChoices>(bytes);
    let name = str::to_owned;
    let accepted = |mode: &str| {
        let choices =
            Choices { system: name(SYSTEM), mode: name(mode), plan: name("planned"), bytes: bytes.to_vec() };
        derived(model, &choices)
    };
    [EXACT, PRIVATE].map(accepted).contains(&true)
}

/// The body of a message of keys for the small network.
///
/// # Panics
/// When something other than the encoding of the keys was accepted.
pub fn keys(bytes: &[u8]) -> bool {
    let Some((plan, d)) = SMALL.as_ref() else { return false };
    let Ok(terms) = wire::key_terms(d, plan) else { return false };
    let Ok(keys) = terms.maker.read(LABEL, bytes) else { return false };
    let mut w = Writer::new();
    for (i, evaluation) in keys.evaluation.iter().enumerate() {
        evaluation.encode(&mut w);
        keys.public.get(i).into_iter().for_each(|key| key.encode(&mut w));
    }
    assert!(w.into_bytes() == bytes, "two encodings of the same keys");
    true
}

/// The body of an input message for the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertexts was accepted.
pub fn input(bytes: &[u8]) -> bool {
    let Some((_, d)) = SMALL.as_ref() else { return false };
    let Ok(cts) = wire::read_input(d, bytes) else { return false };
    let mut w = Writer::new();
    cts.iter().flatten().for_each(|ct| ct.encode(&mut w));
    assert!(w.into_bytes() == bytes, "two encodings of the same ciphertexts");
    cts.iter().zip(&d.contexts).all(|(cts, c)| cts.iter().all(|ct| ct.expand(c, LABEL).is_ok()))
}

/// The body of an output message for the small network.
///
/// # Panics
/// When something other than the encoding of the replies was accepted.
pub fn output(bytes: &[u8]) -> bool {
    let Some((_, d)) = SMALL.as_ref() else { return false };
    let Ok(replies) = wire::read_output(d, bytes) else { return false };
    let mut w = Writer::new();
    replies.iter().for_each(|reply| reply.encode(&mut w));
    assert!(w.into_bytes() == bytes, "two encodings of the same replies");
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz_tests::{Harness, committed, damage, damage_in_place, exactly, refusal};
    use crate::leveled::choices::InputForm;
    use crate::leveled::exact::server;
    use crate::leveled::fuzz::{Sizes, network};
    use crate::leveled::network::Network;
    use oblivia_base::codec::{Decode, Encode};
    use oblivia_base::{Prg, Secret};
    use oblivia_he::{Moduli, Params, ParamsLiteral, RingKind, SecretKey};
    use oblivia_nn::{Model, PublicModel, Tensor, Weights};
    use oblivia_pack::circuit::Options;
    use oblivia_pack::{Axis, Layout};
    use proptest::prelude::*;

    static STANDARD: LazyLock<[ExactChoices; 2]> = LazyLock::new(|| {
        [EXACT, PRIVATE].map(|mode| ExactChoices::from_bytes(&planned(mode).unwrap().choices.bytes).unwrap())
    });

    fn standard(mode: &str) -> ExactChoices {
        STANDARD[usize::from(mode == PRIVATE)].clone()
    }

    /// Choices of both modes, and the same with the primes written out.
    fn valid_choices() -> [(&'static str, Vec<u8>); 3] {
        let (exact, private) = (standard(EXACT), standard(PRIVATE));
        let mut primes = exact.clone();
        primes.inner.params = Params::new(&exact.inner.params).unwrap().literal().clone();
        [(EXACT, exact.to_bytes()), (PRIVATE, private.to_bytes()), ("primes", primes.to_bytes())]
    }

    /// One valid body of every message.
    static BODIES: LazyLock<[(&'static str, Harness, Vec<u8>); 3]> = LazyLock::new(|| {
        let (plan, d) = SMALL.as_ref().unwrap();
        let public = MODEL.clone().unwrap();
        let mut rng = Prg::new(&[3; 32], "bodies", &[]);
        let terms = wire::key_terms(d, plan).unwrap();
        let sk = SecretKey::generate(d.params().unwrap(), &mut rng);
        let keys_body = terms.maker.make(&sk, LABEL, &mut rng).unwrap();
        let tensors = public.graph.weights().iter().map(|w| {
            let values = (0..w.shape.elements()).map(|i| 0.1 - 0.05 * (i % 5) as f32).collect();
            Tensor::new(w.shape.clone(), values).unwrap()
        });
        let weights = Weights::new(&public.graph, tensors.collect()).unwrap();
        let model = Model { public: public.clone(), weights, calibration: None };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let prepared = server::Prepared::new(plan, &model, &pool).unwrap();
        let read = terms.maker.read(LABEL, &keys_body).unwrap();
        let image = Tensor::new(public.graph.input_shape().clone(), vec![1.0; 16]).unwrap();
        let seat = super::super::client::Seat::new(d, &public, &sk).unwrap();
        let input_body = seat.encrypt(&image, LABEL, &Secret::new([1; 32])).unwrap();
        let output_body =
            server::Seat::new(&prepared, &read).predict(LABEL, &input_body, &Secret::new([2; 32])).unwrap();
        [("keys", keys, keys_body), ("input", input, input_body), ("output", output, output_body)]
    });

    #[test]
    fn committed_seeds_are_what_this_build_writes_and_accepts() {
        committed("leveled_exact_choices", choices, valid_choices());
    }

    #[test]
    fn valid_messages_are_accepted_and_no_prefix_or_extension_of_them_is() {
        let choices = valid_choices().map(|(name, c)| (name, choices as Harness, c));
        for (name, harness, body) in choices.iter().chain(&*BODIES) {
            exactly(name, *harness, body);
        }
    }

    /// Why a model and choices are refused, in both modes.
    fn judged(model: &PublicModel, change: impl Fn(&mut ExactChoices)) -> [String; 2] {
        [EXACT, PRIVATE].map(|mode| {
            let mut c = standard(mode);
            change(&mut c);
            let name = str::to_owned;
            let choices = Choices {
                system: name(SYSTEM),
                mode: name(mode),
                plan: name("planned"),
                bytes: c.to_bytes(),
            };
            refusal(model, &choices, derive(model, &choices))
        })
    }

    /// Each of these claims sizes that a client would run out of memory or hours with.
    #[test]
    fn an_offer_that_would_make_a_client_build_something_huge_is_refused_before_it_does() {
        let small = || super::super::super::fuzz::SMALL.clone();
        let dot = || Sizes { input: [1, 1, 1], dense: [1, 1], ..small() };
        let most = 1 << 28;
        let cases = [
            Sizes { input: [most, 1, 1], ..dot() },
            Sizes { input: [1, 1 << 14, 1 << 14], kernel: [1 << 14; 2], ..dot() },
            Sizes { maps: 1 << 13, input: [1 << 15, 1, 1], ..dot() },
            Sizes { maps: most, ..dot() },
            Sizes { input: [1 << 19, 1, 1], ..dot() },
            Sizes { input: [1, 1 << 14, 1 << 14], ..dot() },
            Sizes { input: [1, 64, 128], dense: [8192, 1], ..dot() },
        ];
        for sizes in cases {
            let model = network(&sizes).unwrap();
            // With the layouts of the small network, and with such as would fit, from taps and packed.
            judged(&model, |_| {});
            for taps in [false, true] {
                judged(&model, |c| fit(&model, c, taps));
            }
        }
    }

    /// Layouts of the sizes of `model`, as far as there are any.
    fn fit(model: &PublicModel, c: &mut ExactChoices, taps: bool) {
        let Ok(network) = Network::find(model) else { return };
        let slots = (1usize << c.inner.params.log_n) / 2;
        let layout = |[n, h, w]: [usize; 3]| {
            let each = (slots / (h * w)).max(1).min(n);
            let channels = Axis::new(0, &[(each, h * w), (n.div_ceil(each), slots)]);
            let axes = [channels, Axis::strided(h, w), Axis::strided(w, 1)];
            Layout::new([n, h, w], slots, n.div_ceil(each), axes, slots).ok()
        };
        c.inner.input = match layout(network.input).filter(|_| !taps) {
            Some(input) => InputForm::Packed(input),
            None => InputForm::Taps,
        };
        let shapes: Vec<_> = network.linear().map(|l| l.shape).collect();
        for (l, shape) in c.inner.layers.iter_mut().zip(shapes) {
            if let Some(output) = layout(shape) {
                l.output = output;
                l.options = Options { fold: slots, spread: 1, baby: 1, chained: false, quarters: false };
                l.copies = None;
            }
        }
    }

    #[test]
    fn parameters_that_are_too_many_too_large_or_insecure_are_refused() {
        type Case = (fn(&mut ExactChoices), &'static str);
        let cases: [Case; 15] = [
            (|c| c.inner.params.q = Moduli::Bits(vec![18; 64]), "at most 32 primes"),
            (|c| c.inner.params.p = Moduli::Bits(vec![18; 64]), "at most 32 primes"),
            (|c| c.inner.params.q = Moduli::Primes(Vec::new()), "primes and at most two"),
            (|c| c.inner.params.q = Moduli::Bits(vec![30; 32]), "primes and at most two"),
            (|c| c.inner.params.p = Moduli::Bits(vec![50; 16]), "128-bit security"),
            (|c| c.inner.params.log_n = 16, "32768"),
            (|c| c.inner.params.kind = RingKind::ConjugateInvariant, "standard ring"),
            (|c| c.inner.params.log_n = 0, "layout"),
            (|c| c.inner.params.alpha = 0, "limbs per digit"),
            (|c| c.t = Vec::new(), "1 to 3"),
            (|c| c.t = vec![32; 4], "plaintext primes"),
            (|c| c.t = vec![50], "plaintext prime"),
            (|c| c.input_log_scale = 21, "log scale"),
            (|c| c.weight_log_scales = vec![21; 3], "log scale"),
            (|c| c.cut = [50, 0], "bits cut"),
        ];
        let model = MODEL.clone().unwrap();
        for (i, (change, says)) in cases.into_iter().enumerate() {
            for why in judged(&model, change) {
                assert!(why.contains(says), "{i}: {why}");
            }
        }
    }

    #[test]
    fn circuits_that_have_no_whole_numbers_are_no_choice() {
        let model = MODEL.clone().unwrap();
        let lola = crate::leveled::choices::LolaChoice { log_period: 13, log_scales: [0; 4] };
        for why in judged(&model, |c| c.inner.input = InputForm::Lola(lola.clone())) {
            assert!(why.contains("input form"), "{why}");
        }
    }

    fn any_choices() -> impl Strategy<Value = ExactChoices> {
        let primes = |max| prop::collection::vec(18u32..56, 0..max).prop_map(Moduli::Bits);
        let usual = Just(None);
        let literal = (any::<bool>(), 0u32..20, primes(9), primes(9), 0usize..9).prop_map(
            |(standard, log_n, q, p, alpha)| {
                let kind = if standard { RingKind::Standard } else { RingKind::ConjugateInvariant };
                Some(ParamsLiteral { kind, log_n, q, p, alpha, levels: Vec::new() })
            },
        );
        let layer = (0usize..3, 0u32..18, 0u32..18, 1usize..=1 << 17, prop::option::of(0u32..18));
        (
            any::<bool>(),
            prop_oneof![usual, literal],
            prop::option::of(prop::collection::vec(18u32..44, 0..5)),
            (0u32..22, prop::collection::vec(0u32..22, 3), 0u32..1000, [0u32..52, 0u32..52]),
            prop::collection::vec(layer, 0..3),
        )
            .prop_map(|(private, params, t, (input, weights, flood, cut), edits)| {
                let mut c = standard(if private { PRIVATE } else { EXACT });
                c.inner.params = params.unwrap_or(c.inner.params);
                if let Some(t) = t {
                    (c.t, c.input_log_scale, c.weight_log_scales, c.cut) = (t, input, weights, cut);
                    c.flood = if private { flood } else { 0 };
                }
                for (at, fold, spread, baby, copies) in edits {
                    if let Some(l) = c.inner.layers.get_mut(at) {
                        l.options = Options {
                            fold: 1 << fold,
                            spread: 1 << spread,
                            baby,
                            chained: baby % 2 == 0,
                            quarters: baby % 3 == 0,
                        };
                        l.copies = copies.map(|c| 1 << c);
                    }
                }
                c
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_choices_are_refused_or_give_a_plan(c in any_choices()) {
            choices(&c.to_bytes());
        }

        #[test]
        fn damaged_choices_are_refused_or_give_a_plan(
            which in 0..3usize,
            damage in damage(),
        ) {
            choices(&damage.of(&valid_choices()[which].1));
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            for (_, harness, _) in &*BODIES {
                prop_assert!(!harness(&bytes));
            }
            choices(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn damaged_bodies_are_refused_or_mean_exactly_their_bytes(
            which in 0..3usize,
            damage in damage_in_place(),
        ) {
            let (_, harness, body) = &BODIES[which];
            harness(&damage.of(body));
        }
    }
}
