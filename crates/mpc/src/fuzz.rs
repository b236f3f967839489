//! Fuzz harness: one plain function per message of the peer.
//!
//! Each takes any bytes and plays the step that reads them, against a party whose randomness is fixed. It must not panic;
//! it says whether the bytes were accepted. Where a step checks its message, only one message passes, which is in
//! [`valid`]; the others (points, the receiver's part of a check) accept every message of the right form.

pub mod shares;

use crate::base_ot::{self, BaseOtSender};
use crate::put_away::PutAway;
use crate::setup::{AnswererAwaitsBatch, OpenerAwaitsAnswer, OpenerAwaitsBatch, Setup, Source};
use crate::silent::{Base, LpnSet, ReceiverAwaitsDigest, SenderAwaitsCheck};
use crate::softspoken::{FieldBits, SoftSpokenReceiver, SoftSpokenSender};
use crate::{Direction, Label, MpcError, Party, ideal};
use oblivia_base::{Digest, Prg, Secret};

const LABEL: Label = Label { session: Digest([0xf0; 32]), epoch: 0, direction: Direction::ClientSends };
const FIELD: FieldBits = FieldBits::Four;
const SET: LpnSet = LpnSet::B8;
/// COTs of a batch.
const BATCH: usize = 100;

fn rng(step: u8) -> Prg {
    Prg::new(&[step; 32], "mpc fuzz", &[])
}

fn setup() -> Setup {
    let source = || Source::Extension { field: FIELD, cots: BATCH };
    let (session, opener_sends) = (LABEL.session, Direction::ServerSends);
    Setup { session, epoch: 0, opener_sends, from_opener: source(), from_answerer: source() }
}

type Dealt = (Secret<u128>, Secret<Vec<u128>>, Secret<Vec<u128>>);

/// Δ, keys and tags of `n` COTs.
fn dealt(n: usize) -> Result<Dealt, MpcError> {
    let (mut sender, mut receiver) = ideal::cots(&LABEL, n, &mut rng(0));
    let (mut keys, mut tags) = (Secret::new(vec![0; n]), Secret::new(vec![0; n]));
    sender.take(keys.expose_mut())?;
    receiver.take(tags.expose_mut())?;
    Ok((Secret::new(*sender.delta().expose()), keys, tags))
}

/// Base OTs of which `dealt` keys are the chosen ones, for the complement of Δ.
fn extension_ends() -> Result<(SoftSpokenReceiver, Vec<u8>, SoftSpokenSender), MpcError> {
    let (delta, keys, _) = dealt(base_ot::BASE_OTS)?;
    let pairs = keys.expose().iter().enumerate().map(|(i, key)| {
        let other = !key;
        if delta.expose() >> i & 1 == 0 { [other, *key] } else { [*key, other] }
    });
    let pairs = Secret::new(pairs.collect());
    let (receiver, message) = SoftSpokenReceiver::new(&LABEL, FIELD, &pairs)?;
    let sender = SoftSpokenSender::new(&LABEL, FIELD, delta, &keys, &message)?;
    Ok((receiver, message, sender))
}

fn opener() -> Result<(OpenerAwaitsBatch, Vec<u8>), MpcError> {
    let (opener, offer) = OpenerAwaitsAnswer::start(&setup(), &mut rng(1));
    let (_, answer) = AnswererAwaitsBatch::start(&setup(), &offer, &mut rng(2))?;
    opener.answer(&answer, &mut rng(3))
}

fn answerer() -> Result<AnswererAwaitsBatch, MpcError> {
    let (_, offer) = OpenerAwaitsAnswer::start(&setup(), &mut rng(1));
    Ok(AnswererAwaitsBatch::start(&setup(), &offer, &mut rng(2))?.0)
}

/// The sender's point of the base OTs.
pub fn base_ot_offer(bytes: &[u8]) -> bool {
    base_ot::answer(&LABEL, &Secret::new(0x5a), bytes, &mut rng(2)).is_ok()
}

/// The receiver's points of the base OTs.
pub fn base_ot_answer(bytes: &[u8]) -> bool {
    BaseOtSender::start(&LABEL, &mut rng(1)).0.finish(bytes).is_ok()
}

/// The trees of the extension.
pub fn extension_trees(bytes: &[u8]) -> bool {
    let Ok((delta, keys, _)) = dealt(base_ot::BASE_OTS) else { return false };
    SoftSpokenSender::new(&LABEL, FIELD, delta, &keys, bytes).is_ok()
}

/// A batch of the extension.
pub fn extension_batch(bytes: &[u8]) -> bool {
    extension_ends().and_then(|(_, _, sender)| sender.batch(BATCH, bytes)).is_ok()
}

fn silent_sender() -> Result<(SenderAwaitsCheck, Vec<u8>), MpcError> {
    let (delta, keys, _) = dealt(SET.base_cots())?;
    Ok(SenderAwaitsCheck::start(&LABEL, 0, &delta, Base::new(SET, &keys)?, &mut rng(4)))
}

fn silent_receiver(message: &[u8]) -> Result<(ReceiverAwaitsDigest, Vec<u8>), MpcError> {
    let (_, _, tags) = dealt(SET.base_cots())?;
    ReceiverAwaitsDigest::start(&LABEL, 0, Base::new(SET, &tags)?, message, &mut rng(5))
}

/// The trees of a silent round. The step accepts any, the check comes later.
pub fn silent_trees(bytes: &[u8]) -> bool {
    silent_receiver(bytes).is_ok()
}

/// The receiver's part of the check of a silent round.
pub fn silent_check(bytes: &[u8]) -> bool {
    silent_sender().and_then(|(sender, _)| sender.finish(bytes)).is_ok()
}

/// The sender's part of the check of a silent round.
pub fn silent_digest(bytes: &[u8]) -> bool {
    let receiver = silent_sender().and_then(|(_, message)| silent_receiver(&message));
    receiver.and_then(|(receiver, _)| receiver.finish(bytes)).is_ok()
}

/// The third message of the set-up.
pub fn setup_third(bytes: &[u8]) -> bool {
    answerer().and_then(|a| a.finish(bytes)).is_ok()
}

/// The fourth message of the set-up.
pub fn setup_fourth(bytes: &[u8]) -> bool {
    opener().and_then(|(o, _)| o.finish(bytes)).is_ok()
}

const PUT_AWAY: PutAway =
    PutAway { party: Party::Client, session: LABEL.session, number: 3, cots: [BATCH as u64, 60] };

/// COTs that were put away, as a file has them.
pub fn put_away(bytes: &[u8]) -> bool {
    PUT_AWAY.read(bytes).is_ok()
}

/// A harness function, its name, and a message it accepts.
pub type Harness = (&'static str, fn(&[u8]) -> bool, Vec<u8>);

/// All of them.
///
/// # Errors
/// None, unless the crate is broken.
pub fn valid() -> Result<Vec<Harness>, MpcError> {
    let (base, offer) = BaseOtSender::start(&LABEL, &mut rng(1));
    let (answer, _) = base_ot::answer(&LABEL, &Secret::new(0x5a), &offer, &mut rng(2))?;
    drop(base);
    let (mut extension, trees, _) = extension_ends()?;
    let (batch, _) = extension.batch(BATCH)?;
    let (sender, silent) = silent_sender()?;
    let (_, check) = silent_receiver(&silent)?;
    let (_, digest) = sender.finish(&check)?;
    let (_, third) = opener()?;
    let (_, fourth) = answerer()?.finish(&third)?;
    let (mut sender, _) = ideal::cots(&LABEL, BATCH, &mut rng(6));
    let (_, mut receiver) = ideal::cots(&LABEL, 60, &mut rng(7));
    let kept = PUT_AWAY.write(&mut sender, &mut receiver)?.expose().clone();
    Ok(vec![
        ("mpc_base_ot_offer", base_ot_offer, offer),
        ("mpc_base_ot_answer", base_ot_answer, answer),
        ("mpc_extension_trees", extension_trees, trees),
        ("mpc_extension_batch", extension_batch, batch),
        ("mpc_silent_trees", silent_trees, silent),
        ("mpc_silent_check", silent_check, check),
        ("mpc_silent_digest", silent_digest, digest),
        ("mpc_setup_third", setup_third, third),
        ("mpc_setup_fourth", setup_fourth, fourth),
        ("mpc_put_away", put_away, kept),
    ])
}
