//! The meter on the links: bytes, rounds, phases, directions, and the log.
#![expect(clippy::unwrap_used, reason = "a test that is wrong may panic")]

mod common;

use common::{pair, run};
use oblivia_base::codec::Encode;
use oblivia_protocol::{
    Channel, Direction, Error, Expect, HEADER_BYTES, Kind, LinkError, Notice, Phase, PhaseTraffic, Role,
    Traffic, Wire,
};
use proptest::prelude::*;

const KIND: Kind = Kind::System(3);

/// One step of a session.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Receive(usize),
    Enter(Phase),
    EnterSetup,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let phase = prop_oneof![Just(Phase::Setup), Just(Phase::Offline), Just(Phase::Online)];
    let step = prop_oneof![
        4 => (0usize..50).prop_map(Step::Send),
        4 => (0usize..50).prop_map(Step::Receive),
        1 => phase.prop_map(Step::Enter),
        1 => Just(Step::EnterSetup),
    ];
    prop::collection::vec(step, 0..60)
}

/// What the meter of a client must show, computed from the steps alone.
fn expected(steps: &[Step]) -> PhaseTraffic {
    let mut all = PhaseTraffic::default();
    let (mut phase, mut run_of) = (Phase::Setup, None);
    for step in steps {
        let (up, bytes) = match step {
            Step::Enter(p) => {
                (phase, run_of) = (*p, None);
                continue;
            }
            Step::EnterSetup => {
                phase = Phase::Setup;
                continue;
            }
            Step::Send(n) => (true, 12 + *n as u64),
            Step::Receive(n) => (false, 12 + *n as u64),
        };
        let t = match phase {
            Phase::Setup => &mut all.setup,
            Phase::Offline => &mut all.offline,
            Phase::Online => &mut all.online,
        };
        *(if up { &mut t.up_bytes } else { &mut t.down_bytes }) += bytes;
        t.rounds += u64::from(run_of != Some(up));
        run_of = Some(up);
    }
    all
}

fn play(own: Role, other: Role, steps: &[Step]) -> Channel {
    let (near, mut far) = pair();
    let mut channel = Channel::with_peer(own, other, Box::new(near));
    channel.keep_log();
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Send(n) => run(channel.send(other, KIND, vec![i as u8; *n])).unwrap(),
            Step::Receive(n) => {
                run(far.send(KIND, vec![i as u8; *n])).unwrap();
                let body = run(channel.recv(other, Expect::exactly(KIND, *n))).unwrap();
                assert_eq!(body, vec![i as u8; *n]);
            }
            Step::Enter(phase) => channel.enter(*phase),
            Step::EnterSetup => channel.enter_setup(),
        }
    }
    channel
}

fn flipped(t: Traffic) -> Traffic {
    Traffic { up_bytes: t.down_bytes, down_bytes: t.up_bytes, rounds: t.rounds }
}

proptest! {
    #[test]
    fn bytes_and_rounds_of_every_phase_are_what_was_sent(steps in steps()) {
        let expected = expected(&steps);
        let client = play(Role::Client, Role::Server, &steps);
        prop_assert_eq!(*client.meter().traffic(), expected);
        // A server that does the same sees it the other way round.
        let server = play(Role::Server, Role::Client, &steps);
        let PhaseTraffic { setup, offline, online } = *server.meter().traffic();
        let back = PhaseTraffic { setup: flipped(setup), offline: flipped(offline), online: flipped(online) };
        prop_assert_eq!(back, expected);
        // The log holds every message once, in order.
        let log = client.meter().log().unwrap();
        let sent: Vec<(Direction, usize, u8)> = steps.iter().enumerate().filter_map(|(i, s)| match s {
            Step::Send(n) => Some((Direction::Up, *n, i as u8)),
            Step::Receive(n) => Some((Direction::Down, *n, i as u8)),
            Step::Enter(_) | Step::EnterSetup => None,
        }).collect();
        prop_assert_eq!(log.len(), sent.len());
        for (m, (direction, n, byte)) in log.iter().zip(sent) {
            prop_assert_eq!((m.direction, m.kind), (direction, KIND));
            prop_assert_eq!(&m.body, &vec![byte; n]);
        }
        let total: u64 = log.iter().map(|m| HEADER_BYTES + m.body.len() as u64).sum();
        prop_assert_eq!(client.meter().traffic().total_bytes(), total);
    }
}

#[test]
fn keys_that_follow_the_acceptance_in_the_same_direction_open_no_new_round() {
    let setup = play(
        Role::Client,
        Role::Server,
        &[Step::Send(1), Step::Receive(1), Step::Send(1), Step::EnterSetup, Step::Send(5)],
    );
    assert_eq!(setup.meter().traffic().setup, Traffic { up_bytes: 43, down_bytes: 13, rounds: 3 });
    let again = play(
        Role::Client,
        Role::Server,
        &[Step::Send(1), Step::Receive(1), Step::Send(1), Step::Enter(Phase::Setup), Step::Send(5)],
    );
    assert_eq!(again.meter().traffic().setup.rounds, 4, "a phase entered anew starts a new run");
}

const ROLES: [Role; 6] =
    [Role::Client, Role::Server, Role::Helper, Role::Holder(0), Role::Holder(1), Role::Holder(255)];

/// Direction of one message from `from` to `to`, as each of them logs it.
fn direction(from: Role, to: Role) -> [Direction; 2] {
    let (near, far) = pair();
    let mut sender = Channel::with_peer(from, to, Box::new(near));
    let mut receiver = Channel::with_peer(to, from, Box::new(far));
    sender.keep_log();
    receiver.keep_log();
    run(sender.send(to, KIND, vec![1])).unwrap();
    run(receiver.recv(from, Expect::exactly(KIND, 1))).unwrap();
    [sender, receiver].map(|c| c.meter().log().unwrap()[0].direction)
}

#[test]
fn both_ends_call_a_message_by_the_same_direction_and_its_answer_by_the_other() {
    for from in ROLES {
        for to in ROLES.into_iter().filter(|to| *to != from) {
            let [sent, received] = direction(from, to);
            assert_eq!(sent, received, "{from} to {to}");
            assert_ne!(direction(to, from)[0], sent, "{to} to {from}");
        }
    }
}

#[test]
fn up_is_away_from_the_client_and_towards_the_server() {
    for to in ROLES.into_iter().filter(|r| *r != Role::Client) {
        assert_eq!(direction(Role::Client, to)[0], Direction::Up, "client to {to}");
    }
    for from in ROLES.into_iter().filter(|r| *r != Role::Server) {
        assert_eq!(direction(from, Role::Server)[0], Direction::Up, "{from} to server");
    }
    assert_eq!(direction(Role::Holder(0), Role::Helper)[0], Direction::Up);
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let (near, _far) = pair();
    let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(near));
    run(channel.send(Role::Server, KIND, vec![1])).unwrap();
    assert!(channel.meter().log().is_none());
}

#[test]
fn a_message_that_is_refused_is_neither_counted_nor_logged() {
    let (near, mut far) = pair();
    let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(near));
    channel.keep_log();
    run(far.send(KIND, vec![0; 9])).unwrap();
    assert!(run(channel.recv(Role::Server, Expect::exactly(KIND, 8))).is_err());
    assert_eq!(*channel.meter().traffic(), PhaseTraffic::default());
    assert_eq!(channel.meter().log().unwrap().len(), 0);
}

#[test]
fn an_abort_is_one_word_and_is_not_metered() {
    let (near, far) = pair();
    let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(near));
    run(channel.abort(&Error::Refused { why: "secret reasons".into() }));
    assert_eq!(channel.meter().traffic().total_bytes(), 0);
    assert!(run(channel.send(Role::Server, KIND, vec![])).is_err(), "the sending side is closed");
    assert_eq!(far.left(), [(Kind::Abort, Notice::Refused.to_bytes())]);
}

#[test]
fn who_was_aborted_or_has_lost_the_link_says_nothing() {
    for gone in [
        LinkError::Aborted(Notice::Refused),
        LinkError::Closed { during: "a test" },
        LinkError::Tls("a test".into()),
    ] {
        let (near, far) = pair();
        let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(near));
        run(channel.abort(&Error::Link(gone)));
        drop(channel);
        assert_eq!(far.left(), []);
    }
}

#[test]
fn totals_saturate() {
    let most = Traffic { up_bytes: u64::MAX, down_bytes: u64::MAX, rounds: u64::MAX };
    let mut t = most;
    t += most;
    assert_eq!(t, most);
    assert_eq!(most.times(3), most);
    for up in [false, true] {
        let [up_bytes, down_bytes] = if up { [u64::MAX, 0] } else { [0, u64::MAX] };
        let one_way = Traffic { up_bytes, down_bytes, rounds: 0 };
        let all = PhaseTraffic { setup: one_way, offline: one_way, online: one_way };
        assert_eq!(all.total_bytes(), u64::MAX);
    }
    assert_eq!(PhaseTraffic { setup: most, offline: most, online: most }.total_bytes(), u64::MAX);
}
