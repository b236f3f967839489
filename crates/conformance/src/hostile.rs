//! Peers that break the protocol.

use crate::run::block_on;
use crate::{Case, ask, both, serve};
use oblivia::{Machine, Prediction};
use oblivia_base::codec::{Decode, Encode};
use oblivia_base::{Blame, SessionRng};
use oblivia_net::memory::{self, MemoryWire};
use oblivia_protocol::session::{self, Hello, Offer, Request};
use oblivia_protocol::{
    BoxFuture, Channel, Direction, Error, Expect, Identities, KeyMemory, Kind, LinkError, LoggedMessage,
    Notice, Role, Wire,
};
use std::time::Duration;

/// What a hostile client does in place of one of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// A message of another kind.
    WrongKind,
    /// One byte more than the plan says.
    Oversize,
    /// One byte less than the plan says.
    Undersize,
    /// Bytes of the right length and no meaning.
    Garbage,
}

/// Every trick.
pub const TRICKS: [Trick; 4] = [Trick::WrongKind, Trick::Oversize, Trick::Undersize, Trick::Garbage];

fn apply(trick: Trick, kind: Kind, body: &[u8]) -> (Kind, Vec<u8>) {
    let mut body = body.to_vec();
    match trick {
        Trick::WrongKind => return (Kind::System(0xee), body),
        Trick::Oversize => body.push(0),
        Trick::Undersize => {
            body.pop();
        }
        Trick::Garbage => body.iter_mut().for_each(|b| *b = 0xff),
    }
    (kind, body)
}

/// How long a hostile side waits for the other to end; nothing takes as long, a peer that was fooled waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time(side: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, side).await.expect("the other side neither answers nor ends")
}

/// Runs the server of `case` against `client`, a raw wire, and returns how the server ended.
pub fn server_against<F>(case: &Case, client: F) -> Error
where
    F: AsyncFnOnce(MemoryWire) + Send,
{
    let machine = Machine::new(1).expect("threads");
    let models = case.models(&machine);
    let (to_server, to_client) = memory::pair();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(Box::new(to_client), &models, &machine, KeyMemory::default(), 1));
        block_on(in_time(client(to_server)));
        server.join().expect("the server does not panic").expect_err("the server ends with an error")
    })
}

/// Runs the client of `case` against `server`, a raw wire, and returns how the client ended.
pub fn client_against<F>(case: &Case, server: F) -> Error
where
    F: AsyncFnOnce(MemoryWire) + Send,
{
    client_with(case, server).expect_err("the client ends with an error")
}

/// Runs the client of `case` against `server`, a raw wire, and returns what the client has.
pub fn client_with<F>(case: &Case, server: F) -> Result<Prediction, Error>
where
    F: AsyncFnOnce(MemoryWire) + Send,
{
    let machine = Machine::new(1).expect("threads");
    let (to_server, to_client) = memory::pair();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| ask(case, Box::new(to_server), &machine, KeyMemory::default(), 2));
        block_on(in_time(server(to_client)));
        client.join().expect("the client does not panic")
    })
}

/// The peer learns of the end in one word, and which word it is.
pub async fn told(wire: &mut MemoryWire) -> Option<Notice> {
    match wire.recv(Expect::at_most(Kind::System(0xff), 0)).await {
        Err(LinkError::Aborted(notice)) => Some(notice),
        _ => None,
    }
}

/// A server's channel behind an honest agreement.
pub async fn agreed_server(case: &Case, wire: MemoryWire) -> Channel {
    let machine = Machine::new(1).expect("threads");
    let models = case.models(&machine);
    let mut channel = Channel::with_peer(Role::Server, Role::Client, Box::new(wire));
    let mut rng = SessionRng::insecure_seeded(6);
    let agreed = session::agree_as_server(&mut channel, &mut rng, &models).await;
    assert!(agreed.is_ok(), "{:?}", agreed.err());
    channel
}

/// The peer ends the session in one word, and it is [`Notice::Failed`].
pub async fn hears_failed(channel: &mut Channel, peer: Role) {
    match channel.recv(peer, Expect::at_most(Kind::System(0xff), 0)).await {
        Err(Error::Link(LinkError::Aborted(Notice::Failed))) => {}
        other => panic!("{peer} says {other:?}"),
    }
}

/// Hello of the case, as its client would send it.
pub fn hello(case: &Case) -> Hello {
    let Request { model, system, wish, purpose, samples } = case.request();
    Hello {
        min_version: session::VERSION,
        max_version: session::VERSION,
        model,
        system,
        mode: wish.mode.unwrap_or_default(),
        plan: wish.plan.unwrap_or_default(),
        link: wish.link,
        max_bytes: wish.max_bytes,
        group: wish.group,
        purpose,
        samples,
        nonce: [3; 32],
    }
}

async fn offer(wire: &mut MemoryWire) -> Offer {
    let body = wire.recv(Expect::at_most(Kind::Offer, 8 << 20)).await.expect("an offer");
    Offer::from_bytes(&body).expect("a canonical offer")
}

/// A client that accepts another plan is told that the plans differ.
pub fn wrong_plan(case: &Case) {
    let error = server_against(case, async |mut wire| {
        wire.send(Kind::Hello, hello(case).to_bytes()).await.unwrap();
        let _ = offer(&mut wire).await;
        wire.send(Kind::Accept, vec![0; 32]).await.unwrap();
        assert_eq!(told(&mut wire).await, Some(Notice::Incompatible));
    });
    assert_eq!(error.blame(), Blame::PeerIncompatible, "{error}");
}

/// A client of another protocol version is told so.
pub fn wrong_version(case: &Case) {
    let error = server_against(case, async |mut wire| {
        let hello = Hello { min_version: 900, max_version: 901, ..hello(case) };
        wire.send(Kind::Hello, hello.to_bytes()).await.unwrap();
        assert_eq!(told(&mut wire).await, Some(Notice::Incompatible));
    });
    assert_eq!(error.blame(), Blame::PeerIncompatible, "{error}");
}

/// A client that asks for a model there is not.
pub fn unknown_model(case: &Case) {
    let error = server_against(case, async |mut wire| {
        let hello = Hello { model: "nothing".into(), ..hello(case) };
        wire.send(Kind::Hello, hello.to_bytes()).await.unwrap();
        assert_eq!(told(&mut wire).await, Some(Notice::UnknownModel));
    });
    assert!(error.to_string().contains("nothing"), "{error}");
}

/// How the server of `case` ends when the client sends what it sends in `script`, messages behind its acceptance, and the
/// client is told that it failed.
pub fn server_after(case: &Case, script: &[LoggedMessage]) -> Error {
    server_against(case, async |wire| {
        let mut channel = Channel::with_peer(Role::Client, Role::Server, Box::new(wire));
        let mut rng = SessionRng::insecure_seeded(5);
        let (systems, request) = (oblivia_systems::SYSTEMS, case.request());
        let agreed =
            session::agree_as_client(&mut channel, &mut rng, systems, &request, &mut |_, _| Ok(())).await;
        assert!(agreed.is_ok(), "{:?}", agreed.err());
        for m in script {
            match m.direction {
                Direction::Up => channel.send(Role::Server, m.kind, m.body.clone()).await.unwrap(),
                Direction::Down => {
                    let expect = Expect::exactly(m.kind, m.body.len());
                    channel.recv(Role::Server, expect).await.unwrap();
                }
            }
        }
        hears_failed(&mut channel, Role::Server).await;
    })
}

/// Every trick in place of each message of the client; `script` are the messages of an honest session behind its
/// acceptance, up to and including the first input.
pub fn tricks(case: &Case, script: &[LoggedMessage]) {
    let ours: Vec<usize> = (0..script.len()).filter(|&i| script[i].direction == Direction::Up).collect();
    for trick in TRICKS {
        for &at in &ours {
            let mut changed = script[..=at].to_vec();
            let (kind, body) = apply(trick, script[at].kind, &script[at].body);
            (changed[at].kind, changed[at].body) = (kind, body);
            let error = server_after(case, &changed);
            let blame = error.blame();
            let expected = if trick == Trick::Garbage || at > 0 && blame == Blame::InvalidMessage {
                Blame::InvalidMessage
            } else {
                Blame::PeerMisbehaved
            };
            assert_eq!(blame, expected, "{trick:?} at message {at}: {error}");
        }
    }
}

/// A wire that sends other messages than whoever holds it.
pub struct Tampered<F> {
    /// The wire.
    pub wire: MemoryWire,
    /// What is sent in the place of a message; the link ends in the place of none.
    pub change: F,
}

impl<F: FnMut(Kind, Vec<u8>) -> Option<(Kind, Vec<u8>)> + Send> Wire for Tampered<F> {
    fn send(&mut self, kind: Kind, body: Vec<u8>) -> BoxFuture<'_, Result<(), LinkError>> {
        match (self.change)(kind, body) {
            Some((kind, body)) => self.wire.send(kind, body),
            None => Box::pin(async move {
                self.wire.finish().await.and(Err(LinkError::Closed { during: "sending a message" }))
            }),
        }
    }

    fn recv(&mut self, expect: Expect) -> BoxFuture<'_, Result<Vec<u8>, LinkError>> {
        self.wire.recv(expect)
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.wire.finish()
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.wire.binding()
    }

    fn identities(&self) -> Option<Identities> {
        self.wire.identities()
    }
}

/// Runs `case` with a trick in place of message `at` of `by`, and returns how both ended.
pub fn tampered(case: &Case, by: Role, at: usize, trick: Trick) -> [Result<(), Error>; 2] {
    let machine = Machine::new(1).expect("threads");
    let models = case.models(&machine);
    let (to_server, to_client) = memory::pair();
    let mut sent = 0..;
    let change = move |kind, body: Vec<u8>| match sent.next() == Some(at) {
        true => Some(apply(trick, kind, &body)),
        false => Some((kind, body)),
    };
    let wire = |own: Role, wire: MemoryWire| -> Box<dyn Wire> {
        if own == by { Box::new(Tampered { wire, change: change.clone() }) } else { Box::new(wire) }
    };
    let played = both(
        || serve(wire(Role::Server, to_client), &models, &machine, KeyMemory::default(), 1),
        || ask(case, wire(Role::Client, to_server), &machine, KeyMemory::default(), 2),
    );
    match played {
        Ok(_) => [Ok(()), Ok(())],
        Err(failed) => [failed.client, failed.server].map(|end| end.map_or(Ok(()), Err)),
    }
}

/// Every trick in place of each of the first `messages` messages of client and server, the ones that agree on the plan left
/// out: another kind or size ends at the receiver, who blames the peer. Bytes without meaning in place of shares may change
/// the answer unnoticed, where a system says so; nothing panics or hangs.
pub fn tampered_anywhere(case: &Case, messages: [usize; 2]) {
    for (by, (first, last)) in [(Role::Client, (2, messages[0])), (Role::Server, (1, messages[1]))] {
        for at in first..last {
            for trick in TRICKS {
                let [client, server] = tampered(case, by, at, trick);
                let receiver = if by == Role::Client { server } else { client };
                let what = format!("{trick:?} at message {at} of the {by}: {receiver:?}");
                match (trick, receiver) {
                    (Trick::Garbage, Ok(())) => {}
                    (_, Ok(())) => panic!("{what}"),
                    (_, Err(e)) => {
                        assert!(matches!(e.blame(), Blame::PeerMisbehaved | Blame::InvalidMessage), "{what}")
                    }
                }
            }
        }
    }
}

/// Every trick in place of the offer.
pub fn tricks_of_a_server(case: &Case) {
    for trick in TRICKS {
        let error = client_against(case, async |mut wire| {
            let _ = wire.recv(Expect::at_most(Kind::Hello, 4096)).await.unwrap();
            let body = match trick {
                Trick::Oversize => vec![0; 64 << 20],
                _ => vec![0xff; 100],
            };
            let kind = if trick == Trick::WrongKind { Kind::Accept } else { Kind::Offer };
            wire.send(kind, body).await.unwrap();
            assert_eq!(told(&mut wire).await, Some(Notice::Failed), "{trick:?}");
        });
        let blame = error.blame();
        assert!(matches!(blame, Blame::InvalidMessage | Blame::PeerMisbehaved), "{trick:?}: {error}");
    }
}
