//! From nothing to stocks in both directions: four messages.
//!
//! ```text
//! opener   → answerer   base OT offer
//! answerer → opener     base OT answer                          Δ of the answerer
//! opener   → answerer   trees, batch 1, 128 flips               batch 1: the answerer sends; Δ of the opener
//! answerer → opener     trees, batch 2                          batch 2: the opener sends
//! ```
//!
//! There is one base OT: the first 128 COTs of batch 1, hashed, are the base OTs of the other direction, the flips making
//! the opener's random choices those that its Δ needs (D. Beaver, *Precomputing oblivious transfer*, 1995).
#![deny(clippy::indexing_slicing)]

use crate::base_ot::{self, BASE_OTS, BaseOtSender, BothKeys, ChosenKeys};
use crate::silent::{LpnSet, ReceiverFeed, SenderFeed};
use crate::softspoken::{FieldBits, SoftSpokenReceiver, SoftSpokenSender, fresh_delta};
use crate::{Blocks, CotReceiver, CotSender, Direction, Label, MpcError};
use oblivia_base::codec::Reader;
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Secret};

/// Where the COTs of one direction come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Batches of the extension, the first of which, `cots` long, is part of the set-up.
    Extension {
        /// Traffic against computation.
        field: FieldBits,
        /// COTs in stock after the set-up.
        cots: usize,
    },
    /// Silent rounds of these sets, the last one for ever; the set-up makes what the first round takes.
    Silent {
        /// Not empty.
        sets: Vec<LpnSet>,
    },
}

impl Source {
    fn field(&self) -> FieldBits {
        match self {
            Self::Extension { field, .. } => *field,
            Self::Silent { .. } => FieldBits::Eight,
        }
    }

    /// COTs of the first batch.
    fn first(&self) -> usize {
        match self {
            Self::Extension { cots, .. } => *cots,
            Self::Silent { sets } => sets.first().map_or(0, |s| s.base_cots()),
        }
    }
}

/// What both parties agree on before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Digest of the session.
    pub session: Digest,
    /// Epoch of the stocks, see [`Label`].
    pub epoch: u32,
    /// Which direction the opener is the COT sender of.
    pub opener_sends: Direction,
    /// Source of that direction.
    pub from_opener: Source,
    /// Source of the other.
    pub from_answerer: Source,
}

impl Setup {
    fn label(&self, direction: Direction) -> Label {
        Label { session: self.session, epoch: self.epoch, direction }
    }

    /// Label of the direction in which the opener sends, and of the other.
    fn labels(&self) -> [Label; 2] {
        [self.label(self.opener_sends), self.label(self.opener_sends.other())]
    }

    /// COTs of batch 1 and of batch 2.
    fn batches(&self) -> [usize; 2] {
        [self.from_answerer.first() + BASE_OTS, self.from_opener.first()]
    }

    /// Bytes of the four messages, in order.
    pub fn message_bytes(&self) -> [usize; 4] {
        let [first, second] = self.batches();
        let of = |source: &Source, n| source.field().setup_bytes() + source.field().batch_bytes(n);
        let third = of(&self.from_answerer, first) + BASE_OTS / 8;
        [base_ot::OFFER_BYTES, base_ot::ANSWER_BYTES, third, of(&self.from_opener, second)]
    }
}

/// More COTs of a direction that this party sends.
#[derive(Debug)]
pub enum SenderSource {
    /// [`SoftSpokenSender::batch`].
    Extension(SoftSpokenSender),
    /// [`SenderFeed::start`].
    Silent(SenderFeed),
}

/// More COTs of a direction that this party receives.
#[derive(Debug)]
pub enum ReceiverSource {
    /// [`SoftSpokenReceiver::batch`].
    Extension(SoftSpokenReceiver),
    /// [`ReceiverFeed::answer`].
    Silent(ReceiverFeed),
}

/// What a party holds after the set-up.
#[derive(Debug)]
pub struct Ends {
    /// COTs this party sends.
    pub sender: CotSender,
    /// More of them.
    pub sender_source: SenderSource,
    /// COTs this party receives.
    pub receiver: CotReceiver,
    /// More of them.
    pub receiver_source: ReceiverSource,
}

/// The opener, waiting for the base OT answer.
#[derive(Debug)]
pub struct OpenerAwaitsAnswer {
    setup: Setup,
    base: BaseOtSender,
}

/// The opener, waiting for batch 2.
#[derive(Debug)]
pub struct OpenerAwaitsBatch {
    setup: Setup,
    delta: Secret<u128>,
    base: ChosenKeys,
    receiver: CotReceiver,
    receiver_source: ReceiverSource,
}

/// The answerer, waiting for batch 1.
#[derive(Debug)]
pub struct AnswererAwaitsBatch {
    setup: Setup,
    delta: Secret<u128>,
    base: ChosenKeys,
}

impl OpenerAwaitsAnswer {
    /// The first message.
    pub fn start(setup: &Setup, rng: &mut dyn EntropySource) -> (Self, Vec<u8>) {
        let [_, label] = setup.labels();
        let (base, offer) = BaseOtSender::start(&label, rng);
        (Self { setup: setup.clone(), base }, offer)
    }

    /// Takes the second message and makes the third.
    ///
    /// # Errors
    /// As [`BaseOtSender::finish`]; [`MpcError::Argument`] if a source is empty.
    pub fn answer(
        self,
        message: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<(OpenerAwaitsBatch, Vec<u8>), MpcError> {
        let Self { setup, base } = self;
        let [_, label] = setup.labels();
        let [n, _] = setup.batches();
        let keys = base.finish(message)?;
        let (made, mut out, tags) = receive(&label, &setup.from_answerer, &keys, n)?;
        let mut receiver = CotReceiver::new(&label);
        receiver.add_held(tags);
        let delta = fresh_delta(rng);
        let (flips, base) = turn_receiver(&mut receiver, &SoftSpokenSender::base_choices(&delta))?;
        out.extend(flips);
        let receiver_source = receiver_source(&label, &setup.from_answerer, &mut receiver, made)?;
        Ok((OpenerAwaitsBatch { setup, delta, base, receiver, receiver_source }, out))
    }
}

impl OpenerAwaitsBatch {
    /// Takes the fourth message.
    ///
    /// # Errors
    /// As [`SoftSpokenSender::new`] and [`SoftSpokenSender::batch`].
    pub fn finish(self, message: &[u8]) -> Result<Ends, MpcError> {
        let Self { setup, delta, base, receiver, receiver_source } = self;
        let [label, _] = setup.labels();
        let [_, n] = setup.batches();
        let [.., expected] = setup.message_bytes();
        MpcError::check_bytes("second batch", message, expected)?;
        let (keys, made) = send(&label, &setup.from_opener, delta, &base, n, &mut Reader::new(message))?;
        let mut sender = CotSender::new(&label, Secret::new(*made.delta().expose()));
        sender.add_held(keys);
        let sender_source = sender_source(&label, &setup.from_opener, &mut sender, made)?;
        Ok(Ends { sender, sender_source, receiver, receiver_source })
    }
}

impl AnswererAwaitsBatch {
    /// Takes the first message and makes the second.
    ///
    /// # Errors
    /// As [`base_ot::answer`].
    pub fn start(
        setup: &Setup,
        message: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<(Self, Vec<u8>), MpcError> {
        let [_, label] = setup.labels();
        let delta = fresh_delta(rng);
        let (out, base) = base_ot::answer(&label, &SoftSpokenSender::base_choices(&delta), message, rng)?;
        Ok((Self { setup: setup.clone(), delta, base }, out))
    }

    /// Takes the third message and makes the fourth.
    ///
    /// # Errors
    /// As [`SoftSpokenSender::new`] and [`SoftSpokenSender::batch`].
    pub fn finish(self, message: &[u8]) -> Result<(Ends, Vec<u8>), MpcError> {
        let Self { setup, delta, base } = self;
        let [back, label] = setup.labels();
        let [n, m] = setup.batches();
        let [_, _, expected, _] = setup.message_bytes();
        MpcError::check_bytes("first batch", message, expected)?;
        let mut r = Reader::new(message);
        let (keys, made) = send(&label, &setup.from_answerer, delta, &base, n, &mut r)?;
        let flips = u128::from_le_bytes(r.array("flips")?);
        r.finish()?;
        let mut sender = CotSender::new(&label, Secret::new(*made.delta().expose()));
        sender.add_held(keys);
        let both = turn_sender(&mut sender, flips)?;
        let sender_source = sender_source(&label, &setup.from_answerer, &mut sender, made)?;
        let (made, out, tags) = receive(&back, &setup.from_opener, &both, m)?;
        let mut receiver = CotReceiver::new(&back);
        receiver.add_held(tags);
        let receiver_source = receiver_source(&back, &setup.from_opener, &mut receiver, made)?;
        Ok((Ends { sender, sender_source, receiver, receiver_source }, out))
    }
}

/// Trees and first batch of the party that receives.
fn receive(
    label: &Label,
    source: &Source,
    base: &BothKeys,
    n: usize,
) -> Result<(SoftSpokenReceiver, Vec<u8>, Blocks), MpcError> {
    let (mut made, mut out) = SoftSpokenReceiver::new(label, source.field(), base)?;
    let (batch, tags) = made.batch(n)?;
    out.extend(batch);
    Ok((made, out, tags))
}

/// Trees and first batch of the party that sends.
fn send(
    label: &Label,
    source: &Source,
    delta: Secret<u128>,
    base: &ChosenKeys,
    n: usize,
    r: &mut Reader<'_>,
) -> Result<(Blocks, SoftSpokenSender), MpcError> {
    let field = source.field();
    let trees = r.raw(field.setup_bytes(), "trees")?;
    let batch = r.raw(field.batch_bytes(n), "batch")?;
    SoftSpokenSender::new(label, field, delta, base, trees)?.batch(n, batch)
}

fn sender_source(
    label: &Label,
    source: &Source,
    stock: &mut CotSender,
    made: SoftSpokenSender,
) -> Result<SenderSource, MpcError> {
    Ok(match source {
        Source::Extension { .. } => SenderSource::Extension(made),
        Source::Silent { sets } => {
            let mut first = Secret::new(vec![0; stock.left() as usize]);
            stock.take(first.expose_mut())?;
            SenderSource::Silent(SenderFeed::new(label, sets, made.delta(), first)?)
        }
    })
}

fn receiver_source(
    label: &Label,
    source: &Source,
    stock: &mut CotReceiver,
    made: SoftSpokenReceiver,
) -> Result<ReceiverSource, MpcError> {
    Ok(match source {
        Source::Extension { .. } => ReceiverSource::Extension(made),
        Source::Silent { sets } => {
            let mut first = Secret::new(vec![0; stock.left() as usize]);
            stock.take(first.expose_mut())?;
            ReceiverSource::Silent(ReceiverFeed::new(label, sets, first)?)
        }
    })
}

/// 128 random OTs as base OTs with the choices `choices`: the flips to send, and the keys.
fn turn_receiver(
    stock: &mut CotReceiver,
    choices: &Secret<u128>,
) -> Result<([u8; BASE_OTS / 8], ChosenKeys), MpcError> {
    let mut random = Secret::new([0; BASE_OTS]);
    let mut keys = Secret::new(vec![0; BASE_OTS]);
    stock.random_wide(random.expose_mut(), keys.expose_mut())?;
    let random = random.expose().iter().rev().fold(0, |all, c| all << 1 | u128::from(*c));
    Ok(((random ^ choices.expose()).to_le_bytes(), keys))
}

/// The same 128 OTs at the party with both keys, swapped where a flip is 1.
fn turn_sender(stock: &mut CotSender, flips: u128) -> Result<BothKeys, MpcError> {
    let mut keys = Secret::new(vec![[0; 2]; BASE_OTS]);
    stock.random_wide(keys.expose_mut())?;
    for (i, pair) in keys.expose_mut().iter_mut().enumerate() {
        // A flip is a message, not a secret.
        if flips >> i & 1 == 1 {
            pair.reverse();
        }
    }
    Ok(keys)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests;
