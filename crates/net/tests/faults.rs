//! Every fault at every message, in both directions, below TLS.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that is wrong may panic")]

mod common;

use common::{LONG, client_of, options};
use oblivia_net::fault::{Direction, FaultAction, FaultInjector, FaultPlan, Place};
use oblivia_net::{ConnectOptions, LinkOptions, Server, SessionIo, connect};
use oblivia_protocol::{Error, Expect, Kind, LinkError, Wire};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Messages each side sends: two long ones and an empty one.
const MESSAGES: u64 = 3;
/// Below it everything is a fault that was waited out; much longer than any delay injected here.
const IDLE: Duration = Duration::from_secs(4);

fn body(i: u8, salt: u8) -> Vec<u8> {
    (0..40_000u32).map(|j| (j as u8).wrapping_mul(31) ^ i ^ salt).collect()
}

async fn client(wire: &mut dyn Wire) -> Result<(), LinkError> {
    for i in 0..2 {
        wire.send(Kind::System(i), body(i, 0)).await?;
        let answer = wire.recv(Expect::exactly(Kind::System(i), 40_000)).await?;
        assert!(answer == body(i, 99), "a wrong answer got through");
    }
    wire.send(Kind::System(9), vec![]).await?;
    wire.recv(Expect::exactly(Kind::System(9), 0)).await?;
    wire.finish().await
}

async fn server(wire: &mut dyn Wire, work: Duration) -> Result<(), LinkError> {
    for i in 0..2 {
        let question = wire.recv(Expect::exactly(Kind::System(i), 40_000)).await?;
        assert!(question == body(i, 0), "a wrong question got through");
        // As computing does: the thread of the session has nothing else to do meanwhile.
        std::thread::sleep(work);
        wire.send(Kind::System(i), body(i, 99)).await?;
    }
    wire.recv(Expect::exactly(Kind::System(9), 0)).await?;
    wire.send(Kind::System(9), vec![]).await?;
    wire.finish().await
}

struct Outcome {
    client: Result<(), LinkError>,
    /// None: no session began.
    server: Option<Result<(), LinkError>>,
    fired: bool,
}

fn handler(tell: Sender<Result<(), LinkError>>, work: Duration) -> impl oblivia_net::SessionHandler {
    let tell = Arc::new(Mutex::new(tell));
    move |mut io: SessionIo| {
        let tell = tell.clone();
        async move {
            let result = server(io.wire.as_mut(), work).await;
            tell.lock().unwrap().send(result.clone()).unwrap();
            Ok::<(), Error>(result?)
        }
    }
}

fn run(plan: FaultPlan) -> Outcome {
    run_at_work(plan, Duration::ZERO)
}

/// The server sends a heartbeat every few milliseconds while it works on an answer for so long.
fn run_at_work(plan: FaultPlan, work: Duration) -> Outcome {
    let (tell, hear) = channel();
    let faults = FaultInjector::new(plan);
    let mut options = options();
    options.limits.idle_timeout = IDLE;
    options.limits.handshake_timeout = IDLE;
    options.limits.heartbeat = Some(Duration::from_millis(5));
    options.faults = Some(faults.clone());
    let server = Server::bind(options, handler(tell, work)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let options = ConnectOptions {
            timeout: IDLE,
            link: LinkOptions { idle_timeout: IDLE, ..LinkOptions::default() },
            faults: Some(faults.clone()),
            ..ConnectOptions::default()
        };
        let address = server.local_addr().to_string();
        let all = async {
            let mut wire = connect(&address, &client_of(&server), &options).await?;
            client(&mut wire).await
        };
        tokio::time::timeout(LONG, all).await.expect("the client hangs")
    });
    let report = server.shutdown();
    assert_eq!(report.stuck, 0, "{plan:?}");
    Outcome { client, server: hear.try_recv().ok(), fired: faults.fired() }
}

fn every(action: FaultAction, check: impl Fn(FaultPlan, Outcome) + Sync) {
    every_at_work(action, Duration::ZERO, check);
}

fn every_at_work(action: FaultAction, work: Duration, check: impl Fn(FaultPlan, Outcome) + Sync) {
    std::thread::scope(|scope| {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            for at_message in 0..=MESSAGES + 1 {
                let plan = FaultPlan { direction, at: Place::Message(at_message), action };
                let check = &check;
                scope.spawn(move || check(plan, run_at_work(plan, work)));
            }
        }
    });
}

/// The number of what the plan is for.
fn message(plan: FaultPlan) -> u64 {
    match plan.at {
        Place::Message(k) | Place::Heartbeat(k) => k,
    }
}

/// The receiver of the faulty direction must not have ended well; and no side may hang or take wrong bytes.
fn receiver_fails(plan: FaultPlan, outcome: Outcome) {
    let Outcome { client, server, fired } = outcome;
    assert!(fired, "{plan:?} did not happen");
    if message(plan) > MESSAGES {
        return; // The close: both sides have all they wanted.
    }
    match plan.direction {
        Direction::ClientToServer => assert!(!matches!(server, Some(Ok(()))), "{plan:?}: {server:?}"),
        Direction::ServerToClient => assert!(client.is_err(), "{plan:?}"),
    }
}

#[test]
fn a_cut_connection_fails_the_receiver_wherever_it_is_cut() {
    every(FaultAction::Cut, |plan, outcome| {
        if (1..=MESSAGES).contains(&message(plan)) {
            let heard = match plan.direction {
                Direction::ClientToServer => outcome.server.clone(),
                Direction::ServerToClient => Some(outcome.client.clone()),
            };
            // A client that leaves with its first message may be gone before the server has begun a session.
            let unheard = message(plan) == 1 && heard.is_none();
            assert!(unheard || matches!(heard, Some(Err(LinkError::Closed { .. }))), "{plan:?}: {heard:?}");
        }
        receiver_fails(plan, outcome);
    });
}

#[test]
fn a_truncated_message_fails_the_receiver() {
    every(FaultAction::Truncate { keep_bytes: 7 }, receiver_fails);
}

#[test]
fn a_flipped_bit_fails_the_receiver_wherever_it_is() {
    // In the record's length, and in what is encrypted.
    for bit in [38, 8 * 20 + 3] {
        every(FaultAction::FlipBit { bit }, receiver_fails);
    }
}

#[test]
fn a_flipped_bit_in_what_tls_ignores_changes_nothing_or_fails() {
    // The type and the version of the first record of a message.
    for bit in [1, 9, 17] {
        let action = FaultAction::FlipBit { bit };
        let plan = FaultPlan { direction: Direction::ClientToServer, at: Place::Message(2), action };
        let outcome = run(plan);
        assert!(outcome.fired);
        assert_eq!(outcome.client.is_ok(), outcome.server == Some(Ok(())), "{plan:?}");
    }
}

#[test]
fn a_flipped_bit_in_a_message_is_a_security_failure_at_the_receiver() {
    let action = FaultAction::FlipBit { bit: 8 * 20 };
    let plan = FaultPlan { direction: Direction::ClientToServer, at: Place::Message(2), action };
    let outcome = run(plan);
    assert!(matches!(outcome.server, Some(Err(LinkError::Tls(_)))), "{:?}", outcome.server);
    assert!(outcome.client.is_err());
}

#[test]
fn repeated_bytes_never_pass_as_a_message() {
    every(FaultAction::Duplicate, |plan, outcome| {
        assert!(outcome.fired, "{plan:?} did not happen");
        if message(plan) < MESSAGES {
            receiver_fails(plan, outcome);
        }
        // The last message came before its copy, and nothing is read after it.
    });
}

#[test]
fn reordered_messages_never_pass() {
    every(FaultAction::Reorder, receiver_fails);
}

#[test]
fn a_delay_below_the_timeout_is_harmless_and_one_above_it_times_out() {
    every(FaultAction::Delay(Duration::from_millis(20)), |plan, outcome| {
        assert!(outcome.fired, "{plan:?}");
        assert_eq!(outcome.client, Ok(()), "{plan:?}");
        assert_eq!(outcome.server, Some(Ok(())), "{plan:?}");
    });
    let action = FaultAction::Delay(4 * IDLE);
    let plan = FaultPlan { direction: Direction::ServerToClient, at: Place::Message(2), action };
    let outcome = run(plan);
    assert!(matches!(outcome.client, Err(LinkError::TimedOut { .. })), "{:?}", outcome.client);
}

#[test]
fn faults_at_messages_are_found_among_heartbeats_too() {
    let work = Duration::from_millis(40);
    for action in
        [FaultAction::Cut, FaultAction::Truncate { keep_bytes: 7 }, FaultAction::FlipBit { bit: 163 }]
    {
        every_at_work(action, work, receiver_fails);
    }
    every_at_work(FaultAction::Duplicate, work, |plan, outcome| {
        assert!(outcome.fired, "{plan:?} did not happen");
        if message(plan) < MESSAGES {
            receiver_fails(plan, outcome);
        }
    });
    every_at_work(FaultAction::Delay(Duration::from_millis(20)), work, |plan, outcome| {
        assert!(outcome.fired, "{plan:?}");
        assert_eq!((outcome.client, outcome.server), (Ok(()), Some(Ok(()))), "{plan:?}");
    });
}

#[test]
fn a_heartbeat_that_is_cut_changed_repeated_or_moved_fails_the_receiver_and_a_late_one_is_harmless() {
    let faults = [
        FaultAction::Cut,
        FaultAction::Truncate { keep_bytes: 7 },
        FaultAction::FlipBit { bit: 38 },
        FaultAction::FlipBit { bit: 163 },
        FaultAction::Duplicate,
        FaultAction::Reorder,
    ];
    let run = |at, action| {
        let plan = FaultPlan { direction: Direction::ServerToClient, at: Place::Heartbeat(at), action };
        let outcome = run_at_work(plan, Duration::from_millis(200));
        assert!(outcome.fired, "{plan:?} did not happen");
        (plan, outcome)
    };
    std::thread::scope(|scope| {
        for at in [1, 3] {
            for action in faults {
                scope.spawn(move || {
                    let (plan, outcome) = run(at, action);
                    assert!(outcome.client.is_err(), "{plan:?}");
                });
            }
            scope.spawn(move || {
                let (plan, outcome) = run(at, FaultAction::Delay(Duration::from_millis(20)));
                assert_eq!((outcome.client, outcome.server), (Ok(()), Some(Ok(()))), "{plan:?}");
            });
        }
    });
}
