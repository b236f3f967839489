//! What an observer of the link can tell apart.

use crate::{Case, over_memory};
use oblivia_protocol::{Direction, Kind, LoggedMessage};

/// Kind, direction and length of every message.
pub fn outline(log: &[LoggedMessage]) -> Vec<(Direction, Kind, usize)> {
    log.iter().map(|m| (m.direction, m.kind, m.body.len())).collect()
}

/// Runs two cases that differ only in their secret inputs and checks that messages agree in number, order,
/// kind and length. Returns both logs for a system's own distinguisher.
pub fn check(a: &Case, b: &Case) -> [Vec<LoggedMessage>; 2] {
    let logs = [a, b].map(|case| {
        let pair = over_memory(case, 11).expect("the session succeeds");
        pair.client.log.expect("the machine keeps a log")
    });
    assert_eq!(outline(&logs[0]), outline(&logs[1]));
    logs
}

/// As [`check`] for the first two inputs of a case, each in a session of its own.
pub fn check_two(case: &Case) -> [Vec<LoggedMessage>; 2] {
    let [a, b] = [0, 1].map(|i| Case { inputs: vec![case.inputs[i].clone()], ..case.clone() });
    check(&a, &b)
}
