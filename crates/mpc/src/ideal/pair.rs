//! Both parties in one thread, with a queue between them that writes down what was said.

use crate::{Link, LinkFault, MpcError, PadSource, Party, Session};
use oblivia_base::Blame;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A message and who sent it.
pub type Said = (Party, Vec<u8>);

#[derive(Default)]
struct Room {
    queues: [VecDeque<Vec<u8>>; 2],
    said: Vec<Said>,
}

/// One end of a queue between two parties of a thread.
pub struct QueueLink {
    party: Party,
    room: Arc<Mutex<Room>>,
}

/// Both ends of a new queue, the client's first.
pub fn queue() -> [QueueLink; 2] {
    let room = Arc::new(Mutex::new(Room::default()));
    [Party::Client, Party::Server].map(|party| QueueLink { party, room: room.clone() })
}

/// Reads what was said over a queue.
pub struct Minutes(Arc<Mutex<Room>>);

impl Minutes {
    /// What both parties said so far, in order.
    pub fn said(&self) -> Vec<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said.clone()
    }
}

impl QueueLink {
    /// For reading what is said after the link was given away.
    pub fn minutes(&self) -> Minutes {
        Minutes(self.room.clone())
    }

    fn take(&self, max_bytes: usize) -> Option<Result<Vec<u8>, LinkFault>> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let message = room.queues[self.party as usize].pop_front()?;
        Some(if message.len() <= max_bytes {
            Ok(message)
        } else {
            Err(LinkFault { blame: Blame::InvalidMessage, what: "a message above the limit".into() })
        })
    }
}

impl Link for QueueLink {
    async fn send(&mut self, message: Vec<u8>) -> Result<(), LinkFault> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.said.push((self.party, message.clone()));
        room.queues[self.party.other() as usize].push_back(message);
        Ok(())
    }

    async fn recv(&mut self, max_bytes: usize) -> Result<Vec<u8>, LinkFault> {
        poll_fn(|_| self.take(max_bytes).map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// Runs two parties of a [`queue`] in turn until both are done. `None` if both wait for the other, or one does for a
/// peer that is done.
pub fn join<A, B>(client: impl Future<Output = A>, server: impl Future<Output = B>) -> Option<(A, B)> {
    let (mut client, mut server) = (pin!(client), pin!(server));
    let (mut a, mut b) = (None, None);
    let mut cx = Context::from_waker(Waker::noop());
    // Whoever is polled goes as far as it can, so two idle rounds are a deadlock. Messages are not seen from here;
    // a protocol has far fewer than this.
    for _ in 0..1 << 12 {
        if a.is_none()
            && let Poll::Ready(v) = client.as_mut().poll(&mut cx)
        {
            a = Some(v);
        }
        if b.is_none()
            && let Poll::Ready(v) = server.as_mut().poll(&mut cx)
        {
            b = Some(v);
        }
        if a.is_some() && b.is_some() {
            return a.zip(b);
        }
    }
    None
}

/// Sessions of both parties over a new queue, with `pen` writing first.
pub fn sessions<P: PadSource>(pads: [P; 2], pen: Party) -> [Session<QueueLink, P>; 2] {
    let [client, server] = queue();
    let [first, second] = pads;
    [
        Session::new(Party::Client, pen, client, first, usize::MAX),
        Session::new(Party::Server, pen, server, second, usize::MAX),
    ]
}

/// What both parties of a run got, what was said and what is left of their sessions.
pub type Ran<T, P> = ([Result<T, MpcError>; 2], Vec<Said>, [P; 2]);

/// Runs `role` as both parties, each with its operand, and finishes both sessions. `None` as for [`join`].
pub fn run<X, T, P, F>(pads: [P; 2], pen: Party, operands: [X; 2], role: F) -> Option<Ran<T, P>>
where
    P: PadSource,
    F: AsyncFn(&mut Session<QueueLink, P>, X) -> Result<T, MpcError>,
{
    let [client, server] = sessions(pads, pen);
    let [x, y] = operands;
    let role = &role;
    let play = |mut cx: Session<QueueLink, P>, x: X| async move {
        let out = role(&mut cx, x).await;
        let out = match cx.finish().await {
            Ok(()) => out,
            Err(e) => out.and(Err(e)),
        };
        (out, cx.into_parts())
    };
    let ((a, (link, first)), (b, (_, second))) = join(play(client, x), play(server, y))?;
    Some(([a, b], link.minutes().said(), [first, second]))
}
