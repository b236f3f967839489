use super::{Base, LpnSet, ReceiverAwaitsDigest, SenderAwaitsCheck};
use crate::supply::Supply;
use crate::{CotReceiver, CotSender, Label, MpcError};
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;

/// What both ends of a feed count alike.
struct Chain {
    label: Label,
    sets: Vec<LpnSet>,
    round: u32,
    base: Option<Base>,
}

impl Chain {
    fn new(label: &Label, sets: &[LpnSet], first: Secret<Vec<u128>>) -> Result<Self, MpcError> {
        let Some(set) = sets.first() else {
            return Err(MpcError::Argument { what: "number of LPN sets", found: 0, expected: "at least 1" });
        };
        let few = sets.windows(2).find_map(|pair| match pair {
            [a, b] if b.base_cots() >= a.outputs() => Some(a.outputs() as u64),
            _ => None,
        });
        if let Some(found) = few {
            let expected = "more than the next set takes";
            return Err(MpcError::Argument { what: "number of COTs that a set makes", found, expected });
        }
        Ok(Self { label: *label, sets: sets.to_vec(), round: 0, base: Some(Base::new(*set, &first)?) })
    }

    fn set(&self, round: u32) -> LpnSet {
        let at = (round as usize).min(self.sets.len().saturating_sub(1));
        self.sets.get(at).copied().unwrap_or(LpnSet::B8)
    }

    /// The base COTs of this round, which are gone then.
    fn begin(&mut self) -> Result<(u32, Base), MpcError> {
        let base = self.base.take().ok_or(MpcError::Order { what: "the last round is not finished" })?;
        Ok((self.round, base))
    }

    /// Keeps the base COTs of the next round and returns the rest.
    fn end(&mut self, mut supply: Supply) -> Result<Supply, MpcError> {
        self.round = self.round.checked_add(1).ok_or(MpcError::Order { what: "2^32 rounds are played" })?;
        self.base = Some(Base::fill(self.set(self.round), |room| {
            supply.take(room);
        }));
        Ok(supply)
    }
}

/// The sender's end of a chain of silent rounds, each of which makes the COTs the next one starts from.
///
/// A round is three messages: [`SenderFeed::start`] →, ← [`ReceiverFeed::answer`], [`SenderFeed::finish`] →
/// [`ReceiverFeed::finish`]. Both ends then have the round's other COTs in stock.
pub struct SenderFeed {
    chain: Chain,
    delta: Secret<u128>,
    pending: Option<SenderAwaitsCheck>,
}

impl SenderFeed {
    /// A feed that plays the rounds `sets` and then the last of them for ever, from the keys of as many COTs as the first
    /// set takes.
    ///
    /// # Errors
    /// [`MpcError::Argument`] if their number is another, or a set makes less than the next one takes.
    pub fn new(
        label: &Label,
        sets: &[LpnSet],
        delta: &Secret<u128>,
        first: Secret<Vec<u128>>,
    ) -> Result<Self, MpcError> {
        let delta = Secret::new(*delta.expose());
        Ok(Self { chain: Chain::new(label, sets, first)?, delta, pending: None })
    }

    /// The set of the next round.
    pub fn next_set(&self) -> LpnSet {
        self.chain.set(self.chain.round)
    }

    /// The first message of the next round.
    ///
    /// # Errors
    /// [`MpcError::Order`] if a round is under way or has failed.
    pub fn start(&mut self, rng: &mut dyn EntropySource) -> Result<Vec<u8>, MpcError> {
        let (number, base) = self.chain.begin()?;
        let (pending, message) = SenderAwaitsCheck::start(&self.chain.label, number, &self.delta, base, rng);
        self.pending = Some(pending);
        Ok(message)
    }

    /// Takes the receiver's answer, puts the round's COTs in stock and makes the last message.
    ///
    /// # Errors
    /// [`MpcError::Order`] if no round is under way, [`MpcError::MessageBytes`].
    pub fn finish(&mut self, answer: &[u8], stock: &mut CotSender) -> Result<Vec<u8>, MpcError> {
        let pending = self.pending.take().ok_or(MpcError::Order { what: "no round is under way" })?;
        let (round, message) = pending.finish(answer)?;
        stock.add(self.chain.end(Supply::round(round))?);
        Ok(message)
    }
}

/// The receiver's end, see [`SenderFeed`].
pub struct ReceiverFeed {
    chain: Chain,
    pending: Option<ReceiverAwaitsDigest>,
}

impl ReceiverFeed {
    /// As [`SenderFeed::new`], from the tags.
    ///
    /// # Errors
    /// As [`SenderFeed::new`].
    pub fn new(label: &Label, sets: &[LpnSet], first: Secret<Vec<u128>>) -> Result<Self, MpcError> {
        Ok(Self { chain: Chain::new(label, sets, first)?, pending: None })
    }

    /// The set of the next round.
    pub fn next_set(&self) -> LpnSet {
        self.chain.set(self.chain.round)
    }

    /// Takes the sender's first message and answers it.
    ///
    /// # Errors
    /// [`MpcError::Order`] if a round is under way or has failed, [`MpcError::MessageBytes`].
    pub fn answer(&mut self, message: &[u8], rng: &mut dyn EntropySource) -> Result<Vec<u8>, MpcError> {
        let (number, base) = self.chain.begin()?;
        let (pending, answer) = ReceiverAwaitsDigest::start(&self.chain.label, number, base, message, rng)?;
        self.pending = Some(pending);
        Ok(answer)
    }

    /// Takes the sender's last message and puts the round's COTs in stock.
    ///
    /// # Errors
    /// [`MpcError::Order`] if no round is under way, [`MpcError::MessageBytes`], [`MpcError::Check`].
    pub fn finish(&mut self, message: &[u8], stock: &mut CotReceiver) -> Result<(), MpcError> {
        let pending = self.pending.take().ok_or(MpcError::Order { what: "no round is under way" })?;
        stock.add(self.chain.end(Supply::round(pending.finish(message)?))?);
        Ok(())
    }
}

impl std::fmt::Debug for SenderFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SenderFeed(round {}, {:?})", self.chain.round, self.next_set())
    }
}

impl std::fmt::Debug for ReceiverFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiverFeed(round {}, {:?})", self.chain.round, self.next_set())
    }
}
