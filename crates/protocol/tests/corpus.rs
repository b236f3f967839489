//! Decoders of the messages that agree on a plan, on committed seeds and on damage to them.
//!
//! The seeds lie in `fuzz/seeds/<decoder>`, where cargo-fuzz finds them too. `OBLIVIA_WRITE_SEEDS=1` writes them
//! anew; do that only together with a new version of the format.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;
use common::{hello, model};
use oblivia_base::codec::Encode;
use oblivia_nn::testing::tiny_model;
use oblivia_protocol::session::{Hello, MAX_SAMPLES, Offer, Purpose, Reply, VERSION};
use oblivia_protocol::{Allowance, Budget, Choices, Kind, LinkRate, Notice, Role, Shortfall, Traffic, fuzz};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A decoder, its name, and valid encodings by name.
struct Decoder {
    name: &'static str,
    harness: fn(&[u8]) -> bool,
    seeds: Vec<(&'static str, Vec<u8>)>,
}

fn choices() -> Choices {
    Choices { system: "toy".into(), mode: "plain".into(), plan: "small".into(), bytes: vec![7, 0, 255] }
}

static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(|| {
    let wide = Hello {
        min_version: 0,
        max_version: u16::MAX,
        model: "ü".repeat(64),
        system: String::new(),
        mode: "approximate".into(),
        plan: "diagonal".into(),
        link: Some(LinkRate { bits_per_second: u64::MAX, round_trip_us: 0 }),
        max_bytes: Some(u64::MAX),
        group: Some(u32::MAX),
        purpose: Purpose::Predict,
        samples: MAX_SAMPLES,
        nonce: [255; 32],
    };
    let ahead = Hello { purpose: Purpose::MakeAhead, ..hello() };
    let offer = |model| Offer { version: VERSION, nonce: [2; 32], model, choices: choices() }.to_bytes();
    let allowance = Allowance { budget: Budget::ClientDay, images: 1000, left: 17 };
    let short = Shortfall { budget: Budget::Model, images: 1000, used: 1000, asked: 1, counted: 8192 };
    let small = Offer { version: VERSION, nonce: [2; 32], model: model("m"), choices: choices() };
    let empty =
        Choices { system: String::new(), mode: String::new(), plan: String::new(), bytes: Vec::new() };
    vec![
        Decoder {
            name: "hello",
            harness: fuzz::hello,
            seeds: vec![
                ("plain", hello().to_bytes()),
                ("wide", wide.to_bytes()),
                ("ahead", ahead.to_bytes()),
            ],
        },
        Decoder {
            name: "offer",
            harness: fuzz::offer,
            seeds: vec![
                ("no_layer", offer(model("m"))),
                ("tiny", offer(tiny_model().public)),
                ("allowance", Reply::Offer(Box::new(small), Some(allowance)).to_bytes()),
                ("short", Reply::Short(short).to_bytes()),
            ],
        },
        Decoder { name: "accept", harness: fuzz::accept, seeds: vec![("digest", vec![0xa5; 32])] },
        Decoder {
            name: "choices",
            harness: fuzz::choices,
            seeds: vec![("toy", choices().to_bytes()), ("empty", empty.to_bytes())],
        },
        Decoder {
            name: "notice",
            harness: fuzz::notice,
            seeds: vec![
                ("failed", Notice::Failed.to_bytes()),
                ("busy", Notice::Busy.to_bytes()),
                ("budget", Notice::Budget.to_bytes()),
                ("unable", Notice::Unable.to_bytes()),
            ],
        },
        Decoder {
            name: "role",
            harness: fuzz::role,
            seeds: vec![("server", Role::Server.to_bytes()), ("holder", Role::Holder(9).to_bytes())],
        },
        Decoder {
            name: "traffic",
            harness: fuzz::traffic,
            seeds: vec![("some", Traffic { up_bytes: 1, down_bytes: u64::MAX, rounds: 2 }.to_bytes())],
        },
        Decoder {
            name: "kind",
            harness: fuzz::kind,
            seeds: vec![
                ("hello", Kind::Hello.code().to_le_bytes().to_vec()),
                ("system", Kind::System(7).code().to_le_bytes().to_vec()),
            ],
        },
    ]
});

#[test]
fn committed_seeds_are_what_this_build_writes_and_accepts() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for decoder in DECODERS.iter() {
        let folder = root.join(decoder.name);
        for (name, bytes) in &decoder.seeds {
            assert!((decoder.harness)(bytes), "{}/{name} is not accepted", decoder.name);
            if std::env::var_os("OBLIVIA_WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(name), bytes).unwrap();
            }
            let file = folder.join(name);
            let committed = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert_eq!(committed, *bytes, "{}/{name} has another encoding now", decoder.name);
        }
    }
}

#[test]
fn every_folder_of_seeds_is_a_targets() {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let targets = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for folder in std::fs::read_dir(fuzz.join("seeds")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(targets.contains(&format!("name = \"{name}\"\n")), "there is no target `{name}`");
    }
}

#[test]
fn no_proper_prefix_and_no_extension_of_a_seed_is_accepted() {
    for decoder in DECODERS.iter() {
        for (name, bytes) in &decoder.seeds {
            for cut in 0..bytes.len() {
                assert!(!(decoder.harness)(&bytes[..cut]), "{}/{name} cut at {cut}", decoder.name);
            }
            for more in [0, 1, 255] {
                let longer = [bytes.as_slice(), &[more]].concat();
                assert!(!(decoder.harness)(&longer), "{}/{name} with {more} behind", decoder.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_seeds_are_refused_or_mean_exactly_their_bytes(
        which: prop::sample::Index,
        seed: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let decoder = which.get(&DECODERS);
        let mut bytes = seed.get(&decoder.seeds).1.clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(more);
        (decoder.harness)(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for decoder in DECODERS.iter() {
            (decoder.harness)(&bytes);
        }
    }
}
