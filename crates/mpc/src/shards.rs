//! One protocol on many elements as the same protocol on parts of them, computed at the same time.
//!
//! Every part is a session of its own with its own share of the random OTs. Message j of all parts is one message: the parts' in
//! order, each filled up to a byte. Nothing waits on a thread: a part runs until it needs the peer, and is asked again when the
//! peer's message is there.

use crate::{Cost, Divisible, Link, LinkFault, MpcError, PadSource, Session, Shares};
use oblivia_base::Blame;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Messages of a part on their way.
#[derive(Default)]
struct Room {
    out: VecDeque<Vec<u8>>,
    incoming: VecDeque<Vec<u8>>,
}

/// The link of a part: to whoever carries the messages of all parts.
#[derive(Clone, Default)]
pub struct PartLink(Arc<Mutex<Room>>);

impl PartLink {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PartLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartLink")
    }
}

impl Link for PartLink {
    async fn send(&mut self, message: Vec<u8>) -> Result<(), LinkFault> {
        self.room().out.push_back(message);
        Ok(())
    }

    async fn recv(&mut self, max_bytes: usize) -> Result<Vec<u8>, LinkFault> {
        let message = poll_fn(|_| self.room().incoming.pop_front().map_or(Poll::Pending, Poll::Ready)).await;
        if message.len() <= max_bytes {
            return Ok(message);
        }
        Err(LinkFault { blame: Blame::InvalidMessage, what: "a message above the limit".into() })
    }
}

/// What a part computes: it finishes the session it is given.
pub type Role<'a> = Pin<Box<dyn Future<Output = Result<Shares, MpcError>> + Send + 'a>>;

struct Part<'a> {
    role: Role<'a>,
    link: PartLink,
    done: Option<Result<Shares, MpcError>>,
}

impl Part<'_> {
    /// Runs until the part is done or waits for the peer.
    fn run(&mut self) {
        if self.done.is_none()
            && let Poll::Ready(done) = self.role.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.done = Some(done);
        }
    }
}

/// Runs `role` on every one of `operands`, each of which costs `costs` at its place, on the threads of `pool`. Results in
/// order.
///
/// # Errors
/// [`MpcError::Argument`] unless there is a cost for every operand; [`MpcError::Order`] if a part sends other messages than its
/// cost says; what parts, the peer or the stocks cause.
pub async fn in_shards<'a, L, P, F>(
    cx: &mut Session<L, P>,
    pool: &ThreadPool,
    operands: Vec<Shares>,
    costs: &[Cost],
    role: F,
) -> Result<Vec<Shares>, MpcError>
where
    L: Link,
    P: PadSource + Divisible,
    F: Fn(Session<PartLink, P>, Shares) -> Role<'a>,
{
    let (found, expected) = (costs.len() as u64, "a cost for every operand");
    crate::bits::require(costs.len() == operands.len(), "costs of parts", found, expected)?;
    let (party, pen) = (cx.party(), cx.pen());
    let mut parts = Vec::with_capacity(operands.len());
    for (operand, cost) in operands.into_iter().zip(costs) {
        let pads = cx.pads().split([party, party.other()].map(|p| cost.cots_sent_by(p, pen)))?;
        let link = PartLink::default();
        let session = Session::new(party, pen, link.clone(), pads, cost.max_message_bytes());
        parts.push(Part { role: role(session, operand), link, done: None });
    }
    let messages = costs.iter().map(|c| c.messages().len()).max().unwrap_or(0);
    let bytes = |cost: &Cost, j: usize| cost.messages().get(j).map_or(0, |bits| bits.div_ceil(8)) as usize;
    for j in 0..messages {
        let writer = if j.is_multiple_of(2) { pen } else { pen.other() };
        if writer == party {
            pool.install(|| parts.par_iter_mut().for_each(Part::run));
            let mut all = Vec::with_capacity(costs.iter().map(|c| bytes(c, j)).sum());
            for (part, cost) in parts.iter().zip(costs).filter(|(_, c)| bytes(c, j) > 0) {
                let message = part.link.room().out.pop_front();
                match message {
                    Some(message) if message.len() == bytes(cost, j) => all.extend(message),
                    _ => return Err(failed(parts)),
                }
            }
            cx.write(|w| w.bytes(&all))?;
        } else {
            let sizes: Vec<usize> = costs.iter().map(|c| bytes(c, j)).collect();
            let total: usize = sizes.iter().sum();
            let all = cx.read(8 * total, |r| r.bytes(total)).await?;
            let mut rest = all.as_slice();
            for (part, size) in parts.iter().zip(sizes).filter(|(_, size)| *size > 0) {
                let (message, behind) = rest.split_at(size.min(rest.len()));
                part.link.room().incoming.push_back(message.to_vec());
                rest = behind;
            }
        }
        if j + 1 < messages {
            cx.give_pen(writer.other());
        }
    }
    pool.install(|| parts.par_iter_mut().for_each(Part::run));
    parts.into_iter().map(|p| p.done.unwrap_or(Err(UNFINISHED))).collect()
}

const UNFINISHED: MpcError = MpcError::Order { what: "a part waits for a message its cost does not have" };

/// The error of a part that did not say what its cost has.
fn failed(parts: Vec<Part<'_>>) -> MpcError {
    let error = parts.into_iter().find_map(|p| p.done.and_then(Result::err));
    error.unwrap_or(MpcError::Order { what: "a part says other messages than its cost has" })
}

/// Of [`in_shards`].
pub fn in_shards_cost(costs: &[Cost]) -> Cost {
    Cost::beside(costs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ideal::{cots, dealer, pair};
    use crate::{CotPads, Direction, Label, Party, Radix, mask, open, relu, relu_cost};
    use oblivia_base::{Digest, Prg};

    const WIDTH: u32 = 16;
    const SIZES: [usize; 3] = [70, 64, 1];

    fn numbers() -> Vec<u64> {
        (0..135u64).map(|i| i.wrapping_mul(0x9e37_79b9) & mask(WIDTH)).collect()
    }

    fn costs() -> Vec<Cost> {
        SIZES.iter().map(|&n| relu_cost(WIDTH, Radix::Four).times(n)).collect()
    }

    fn run<P: Divisible>(pads: [P; 2]) -> ([P; 2], Vec<pair::Said>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let mut rng = Prg::new(&[1; 32], "shards", &[]);
        let x = Shares::split(WIDTH, &numbers(), &mut rng).unwrap();
        let role = async |cx: &mut Session<pair::QueueLink, P>, x: Shares| {
            // What was written before rides with the first message of the parts.
            if cx.holds_pen() {
                cx.put_bytes(&[7; 3])?;
            } else {
                assert_eq!(cx.get_bytes(3).await?, [7; 3]);
            }
            let mut from = 0;
            let cut = SIZES.map(|n| {
                from += n;
                x.slice(from - n, n).unwrap()
            });
            let costs = costs();
            let done = in_shards(cx, &pool, cut.to_vec(), &costs, |mut cx, x| {
                Box::pin(async move {
                    let y = relu(&mut cx, &x, Radix::Four).await?;
                    cx.finish().await?;
                    Ok(y)
                })
            });
            Shares::concat(&done.await?.iter().collect::<Vec<_>>())
        };
        let (results, said, pads) = pair::run(pads, Party::Server, x, role).unwrap();
        let [a, b] = results.map(Result::unwrap);
        let half = 1 << (WIDTH - 1);
        let want: Vec<u64> = numbers().iter().map(|v| if *v < half { *v } else { 0 }).collect();
        assert_eq!(open(&a, &b).unwrap(), want);
        (pads, said)
    }

    #[test]
    fn parts_give_what_the_whole_gives_at_the_declared_cost() {
        let (pads, said) = run(dealer::pads(&[3; 32]));
        let cost = Cost::of_bytes(3).then(&in_shards_cost(&costs()));
        let lengths: Vec<u64> = said.iter().map(|(_, m)| 8 * m.len() as u64).collect();
        assert_eq!(lengths, cost.messages());
        for (party, pads) in [Party::Client, Party::Server].into_iter().zip(&pads) {
            let taken = [party, party.other()].map(|p| cost.cots_sent_by(p, Party::Server));
            assert_eq!(pads.taken(), taken);
        }
    }

    #[test]
    fn stocks_are_divided_alike_at_both_ends_and_nothing_is_left_or_missing() {
        let cost = in_shards_cost(&costs());
        let mut rng = Prg::new(&[4; 32], "shards", &[]);
        let mut stock = |direction, party| {
            let label = Label { session: Digest([5; 32]), epoch: 0, direction };
            cots(&label, cost.cots_sent_by(party, Party::Server) as usize, &mut rng)
        };
        let (client, of_server) = stock(Direction::ClientSends, Party::Client);
        let (server, of_client) = stock(Direction::ServerSends, Party::Server);
        let (pads, _) = run([CotPads::new(client, of_client), CotPads::new(server, of_server)]);
        assert!(pads.iter().all(|p| p.left() == [0, 0]));
    }

    #[test]
    fn a_part_that_says_other_messages_than_its_cost_is_an_error() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let mut rng = Prg::new(&[1; 32], "shards", &[]);
        let x = Shares::split(WIDTH, &[1, 2], &mut rng).unwrap();
        let role = async |cx: &mut Session<pair::QueueLink, _>, x: Shares| {
            let wrong = [relu_cost(WIDTH, Radix::Four)];
            let role = |mut cx: Session<PartLink, _>, x: Shares| -> Role<'static> {
                Box::pin(async move { relu(&mut cx, &x, Radix::Four).await })
            };
            in_shards(cx, &pool, vec![x], &wrong, role).await
        };
        let [to_server, to_client] = pair::queue();
        let [a, b] = dealer::pads(&[3; 32]);
        let mut server = Session::new(Party::Server, Party::Server, to_client, b, usize::MAX);
        let mut client = Session::new(Party::Client, Party::Server, to_server, a, usize::MAX);
        let [x, y] = x;
        let ended = pair::join(role(&mut client, x), role(&mut server, y));
        assert!(ended.is_none_or(|(_, server)| server.is_err()));
    }
}
