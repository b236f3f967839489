//! Peers that say less, more, or nothing: an error that blames them, at every message of every protocol.

use oblivia_base::Blame;
use oblivia_mpc::fuzz::shares::{PROTOCOLS, Setting, against, protocol};
use oblivia_mpc::ideal::pair;
use oblivia_mpc::{MpcError, Party, Radix};
use proptest::prelude::*;

/// What the peer of `setting` says in an honest run.
fn honest(setting: &Setting) -> Vec<Vec<u8>> {
    let [client, server] = pair::queue();
    let role = |party| Setting { party, ..*setting };
    let seen = client.minutes();
    let (a, b) = (role(Party::Client), role(Party::Server));
    let (a, b) = pair::join(a.play(client), b.play(server)).expect("a deadlock");
    assert_eq!((a, b), (Ok(()), Ok(())), "{setting:?}");
    let said = seen.said();
    crate::common::assert_said(setting, setting.pen, &setting.cost(), &said);
    said.into_iter().filter(|s| s.0 != setting.party).map(|s| s.1).collect()
}

fn settings() -> impl Iterator<Item = Setting> {
    (0..PROTOCOLS).flat_map(|p| (0..4).map(move |i| (p, i))).map(|(protocol, i)| {
        let [party, pen] = [i & 1, i >> 1].map(|b| [Party::Client, Party::Server][b]);
        Setting { protocol, width: 11, elements: 5, radix: Radix::ALL[i], party, pen }
    })
}

#[test]
fn every_message_that_is_cut_short_or_too_long_or_missing_is_blamed_on_the_peer() {
    for setting in settings() {
        let messages = honest(&setting);
        assert_eq!(against(&setting, messages.clone()), Ok(()));
        for at in 0..messages.len() {
            let damaged = |f: &dyn Fn(&mut Vec<Vec<u8>>)| {
                let mut messages = messages.clone();
                f(&mut messages);
                let e = against(&setting, messages).expect_err("damage went unnoticed");
                assert!(matches!(e.blame(), Blame::InvalidMessage | Blame::PeerMisbehaved), "{e}");
            };
            damaged(&|m| m[at].resize(messages[at].len() - 1, 0));
            damaged(&|m| m[at].push(0));
            damaged(&|m| m[at].clear());
            damaged(&|m| drop(m.remove(at)));
            damaged(&|m| m[at] = vec![0; 1 << 20]);
        }
    }
}

#[test]
fn bits_behind_the_end_of_a_message_are_refused() {
    let mut refused = 0;
    for setting in settings() {
        let messages = honest(&setting);
        let bits = setting.cost().messages().to_vec();
        let mine = usize::from(setting.party == setting.pen);
        for (at, bits) in bits.into_iter().skip(mine).step_by(2).filter(|b| *b > 0).enumerate() {
            if bits % 8 != 0 {
                let mut messages = messages.clone();
                *messages[at].last_mut().unwrap() |= 0x80;
                assert_eq!(against(&setting, messages), Err(MpcError::Padding));
                refused += 1;
            }
        }
    }
    assert!(refused > 50);
}

/// The harness's bytes of a setting and messages.
fn encode(setting: [u8; 4], messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = setting.to_vec();
    for m in messages {
        out.extend(u16::try_from(m.len()).unwrap().to_le_bytes());
        out.extend(m);
    }
    out
}

#[test]
fn the_harness_accepts_an_honest_peer() {
    for p in 0..PROTOCOLS {
        for rest in 0..16 {
            let setting = [p, 9, 17, rest];
            assert!(protocol(&encode(setting, &honest(&Setting::new(setting)))), "{setting:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_result_or_an_error_that_blames_the_peer(bytes: Vec<u8>) {
        protocol(&bytes);
    }

    #[test]
    fn damaged_conversations_end_in_a_result_or_an_error_that_blames_the_peer(
        setting: [u8; 4],
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut: prop::sample::Index,
    ) {
        let mut bytes = encode(setting, &honest(&Setting::new(setting)));
        for (at, value) in edits {
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] ^= value;
        }
        protocol(&bytes);
        protocol(&bytes[..cut.index(bytes.len())]);
    }
}
