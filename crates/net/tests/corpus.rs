//! The reader of frames, on committed seeds and on damage to them.
//!
//! The seeds lie in `fuzz/seeds/frames`, where cargo-fuzz finds them too. `OBLIVIA_WRITE_SEEDS=1` writes them anew.

use oblivia_net::frame::{Header, heartbeat};
use oblivia_net::fuzz::frames;
use oblivia_protocol::Kind;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

fn message(kind: Kind, sequence: u32, body: &[u8]) -> Vec<u8> {
    [&Header { kind, sequence, body_bytes: body.len() as u32 }.encode()[..], body].concat()
}

/// Name, bytes, messages in them. The first byte says how finely the stream is chopped.
static SEEDS: LazyLock<Vec<(&str, Vec<u8>, usize)>> = LazyLock::new(|| {
    let hello = message(Kind::Hello, 0, b"hello");
    let answer = message(Kind::System(2), 1, &[7; 30]);
    let (before, between) = (heartbeat(0), heartbeat(1));
    vec![
        ("messages", [&[4][..], &hello, &answer].concat(), 2),
        (
            "heartbeats",
            [&[4][..], &before, &before, &hello, &between, &between, &between, &answer].concat(),
            2,
        ),
        ("heartbeats_alone", [&[255][..], &before, &before].concat(), 0),
        ("heartbeat_of_another_message", [&[11][..], &hello, &before, &answer].concat(), 1),
    ]
});

#[test]
fn every_seed_is_committed_and_has_its_messages() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/frames");
    for (name, bytes, messages) in &*SEEDS {
        let path = folder.join(name);
        if std::env::var_os("OBLIVIA_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), *bytes, "{}", path.display());
        assert_eq!(frames(bytes), *messages, "{name}");
    }
}

proptest! {
    #[test]
    fn damage_to_a_seed_never_panics(
        which in 0usize..4,
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = SEEDS[which].1.clone();
        frames(&bytes[..end.index(bytes.len() + 1)]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        frames(&bytes);
    }
}
