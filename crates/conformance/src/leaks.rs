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
