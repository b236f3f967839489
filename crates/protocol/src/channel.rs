//! Links to the peers of a session, and the meter on them.

use crate::cost::{Phase, Traffic};
use crate::error::Error;
use crate::permit::{Permits, Turns};
use crate::wire::{Expect, HEADER_BYTES, Identities, Kind, LinkError, Wire};
use crate::{Role, cost::PhaseTraffic};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was really sent and received, by phase.
///
/// Bytes are header and body of each message before TLS. Rounds count direction changes: a run of messages
/// one way is one round, and a phase starts a new run.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    phase: Phase,
    last: Option<Direction>,
    traffic: PhaseTraffic,
    log: Option<Vec<LoggedMessage>>,
}

/// Which way a message went. Between parties other than client and server: from a holder to a later holder and to
/// the helper is up, and so is everything that goes to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// One message as an observer of the link sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedMessage {
    /// Which way it went.
    pub direction: Direction,
    /// What it is.
    pub kind: Kind,
    /// Body.
    pub body: Vec<u8>,
}

impl Meter {
    /// The traffic so far.
    pub fn traffic(&self) -> &PhaseTraffic {
        &self.traffic
    }

    /// The messages so far, if [`Channel::keep_log`] was called.
    pub fn log(&self) -> Option<&[LoggedMessage]> {
        self.log.as_deref()
    }

    fn count(&mut self, direction: Direction, body_bytes: usize) {
        let slot: &mut Traffic = self.traffic.phase_mut(self.phase);
        let bytes = HEADER_BYTES + body_bytes as u64;
        match direction {
            Direction::Up => slot.up_bytes += bytes,
            Direction::Down => slot.down_bytes += bytes,
        }
        if self.last != Some(direction) {
            slot.rounds += 1;
            self.last = Some(direction);
        }
    }
}

/// The links of one session, metered.
pub struct Channel {
    own: Role,
    peers: BTreeMap<Role, Box<dyn Wire>>,
    meter: Meter,
    turns: Turns,
}

impl Channel {
    /// A channel of the party `own` with no peers yet.
    pub fn new(own: Role) -> Self {
        Self { own, peers: BTreeMap::new(), meter: Meter::default(), turns: Turns::default() }
    }

    /// A channel of the party `own` with one peer.
    pub fn with_peer(own: Role, peer: Role, wire: Box<dyn Wire>) -> Self {
        let mut channel = Self::new(own);
        channel.peers.insert(peer, wire);
        channel
    }

    /// From now on the session takes turns at computing with others: it has one whenever it does not wait for a peer. Waits for
    /// the first.
    pub fn take_turns(&mut self, permits: Arc<Permits>) {
        self.turns = Turns::among(permits);
        self.turns.begin();
    }

    /// Ends the session's part in turns, the present one included.
    pub fn leave_turns(&mut self) {
        self.turns.end();
        self.turns = Turns::default();
    }

    /// The session's turns at computing, for work that takes long between two messages.
    pub fn turns(&self) -> Turns {
        self.turns.clone()
    }

    /// Keeps every message body from now on. For leak tests; costs the memory of all of them.
    pub fn keep_log(&mut self) {
        self.meter.log = Some(Vec::new());
    }

    /// Counts the messages that follow under `phase`.
    pub fn enter(&mut self, phase: Phase) {
        self.meter.phase = phase;
        self.meter.last = None;
    }

    /// Counts the messages that follow under [`Phase::Setup`], going on where agreeing left off: a message
    /// in the direction of the last one opens no new round.
    pub fn enter_setup(&mut self) {
        self.meter.phase = Phase::Setup;
    }

    /// The meter.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Keying material of the secure channel to `peer`.
    pub fn binding(&self, peer: Role) -> Option<[u8; 32]> {
        self.peers.get(&peer).and_then(|w| w.binding())
    }

    /// Who is at the ends of the link to `peer`.
    pub fn identities(&self, peer: Role) -> Option<Identities> {
        self.peers.get(&peer).and_then(|w| w.identities())
    }

    /// Queues a message to `peer`.
    pub async fn send(&mut self, peer: Role, kind: Kind, body: Vec<u8>) -> Result<(), Error> {
        let direction = self.direction_to(peer);
        let wire = self.peers.get_mut(&peer).ok_or_else(|| no_peer(peer))?;
        self.meter.count(direction, body.len());
        if let Some(log) = &mut self.meter.log {
            log.push(LoggedMessage { direction, kind, body: body.clone() });
        }
        Ok(self.turns.keep(wire.send(kind, body)).await?)
    }

    /// Waits for a message from `peer`.
    pub async fn recv(&mut self, peer: Role, expect: Expect) -> Result<Vec<u8>, Error> {
        let direction = match self.direction_to(peer) {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        let wire = self.peers.get_mut(&peer).ok_or_else(|| no_peer(peer))?;
        let body = self.turns.wait(wire.recv(expect)).await?;
        self.meter.count(direction, body.len());
        if let Some(log) = &mut self.meter.log {
            log.push(LoggedMessage { direction, kind: expect.kind, body: body.clone() });
        }
        Ok(body)
    }

    /// Tells every peer that the session ends because of `error`, in the one word [`Error::notice`] allows.
    /// Links that are already gone are ignored.
    pub async fn abort(&mut self, error: &Error) {
        use LinkError::{Aborted, Closed, NotAdmitted, Tls};
        use oblivia_base::codec::Encode;
        if matches!(error, Error::Link(Aborted(_) | Closed { .. } | NotAdmitted | Tls(_))) {
            return;
        }
        let body = error.notice().to_bytes();
        for wire in self.peers.values_mut() {
            if self.turns.keep(wire.send(Kind::Abort, body.clone())).await.is_ok() {
                // A peer that is gone cannot be told; the error that matters is the caller's.
                let _ = self.turns.keep(wire.finish()).await;
            }
        }
    }

    /// Flushes and closes every link.
    pub async fn finish(&mut self) -> Result<(), Error> {
        for wire in self.peers.values_mut() {
            self.turns.keep(wire.finish()).await?;
        }
        Ok(())
    }

    fn direction_to(&self, peer: Role) -> Direction {
        if height(peer) > height(self.own) { Direction::Up } else { Direction::Down }
    }
}

/// Up is away from the client and towards the server; both ends of a link agree on it.
fn height(role: Role) -> (u8, u8) {
    match role {
        Role::Client => (0, 0),
        Role::Holder(i) => (1, i),
        Role::Helper => (2, 0),
        Role::Server => (3, 0),
    }
}

fn no_peer(peer: Role) -> Error {
    Error::Misuse(format!("this session has no link to the {peer}"))
}
