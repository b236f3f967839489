//! Correlated OTs of one session: set-up in four messages, then a refill ahead of every image.
//!
//! A refill makes as many COTs in each direction as the image takes; what an image leaves over is dropped, so that every
//! image costs the same.
//!
//! ```text
//! silent round of both directions:   client → server   trees (client sends)
//!                                    server → client   check ‖ trees (server sends)
//!                                    client → server   digest ‖ check
//!                                    server → client   digest
//! batch of the extension:            client → server   columns (server sends)
//!                                    server → client   columns (client sends)
//! ```

use super::choices::Supply;
use super::link::{KIND_OFFLINE, mpc_error};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Secret};
use oblivia_mpc::put_away::PutAway;
use oblivia_mpc::setup::{Ends, ReceiverSource, SenderSource, Setup};
use oblivia_mpc::silent::{CHECK_BYTES, DIGEST_BYTES, LpnSet};
use oblivia_mpc::softspoken::{SoftSpokenReceiver, SoftSpokenSender};
use oblivia_mpc::{CotPads, CotReceiver, CotSender, Direction, MpcError, Party};
use oblivia_protocol::{Channel, Error, Expect, HEADER_BYTES, Role, Traffic, Turns};
use rayon::ThreadPool;
use std::sync::Arc;

/// Correlated OTs an image takes: those the client sends, and those the server sends.
pub(super) type Demand = [u64; 2];

/// What both sides agree on before.
pub(super) fn setup(session: Digest, supply: Supply) -> Setup {
    Setup {
        session,
        epoch: 0,
        opener_sends: Direction::ClientSends,
        from_opener: supply.source(),
        from_answerer: supply.source(),
    }
}

/// One exchange of a refill: what to play in each direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// A silent round of this set in the directions that are true.
    Round(LpnSet, [bool; 2]),
    /// Batches of so many COTs.
    Batch([usize; 2]),
}

/// The most COTs of a batch.
const MAX_BATCH: u64 = 1 << 26;

/// The silent rounds that the set-up ends with: one of every set before the last.
fn first_turns(supply: Supply) -> Vec<Turn> {
    let sets = supply.sets();
    let below = sets.len().saturating_sub(1);
    sets.iter().take(below).map(|&set| Turn::Round(set, [true; 2])).collect()
}

fn turns(supply: Supply, demand: Demand) -> Vec<Turn> {
    match supply {
        Supply::Extension(_) => {
            let batches = demand.map(|n| n.div_ceil(MAX_BATCH));
            let count = batches.into_iter().max().unwrap_or(0);
            let size = |n: u64, batch| n.saturating_sub(batch * MAX_BATCH).min(MAX_BATCH) as usize;
            (0..count).map(|batch| Turn::Batch(demand.map(|n| size(n, batch)))).collect()
        }
        Supply::Silent(set) => {
            let rounds = demand.map(|n| n.div_ceil(set.net() as u64));
            let count = rounds.into_iter().max().unwrap_or(0);
            (0..count).map(|round| Turn::Round(set, rounds.map(|n| round < n))).collect()
        }
    }
}

/// COTs that a refill makes in both directions together.
pub(super) fn made(supply: Supply, demand: Demand) -> u64 {
    let of = |turn: &Turn| match turn {
        Turn::Round(set, on) => on.iter().map(|&on| if on { set.outputs() as u64 } else { 0 }).sum::<u64>(),
        Turn::Batch(sizes) => sizes.iter().map(|&n| n as u64).sum(),
    };
    turns(supply, demand).iter().map(of).sum()
}

impl Turn {
    /// Bytes of its messages, the client's first, in turn; empty ones are not sent.
    fn messages(self, supply: Supply) -> Vec<usize> {
        let either = |on: bool, bytes| if on { bytes } else { 0 };
        match self {
            Self::Round(set, [client, server]) => vec![
                either(client, set.message_bytes()),
                either(client, CHECK_BYTES) + either(server, set.message_bytes()),
                either(client, DIGEST_BYTES) + either(server, CHECK_BYTES),
                either(server, DIGEST_BYTES),
            ],
            Self::Batch([client, server]) => {
                let bytes = |n| match supply {
                    Supply::Extension(field) if n > 0 => field.batch_bytes(n),
                    _ => 0,
                };
                vec![bytes(server), bytes(client)]
            }
        }
    }
}

/// Traffic of messages in turn, the first one's sender being the client or not.
pub(super) fn traffic(client_first: bool, messages: impl IntoIterator<Item = u64>) -> Traffic {
    let mut total = Traffic::default();
    let mut last = None;
    for (i, bytes) in messages.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0) {
        let up = i.is_multiple_of(2) == client_first;
        *(if up { &mut total.up_bytes } else { &mut total.down_bytes }) += HEADER_BYTES + bytes;
        total.rounds += u64::from(last != Some(up));
        last = Some(up);
    }
    total
}

/// Traffic of a refill.
pub(super) fn refill_traffic(supply: Supply, demand: Demand) -> Traffic {
    turns_traffic(supply, &turns(supply, demand))
}

/// Traffic of the silent rounds that end the set-up.
pub(super) fn first_traffic(supply: Supply) -> Traffic {
    turns_traffic(supply, &first_turns(supply))
}

fn turns_traffic(supply: Supply, turns: &[Turn]) -> Traffic {
    // Every turn begins with the client and has an even number of messages.
    traffic(true, turns.iter().flat_map(|turn| turn.messages(supply)).map(|bytes| bytes as u64))
}

/// The longest message of set-up rounds and refills, in bytes.
pub(super) fn longest(supply: Supply, demand: Demand) -> usize {
    let all = first_turns(supply).into_iter().chain(turns(supply, demand));
    all.flat_map(|turn| turn.messages(supply)).max().unwrap_or(0)
}

/// Bytes of either party's stocks for `demand`. What silent rounds make is not stored, what it is made from is.
pub(super) fn memory(supply: Supply, demand: Demand) -> u64 {
    match supply {
        // Blocks, a copy of those a step takes, and columns on their way.
        Supply::Extension(_) => 32 * demand.iter().sum::<u64>() + 3 * longest(supply, demand) as u64,
        Supply::Silent(set) => {
            let (trees, depth) = (set.trees() as u64, set.depth() as u64);
            // What a round starts from, and its trees: the siblings of one path, the leaf, its place.
            let round = 16 * (set.base_cots() as u64 + trees * (depth + 2));
            let rounds: u64 = demand.iter().map(|n| n.div_ceil(set.net() as u64)).sum();
            // In each direction the base of the next round, and trees that are grown: by every part of a step.
            let at_once = 2 * (16 * set.base_cots() as u64 + ((16 * GROWN) << depth));
            rounds * round + at_once
        }
    }
}

/// Trees that are grown at the same time in one direction.
const GROWN: u64 = 32;

/// Where a party's work is done.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) pool: Arc<ThreadPool>,
    /// A server's sessions take turns.
    pub(super) turns: Turns,
}

impl Place {
    /// Does `work` in the pool, as a step of its own.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.turns.step();
        self.pool.install(work)
    }
}

/// One party's stocks and what fills them.
pub(super) struct Stock {
    party: Party,
    supply: Supply,
    sender: CotSender,
    more_sent: More<SenderSource>,
    receiver: CotReceiver,
    more_received: More<ReceiverSource>,
}

/// A source; none after a step of it failed.
type More<T> = Option<T>;

const FAILED: MpcError = MpcError::Order { what: "a refill failed" };

impl Stock {
    /// From what the set-up left, and the rounds that end it.
    pub(super) async fn begin(
        party: Party,
        supply: Supply,
        ends: Ends,
        place: &Place,
        channel: &mut Channel,
        rng: &mut dyn EntropySource,
    ) -> Result<Self, Error> {
        let Ends { sender, sender_source, receiver, receiver_source } = ends;
        let (more_sent, more_received) = (Some(sender_source), Some(receiver_source));
        let mut stock = Self { party, supply, sender, more_sent, receiver, more_received };
        stock.play(first_turns(supply), place, channel, rng).await?;
        Ok(stock)
    }

    /// Drops what is left and makes what `demand` asks for.
    pub(super) async fn refill(
        &mut self,
        demand: Demand,
        place: &Place,
        channel: &mut Channel,
        rng: &mut dyn EntropySource,
    ) -> Result<(), Error> {
        self.sender.discard();
        self.receiver.discard();
        self.play(turns(self.supply, demand), place, channel, rng).await
    }

    /// After a refill, the stocks as [`Stock::pads`] gives them. A session whose images all have their packs has none.
    pub(super) async fn ahead(
        stock: Option<Self>,
        demand: Demand,
        place: &Place,
        channel: &mut Channel,
        rng: &mut dyn EntropySource,
    ) -> Result<(CotPads, Option<Rest>), Error> {
        let mut stock = stock.ok_or_else(|| Error::Misuse("an image has neither pack nor stock".into()))?;
        stock.refill(demand, place, channel, rng).await?;
        let (pads, rest) = stock.pads();
        Ok((pads, Some(rest)))
    }

    /// The stocks as a protocol on shares takes from them; [`Rest::put_back`] takes them again.
    pub(super) fn pads(self) -> (CotPads, Rest) {
        let Self { party, supply, sender, more_sent, receiver, more_received } = self;
        (CotPads::new(sender, receiver), Rest { party, supply, more_sent, more_received })
    }

    /// COTs of the stocks as a later session takes them up.
    pub(super) fn put_away(&mut self, away: &PutAway) -> Result<Secret<Vec<u8>>, MpcError> {
        away.write(&mut self.sender, &mut self.receiver)
    }

    async fn play(
        &mut self,
        turns: Vec<Turn>,
        place: &Place,
        channel: &mut Channel,
        rng: &mut dyn EntropySource,
    ) -> Result<(), Error> {
        for turn in turns {
            let messages = turn.messages(self.supply);
            let mut incoming = Vec::new();
            for (i, &bytes) in messages.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
                let mine = (i.is_multiple_of(2)) == (self.party == Party::Client);
                if mine {
                    let body = place.run(|| self.write(turn, i, &incoming, rng)).map_err(mpc_error)?;
                    channel.send(peer(self.party), KIND_OFFLINE, body).await?;
                } else {
                    incoming = channel.recv(peer(self.party), Expect::exactly(KIND_OFFLINE, bytes)).await?;
                    if let Turn::Batch(sizes) = turn {
                        let n = sizes[usize::from(self.party == Party::Server)];
                        place.run(|| self.take_batch(n, &incoming)).map_err(mpc_error)?;
                    }
                }
            }
            if let Turn::Round(set, on) = turn {
                place.run(|| self.end_round(set, on, &incoming)).map_err(mpc_error)?;
            }
        }
        Ok(())
    }

    /// Message `i` of a turn, which answers `incoming`.
    fn write(
        &mut self,
        turn: Turn,
        i: usize,
        incoming: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<Vec<u8>, MpcError> {
        let (set, [client, server]) = match turn {
            Turn::Batch(sizes) => return self.give_batch(sizes[usize::from(self.party == Party::Client)]),
            Turn::Round(set, on) => (set, on),
        };
        let Self { sender, more_sent, more_received, .. } = self;
        let (Some(SenderSource::Silent(mine)), Some(ReceiverSource::Silent(theirs))) =
            (more_sent, more_received)
        else {
            return Err(FAILED);
        };
        let mut out = Vec::new();
        match i {
            0 => out.extend(mine.start(rng)?),
            // The client's trees have come, or there are none.
            1 => {
                if client {
                    out.extend(theirs.answer(incoming, rng)?);
                }
                if server {
                    out.extend(mine.start(rng)?);
                }
            }
            2 => {
                let (check, trees) = split(incoming, if client { CHECK_BYTES } else { 0 })?;
                if client {
                    out.extend(mine.finish(check, sender)?);
                }
                if server {
                    debug_assert_eq!(trees.len(), set.message_bytes());
                    out.extend(theirs.answer(trees, rng)?);
                }
            }
            _ => {
                let (digest, check) = split(incoming, if client { DIGEST_BYTES } else { 0 })?;
                let made = mine.finish(check, sender)?;
                if client {
                    theirs.finish(digest, &mut self.receiver)?;
                }
                out.extend(made);
            }
        }
        Ok(out)
    }

    /// What the last message of a round brings to a party that does not answer it.
    fn end_round(&mut self, _: LpnSet, [client, server]: [bool; 2], last: &[u8]) -> Result<(), MpcError> {
        let Some(ReceiverSource::Silent(theirs)) = &mut self.more_received else { return Err(FAILED) };
        match self.party {
            Party::Client if server => theirs.finish(last, &mut self.receiver),
            // Without a round of its own the server answers nothing to the client's digest.
            Party::Server if client && !server => theirs.finish(last, &mut self.receiver),
            _ => Ok(()),
        }
    }

    /// Columns of `n` COTs this party receives.
    fn give_batch(&mut self, n: usize) -> Result<Vec<u8>, MpcError> {
        let Some(ReceiverSource::Extension(source)) = &mut self.more_received else { return Err(FAILED) };
        let source: &mut SoftSpokenReceiver = source;
        let (message, tags) = source.batch(n)?;
        self.receiver.add_held(tags);
        Ok(message)
    }

    /// The peer's columns of `n` COTs this party sends.
    fn take_batch(&mut self, n: usize, message: &[u8]) -> Result<(), MpcError> {
        let Some(SenderSource::Extension(source)) = self.more_sent.take() else { return Err(FAILED) };
        let (keys, source): (_, SoftSpokenSender) = source.batch(n, message)?;
        self.more_sent = Some(SenderSource::Extension(source));
        self.sender.add_held(keys);
        Ok(())
    }
}

/// What fills the stocks while a protocol has them.
pub(super) struct Rest {
    party: Party,
    supply: Supply,
    more_sent: More<SenderSource>,
    more_received: More<ReceiverSource>,
}

impl Rest {
    /// Puts the stocks back.
    pub(super) fn put_back(self, pads: CotPads) -> Stock {
        let (sender, receiver) = pads.into_parts();
        let Self { party, supply, more_sent, more_received } = self;
        Stock { party, supply, sender, more_sent, receiver, more_received }
    }
}

/// Who is at the other end.
pub(super) fn peer(party: Party) -> Role {
    match party {
        Party::Client => Role::Server,
        Party::Server => Role::Client,
    }
}

fn split(message: &[u8], at: usize) -> Result<(&[u8], &[u8]), MpcError> {
    let (found, expected) = (message.len(), at);
    message.split_at_checked(at).ok_or(MpcError::MessageBytes { what: "silent round", found, expected })
}
