//! What tests of the harnesses for fuzzers share.

use crate::fuzz::derived;
use oblivia_base::Blame;
use oblivia_he::{Moduli, ParamsLiteral, RingKind};
use oblivia_nn::PublicModel;
use oblivia_protocol::{Choices, Error};
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::PathBuf;

/// Takes bytes; says whether they were accepted.
pub(crate) type Harness = fn(&[u8]) -> bool;

/// Seeds are accepted and lie in `fuzz/seeds/DECODER`, where cargo-fuzz finds them too, as this build writes them;
/// `OBLIVIA_WRITE_SEEDS=1` writes them anew.
pub(crate) fn committed<'a>(
    decoder: &str,
    harness: Harness,
    seeds: impl IntoIterator<Item = (&'a str, Vec<u8>)>,
) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(decoder);
    for (name, bytes) in seeds {
        assert!(harness(&bytes), "{decoder}/{name} is not accepted");
        let file = folder.join(name);
        if std::env::var_os("OBLIVIA_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(found, bytes, "{decoder}/{name} has another encoding now");
    }
}

/// A message is accepted, and no prefix or extension of it.
pub(crate) fn exactly(name: &str, harness: Harness, body: &[u8]) {
    assert!(harness(body), "{name}");
    for cut in [0, 1, 31, 32, 41, 73, 96, body.len() / 2, body.len() - 1] {
        assert!(cut >= body.len() || !harness(&body[..cut]), "{name} cut at {cut}");
    }
    assert!(!harness(&[body, &[0]].concat()), "{name} with a byte more");
}

/// Why a client refuses choices for a model, whose plan was `tried` to derive.
pub(crate) fn refusal<T>(model: &PublicModel, choices: &Choices, tried: Result<T, Error>) -> String {
    assert!(!derived(model, choices));
    let error = tried.map(|_| ()).unwrap_err();
    let blame = error.blame();
    assert!(matches!(blame, Blame::Refused | Blame::InvalidMessage | Blame::Unsupported), "{error}");
    error.to_string()
}

/// What happens to bytes on their way.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    edits: Vec<(Index, u8)>,
    head: Option<(usize, u8)>,
    cut: Option<Index>,
    more: Vec<u8>,
}

impl Damage {
    pub(crate) fn of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (at, value) in &self.edits {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        if let Some((at, value)) = self.head {
            bytes[at] ^= value;
        }
        if let Some(cut) = self.cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(&self.more);
        bytes
    }
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>()), 1..4)
}

/// Some bytes are others, some are missing, some are too many.
pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let more = prop::collection::vec(any::<u8>(), 0..3);
    (edits(), prop::option::of(any::<Index>()), more).prop_map(|(edits, cut, more)| Damage {
        edits,
        head: None,
        cut,
        more,
    })
}

/// Some bytes are others, perhaps among the first 128, behind which are residues alone.
pub(crate) fn damage_in_place() -> impl Strategy<Value = Damage> {
    (edits(), prop::option::of((0..128usize, any::<u8>()))).prop_map(|(edits, head)| Damage {
        edits,
        head,
        cut: None,
        more: Vec::new(),
    })
}

fn moduli(max: usize) -> impl Strategy<Value = Moduli> {
    prop_oneof![
        prop::collection::vec(10u32..56, 0..max).prop_map(Moduli::Bits),
        prop::collection::vec(any::<u64>(), 0..max).prop_map(Moduli::Primes),
    ]
}

/// Parameters, few of which there are.
pub(crate) fn any_params() -> impl Strategy<Value = ParamsLiteral> {
    let kind = any::<bool>()
        .prop_map(|standard| if standard { RingKind::Standard } else { RingKind::ConjugateInvariant });
    (kind, 0u32..20, moduli(9), moduli(9), 0usize..9).prop_map(|(kind, log_n, q, p, alpha)| ParamsLiteral {
        kind,
        log_n,
        q,
        p,
        alpha,
        levels: Vec::new(),
    })
}

/// Six primes of the sizes a larger ring allows, so that some are accepted.
pub(crate) fn six_primes() -> impl Strategy<Value = ParamsLiteral> {
    (13u32..16, prop::collection::vec(20u32..34, 6), 36u32..51, 1usize..3).prop_map(|(log_n, q, p, alpha)| {
        ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n,
            q: Moduli::Bits(q),
            p: Moduli::Bits(vec![p; alpha]),
            alpha,
            levels: Vec::new(),
        }
    })
}
