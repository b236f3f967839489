//! Faults of the network, injected on the byte stream below TLS.

use crate::{Case, loopback};
use oblivia::{Error, ServeOptions, Server, Silent};
use oblivia_base::Blame;
use oblivia_net::fault::{Direction, FaultAction, FaultInjector, FaultPlan, Place};
use oblivia_net::{ConnectOptions, Limits};
use oblivia_protocol::KeyUse;
use std::path::Path;
use std::time::Duration;

/// How a session with a fault ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether the fault happened.
    pub fired: bool,
    /// The client's end: labels, or an error.
    pub client: Result<Vec<Option<usize>>, Error>,
}

/// Where the keys of the session with the fault come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// They are made for it.
    Fresh,
    /// The server has them from a session before it.
    Kept,
}

/// Faults that are tried at every message.
pub fn actions() -> [FaultAction; 6] {
    [
        FaultAction::Cut,
        FaultAction::Truncate { keep_bytes: 7 },
        FaultAction::FlipBit { bit: 301 },
        FaultAction::Delay(Duration::from_millis(100)),
        FaultAction::Duplicate,
        FaultAction::Reorder,
    ]
}

/// How long a side is waited for where a fault may leave the other waiting for what never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `case` over TLS on loopback with one fault.
pub fn run(case: &Case, state: &Path, plan: FaultPlan, keys: Keys) -> Ended {
    run_with(case, state, plan, keys, PATIENCE)
}

fn run_with(case: &Case, state: &Path, plan: FaultPlan, keys: Keys, patience: Duration) -> Ended {
    let faults = FaultInjector::unarmed(plan);
    let direction = plan.direction;
    // Faults may leave one side waiting for what never comes, which has to end soon. A message that is late ends nothing: there
    // only a machine that leaves a side without a turn for long could, so that is waited for.
    let (idle, greeting) = match plan.action {
        FaultAction::Delay(_) => (Duration::from_secs(60), Duration::from_secs(60)),
        _ => (patience, Duration::from_secs(2)),
    };
    let limits = Limits {
        idle_timeout: idle,
        handshake_timeout: greeting,
        shutdown_grace: Duration::from_millis(100),
        // Many of them whenever the server computes.
        heartbeat: Some(Duration::from_millis(1)),
        ..Limits::default()
    };
    let options = ServeOptions {
        accepted_leaks: case.wish.accepted_leaks.clone(),
        faults: (direction == Direction::ServerToClient).then(|| faults.clone()),
        ..loopback::options(state, limits)
    };
    let server = Server::start(std::slice::from_ref(&case.model), options).expect("a server");
    server.models().prepare(&case.model.public.name, case.system).expect("a plan");
    let mut connect = ConnectOptions { timeout: greeting, ..ConnectOptions::default() };
    connect.link.idle_timeout = idle;
    connect.faults = (direction == Direction::ClientToServer).then(|| faults.clone());
    let mut client = loopback::At::of(&server).client(state, connect);
    if keys == Keys::Fresh {
        client = client.with_fresh_keys();
    }
    let longest = Some(Duration::from_secs(60));
    let ask = || loopback::ask(&client, case, case.inputs.len(), longest, &mut Silent);
    if keys == Keys::Kept {
        ask().expect("a session without a fault");
    }
    faults.arm();
    let answered = ask();
    if let Ok(p) = &answered {
        assert_eq!(p.receipt.keys.how == KeyUse::Reused, keys == Keys::Kept);
        assert!(p.receipt.as_declared());
    }
    let client =
        answered.map(|p| p.outputs.iter().map(|o| o.as_ref().expect("an answer").argmax()).collect());
    server.shutdown();
    Ended { fired: faults.fired(), client }
}

/// Tries every fault at messages `0..=last` of both directions, the last being the orderly close: the client
/// ends with the right labels or with an error that blames peer, link or time; nothing hangs.
pub fn check(case: &Case, state: &Path, last: [u64; 2], keys: Keys) {
    let right: Vec<Option<usize>> = case.expected().iter().map(oblivia_nn::Tensor::argmax).collect();
    let fired: u32 = actions()
        .iter()
        .map(|action| check_action(case, state, last, keys, (*action, PATIENCE), &right))
        .sum();
    assert!(fired > 0, "no fault happened");
}

/// As [`check`] with fresh keys, all faults at the same time and with less patience: for sessions of many messages, which
/// mostly wait for what never comes.
pub fn check_at_once(case: &Case, state: &Path, last: [u64; 2]) {
    const LITTLE: Duration = Duration::from_secs(1);
    let right: Vec<Option<usize>> = case.expected().iter().map(oblivia_nn::Tensor::argmax).collect();
    let one = |(i, action): (usize, FaultAction)| {
        let state = state.join(i.to_string());
        check_action(case, &state, last, Keys::Fresh, (action, LITTLE), &right)
    };
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = actions().into_iter().enumerate().map(|a| scope.spawn(move || one(a))).collect();
        for each in all {
            assert!(each.join().expect("the check holds") > 0, "no fault happened");
        }
    });
}

/// One kind of fault at every message of both directions; how often it happened.
fn check_action(
    case: &Case,
    state: &Path,
    last: [u64; 2],
    keys: Keys,
    (action, patience): (FaultAction, Duration),
    right: &[Option<usize>],
) -> u32 {
    let mut fired = 0;
    for (direction, last) in [Direction::ClientToServer, Direction::ServerToClient].into_iter().zip(last) {
        for at in 0..=last {
            let plan = FaultPlan { direction, at: Place::Message(at), action };
            let ended = run_with(case, state, plan, keys, patience);
            fired += u32::from(ended.fired);
            let what = format!("{action:?} at message {at}, {direction:?}: {:?}", ended.client);
            well_ended(&ended, action, right, &what);
            // What comes twice behind the last message, nobody reads any more.
            if ended.fired && at + 1 < last {
                let harmless = matches!(action, FaultAction::Delay(_));
                let small = matches!(action, FaultAction::Truncate { .. } | FaultAction::FlipBit { .. });
                assert!(ended.client.is_err() || harmless || small || at == 0, "{what}");
            }
        }
    }
    fired
}

/// The right labels, or an error that blames peer, link or time.
fn well_ended(ended: &Ended, action: FaultAction, right: &[Option<usize>], what: &str) {
    match &ended.client {
        Ok(labels) => assert_eq!(*labels, right, "{what}"),
        Err(e) => {
            let blame = e.blame();
            assert!(matches!(blame, Blame::PeerMisbehaved | Blame::Io), "{what}");
            assert!(!matches!(action, FaultAction::Delay(_)), "{what}");
        }
    }
}

/// Tries every fault at the first heartbeat of a server that computes for longer than a millisecond: only one that is late
/// leaves an answer, and that is right and cost what was declared.
pub fn check_heartbeats(case: &Case, state: &Path) {
    let right: Vec<Option<usize>> = case.expected().iter().map(oblivia_nn::Tensor::argmax).collect();
    for action in actions() {
        let action = match action {
            // A heartbeat's record has 34 bytes, 5 of them a header in clear.
            FaultAction::FlipBit { .. } => FaultAction::FlipBit { bit: 8 * 20 },
            other => other,
        };
        let plan = FaultPlan { direction: Direction::ServerToClient, at: Place::Heartbeat(1), action };
        let ended = run(case, state, plan, Keys::Fresh);
        let what = format!("{action:?} at a heartbeat: {:?}", ended.client);
        assert!(ended.fired, "{what}");
        well_ended(&ended, action, &right, &what);
        let harmless = matches!(action, FaultAction::Delay(_));
        assert_eq!(ended.client.is_ok(), harmless, "{what}");
    }
}
