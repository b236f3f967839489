//! Harnesses for fuzzers, as [`super::super::fuzz`].

use super::super::fuzz::{LABEL, SMALL, network};
use super::super::plan::SYSTEM;
use super::BATCH;
use super::choices::BatchChoices;
use super::plan::{Derived, PLAN, derive, search};
use super::wire;
use crate::fuzz::derived;
use oblivia_base::fuzz::round_trip;
use oblivia_nn::PublicModel;
use oblivia_protocol::{Choices, Wish};
use std::sync::LazyLock;

static MODEL: LazyLock<Option<PublicModel>> = LazyLock::new(|| network(&SMALL).ok());

/// What a server chooses for the small network.
static CHOSEN: LazyLock<Option<Choices>> =
    LazyLock::new(|| Some(search(MODEL.as_ref()?, &Wish::default()).ok()?.choices));

static DERIVED: LazyLock<Option<Derived>> = LazyLock::new(|| derive(MODEL.as_ref()?, CHOSEN.as_ref()?).ok());

/// Bytes of choices of mode `batch` for the small network: refused, or a plan.
pub fn choices(bytes: &[u8]) -> bool {
    let Some(model) = MODEL.as_ref() else { return false };
    round_trip::<BatchChoices>(bytes);
    let name = str::to_owned;
    let (system, mode, plan) = (name(SYSTEM), name(BATCH), name(PLAN));
    derived(model, &Choices { system, mode, plan, bytes: bytes.to_vec() })
}

/// The body of the first input message of a group for the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertexts was accepted.
pub fn input(bytes: &[u8]) -> bool {
    let Some(d) = DERIVED.as_ref() else { return false };
    let again = |ct: oblivia_he::SeededCiphertext| {
        let bytes = wire::write_input(d, &ct);
        Ok((bytes, ct.into_expanded(&d.params, LABEL)?))
    };
    let Some(first) = d.inputs.ranges().next() else { return false };
    let Ok(cts) = wire::read_input(d, first.len(), bytes, again) else { return false };
    let (encoded, _): (Vec<Vec<u8>>, Vec<_>) = cts.into_iter().unzip();
    assert!(encoded.concat() == bytes, "two encodings of the same ciphertexts");
    true
}

/// The body of an output message for the small network.
///
/// # Panics
/// When something other than the encoding of the ciphertexts was accepted.
pub fn output(bytes: &[u8]) -> bool {
    let Some(d) = DERIVED.as_ref() else { return false };
    let Some(first) = d.outputs.ranges().next() else { return false };
    let Ok(cts) = wire::read_output(d, first.len(), bytes) else { return false };
    assert!(wire::write_output(d, &cts) == bytes, "two encodings of the same ciphertexts");
    true
}

#[cfg(test)]
mod tests {
    use super::super::super::fuzz::Sizes;
    use super::super::super::network::Network;
    use super::super::client::Seat;
    use super::super::plan::derive_from;
    use super::*;
    use crate::fuzz_tests::{
        Harness, any_params, committed, damage, damage_in_place, exactly, refusal, six_primes,
    };
    use oblivia_base::codec::{Decode, Encode, Writer};
    use oblivia_base::{Prg, Secret};
    use oblivia_he::ckks::{Encoder, Encryptor};
    use oblivia_he::{Moduli, RingKind, SecretKey};
    use oblivia_nn::WireId;
    use oblivia_protocol::session::Offer;
    use proptest::prelude::*;

    fn standard() -> BatchChoices {
        BatchChoices::from_bytes(&CHOSEN.as_ref().unwrap().bytes).unwrap()
    }

    fn offer() -> Vec<u8> {
        let (model, choices) = (MODEL.clone().unwrap(), CHOSEN.clone().unwrap());
        Offer { version: 1, nonce: [2; 32], model, choices }.to_bytes()
    }

    /// Choices as a server makes them, and with the primes written out.
    fn valid_choices() -> [(&'static str, Vec<u8>); 2] {
        let params = DERIVED.as_ref().unwrap().params.literal().clone();
        let primes = BatchChoices { params, ..standard() };
        [("standard", standard().to_bytes()), ("primes", primes.to_bytes())]
    }

    static BODIES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let d = DERIVED.as_ref().unwrap();
        let mut rng = Prg::new(&[3; 32], "bodies", &[]);
        let sk = SecretKey::generate(&d.params, &mut rng);
        let seat = Seat::new(d, MODEL.as_ref().unwrap(), &sk);
        let first = d.inputs.ranges().next().unwrap();
        let input = seat.encrypt(&[Some(&[0.5; 16])], first, LABEL, &Secret::new([3; 32])).unwrap();
        let (encoder, encryptor) = (Encoder::new(&d.params), Encryptor::new(&d.params));
        let mut w = Writer::new();
        for _ in 0..d.outputs.all {
            let pt = encoder.encode(&[0.5], 1, d.output_scale).unwrap();
            encryptor.encrypt_symmetric(&sk, &pt, &mut rng).unwrap().encode(&mut w);
        }
        [input, w.into_bytes()]
    });

    fn bodies() -> [(&'static str, Harness, &'static [u8]); 2] {
        let [i, o] = &*BODIES;
        [("input", input, i), ("output", output, o)]
    }

    #[test]
    fn committed_seeds_are_what_this_build_writes_and_accepts() {
        committed("leveled_batch_choices", choices, valid_choices());
        committed("plan_offer", crate::fuzz::offer, [("leveled-batch", offer())]);
    }

    #[test]
    fn valid_messages_are_accepted_and_no_prefix_or_extension_of_them_is() {
        let choices = valid_choices().map(|(name, c)| (name, choices as Harness, c));
        let bodies = bodies().map(|(name, harness, body)| (name, harness, body.to_vec()));
        let offer = [("offer", crate::fuzz::offer as Harness, offer())];
        for (name, harness, body) in choices.into_iter().chain(offer).chain(bodies) {
            exactly(name, harness, &body);
        }
    }

    /// How choices for a network are judged.
    fn judged(sizes: &Sizes, change: impl FnOnce(&mut PublicModel, &mut BatchChoices)) -> String {
        let mut model = network(sizes).unwrap();
        let mut c = standard();
        change(&mut model, &mut c);
        let choices = Choices { bytes: c.to_bytes(), ..CHOSEN.clone().unwrap() };
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
            Sizes { input: [1 << 17, 1, 1], ..dot.clone() },
            Sizes { input: [1, 1 << 14, 1 << 14], stride: [most; 2], dense: [most, 1], ..dot.clone() },
            Sizes { input: [1, 255, 255], kernel: [128; 2], ..dot.clone() },
            Sizes { input: [1, 64, 128], dense: [8192, 1], ..dot.clone() },
        ];
        for sizes in cases {
            judged(&sizes, |_, _| {});
        }
    }

    #[test]
    fn parameters_that_are_too_many_too_large_or_insecure_and_messages_that_are_too_long_are_refused() {
        type Case = (fn(&mut BatchChoices), &'static str);
        let cases: [Case; 10] = [
            (|c| c.params.q = Moduli::Bits(vec![18; 64]), "not 64 and 1"),
            (|c| c.params.p = Moduli::Bits(vec![18; 64]), "not 6 and 64"),
            (|c| c.params.q = Moduli::Primes(Vec::new()), "6 primes, not 0"),
            (|c| c.params.log_n = 16, "32768"),
            (|c| c.params.kind = RingKind::Standard, "conjugate-invariant"),
            (|c| c.params.log_n = 0, "ring degree"),
            (|c| c.params.p = Moduli::Bits(vec![50]), "218"),
            (|c| c.params.alpha = 0, "limbs per digit"),
            (|c| c.log_scales.truncate(2), "2 linear layers are planned"),
            (|c| c.log_scales[2] = 60, "do not fit"),
        ];
        for (change, says) in cases {
            let why = judged(&SMALL, |_, c| change(c));
            assert!(why.contains(says), "{says}: {why}");
        }
        let wide = Sizes { input: [1, 16, 16], ..SMALL };
        let why = judged(&wide, |_, c| c.per_input = 256);
        assert!(why.contains("bytes of input at once"), "{why}");
    }

    #[test]
    fn larger_rings_other_digits_and_other_messages_are_taken() {
        let network = Network::find(MODEL.as_ref().unwrap()).unwrap();
        let mut c = standard();
        (c.params.log_n, c.per_input, c.per_output) = (15, 1, 1);
        c.params.p = Moduli::Bits(vec![40; 2]);
        c.params.alpha = 2;
        let d = derive_from(network, &c).unwrap();
        assert_eq!((d.group(), d.inputs.count(), d.outputs.count()), (1 << 15, 16, 2));
        assert!(choices(&c.to_bytes()));
    }

    #[test]
    fn bounds_from_which_no_error_bound_follows_are_refused() {
        for (bound, norm) in [(1e300, 1e300), (1e-300, 1e-300), (1e-300, 1e300), (1e12, 1e12)] {
            let why = judged(&SMALL, |m, _| {
                for i in 0..m.graph.nodes().len() {
                    let bound = if i % 2 == 0 { bound } else { 1.0 / bound };
                    m.graph.set_bound(WireId(i as u32), bound).unwrap();
                    m.graph.set_row_norm(WireId(i as u32), norm).unwrap();
                }
            });
            assert!(why.contains("no useful error bound") || why.contains("do not fit"), "{why}");
        }
    }

    fn any_choices() -> impl Strategy<Value = BatchChoices> {
        let params = prop_oneof![Just(standard().params), any_params(), six_primes()];
        let scales = prop::collection::vec(20u32..=60, 3..=3);
        (params, 20u32..=60, scales, 1u32..=1 << 16, 1u32..=1 << 16).prop_map(
            |(params, input_log_scale, log_scales, per_input, per_output)| BatchChoices {
                params,
                input_log_scale,
                log_scales,
                per_input,
                per_output,
                ..standard()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_choices_are_refused_or_give_a_plan(c in any_choices()) {
            choices(&c.to_bytes());
        }

        #[test]
        fn damaged_choices_and_offers_are_refused_or_give_a_plan(
            which in 0..3usize,
            damage in damage(),
        ) {
            let (harness, bytes): (Harness, _) = match which {
                0..=1 => (choices, valid_choices()[which].1.clone()),
                _ => (crate::fuzz::offer, offer()),
            };
            harness(&damage.of(&bytes));
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            for (_, harness, _) in bodies() {
                prop_assert!(!harness(&bytes));
            }
            choices(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn damaged_bodies_are_refused_or_mean_exactly_their_bytes(
            which in 0..2usize,
            damage in damage_in_place(),
        ) {
            let (_, harness, body) = bodies()[which];
            harness(&damage.of(body));
        }
    }
}
