//! Any bytes in place of any message: no panic, and refused where the step can know.
#![expect(clippy::unwrap_used, reason = "tests")]

use oblivia_mpc::fuzz::{self, Harness};
use proptest::prelude::*;
use std::sync::LazyLock;

static HARNESSES: LazyLock<Vec<Harness>> = LazyLock::new(|| fuzz::valid().unwrap());

/// Steps that cannot tell a damaged message from another one.
const UNCHECKED: [&str; 4] =
    ["mpc_base_ot_offer", "mpc_base_ot_answer", "mpc_silent_trees", "mpc_silent_check"];

#[test]
fn every_harness_accepts_its_message_and_no_other_length() {
    for (name, accepts, valid) in HARNESSES.iter() {
        assert!(accepts(valid), "{name}");
        for length in [0, 1, valid.len() - 1, valid.len() + 1] {
            let mut bytes = valid.clone();
            bytes.resize(length, 0);
            assert!(!accepts(&bytes), "{name}, {length} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_messages_are_refused_where_they_are_checked(
        which in 0usize..10, at: prop::sample::Index, by in 1u8.., last in 0usize..64,
    ) {
        let (name, accepts, valid) = &HARNESSES[which];
        // Anywhere, and among the last bytes.
        for at in [at.index(valid.len()), valid.len() - 1 - last.min(valid.len() - 1)] {
            let mut bytes = valid.clone();
            bytes[at] ^= by;
            let accepted = accepts(&bytes);
            // In trees, the sums of the sides that are not read are no check's business; flips cannot be checked.
            // Keys and tags of a file are any.
            let unread = name.ends_with("trees") || name.starts_with("mpc_setup") || *name == "mpc_put_away";
            prop_assert!(!accepted || UNCHECKED.contains(name) || unread, "{}, byte {}", name, at);
        }
    }

    #[test]
    fn random_bytes_never_panic(which in 0usize..10, seed: u8, length in 0usize..64, full: bool) {
        let (name, accepts, valid) = &HARNESSES[which];
        let length = if full { valid.len() } else { length };
        let bytes: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(167) ^ seed).collect();
        let accepted = accepts(&bytes);
        prop_assert!(!accepted || UNCHECKED.contains(name));
    }
}
