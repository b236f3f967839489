//! Wire compatibility: what goes over the link under fixed randomness, compared with committed transcripts.
//!
//! A difference means that this build cannot talk to the one that wrote the transcript; then the protocol version
//! must change with it. The digest of a plan covers its words too: another wording is another plan.
//! `OBLIVIA_WRITE_GOLDEN=1 cargo test -p oblivia-conformance --test golden` writes them anew.
//!
//! Only bytes that are the same on every machine are in them: of `leveled`, whose encodings come out of a
//! floating-point transform, the lengths and the heads of the messages.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that is wrong may panic")]

use oblivia::Machine;
use oblivia_base::{Digest, SessionRng};
use oblivia_conformance::{Case, block_on, over_memory, small};
use oblivia_net::frame::Header;
use oblivia_net::memory;
use oblivia_protocol::session::{agree_as_client, agree_as_server};
use oblivia_protocol::{Channel, Direction, Identities, Kind, Leak, LoggedMessage, Plan, Role, Wire, Wish};
use std::fmt::Write;
use std::path::PathBuf;

/// Frame, kind, length and bytes of every message, one per line. Of messages of the system the first `shown` bytes.
fn transcript(log: &[LoggedMessage], shown: impl Fn(Kind) -> usize) -> String {
    let mut text = String::new();
    let mut next = [0u32; 2];
    for LoggedMessage { direction, kind, body } in log {
        let way = usize::from(*direction == Direction::Down);
        let header = Header { kind: *kind, sequence: next[way], body_bytes: body.len() as u32 };
        next[way] += 1;
        let shown = match kind {
            Kind::System(_) => shown(*kind).min(body.len()),
            _ => body.len(),
        };
        let dots = if shown < body.len() { "…" } else { "" };
        let (head, body_bytes) = (hex(&header.encode()), body.len());
        let body = hex(&body[..shown]);
        writeln!(text, "{direction:?} {kind:?}, {body_bytes} bytes, frame {head}\n{body}{dots}").unwrap();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The session digest of `case` on a channel with binding and identities, all fixed.
fn session(case: &Case) -> (Digest, Plan) {
    let (to_server, to_client) = memory::pair();
    let (client, server) = (Digest([0xc1; 32]), Digest([0x5e; 32]));
    let to_server = to_server.with_binding([7; 32]).with_identities(Identities { own: client, peer: server });
    let to_client = to_client.with_binding([7; 32]).with_identities(Identities { own: server, peer: client });
    let machine = Machine::new(1).unwrap();
    let models = case.models(&machine);
    let channel = |own, peer, wire: Box<dyn Wire>| Channel::with_peer(own, peer, wire);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut channel = channel(Role::Server, Role::Client, Box::new(to_client));
            let mut rng = SessionRng::insecure_seeded(2);
            block_on(agree_as_server(&mut channel, &mut rng, &models)).unwrap().0.session
        });
        let mut channel = channel(Role::Client, Role::Server, Box::new(to_server));
        let (mut rng, systems) = (SessionRng::insecure_seeded(1), oblivia_systems::SYSTEMS);
        let agreed =
            block_on(agree_as_client(&mut channel, &mut rng, systems, &case.request(), &mut |_, _| Ok(())));
        let agreed = agreed.unwrap();
        assert_eq!(agreed.session, server.join().unwrap());
        (agreed.session, (*agreed.plan).clone())
    })
}

/// Compares `found` with the committed transcript, or writes it.
fn compare(name: &str, found: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("OBLIVIA_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, found).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    for (i, (golden, found)) in golden.lines().zip(found.lines()).enumerate() {
        assert_eq!(golden, found, "{name}, line {}", i + 1);
    }
    assert_eq!(golden, found, "{name}");
}

fn golden(case: &Case, shown: impl Fn(Kind) -> usize) -> String {
    let pair = over_memory(case, 7).unwrap();
    let log = pair.client.log.unwrap();
    assert_eq!(pair.server.log.unwrap(), log, "both ends see the same");
    let (session, plan) = session(case);
    let mut text = transcript(&log, shown);
    writeln!(text, "plan {}", plan.digest()).unwrap();
    writeln!(text, "session {session}").unwrap();
    text
}

#[test]
fn clear_says_what_it_always_said() {
    let wish = Wish { accepted_leaks: vec![Leak::Input], ..Wish::default() };
    compare("clear.txt", &golden(&small("clear", wish, 2), |_| usize::MAX));
}

#[test]
fn leveled_says_what_it_always_said() {
    // Keys: ids of parameters and request. Ciphertexts: id of the parameters, level, scale.
    let shown = |kind| if kind == Kind::System(0) { 64 } else { 41 };
    compare("leveled.txt", &golden(&small("leveled", Wish::default(), 2), shown));
}

#[test]
fn leveled_over_a_batch_says_what_it_always_said() {
    let shown = |kind| if kind == Kind::System(0) { 64 } else { 41 };
    let wish = Wish { mode: Some("batch".into()), ..Wish::default() };
    compare("leveled-batch.txt", &golden(&small("leveled", wish, 2), shown));
}
