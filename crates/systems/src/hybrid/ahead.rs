//! Sessions that make packs and predict nothing, see [`super::packs`].
//!
//! A side that finds that a check fails drops what is left of the session's packs, and so does its peer, which is told that the
//! session failed: whoever guesses at what a check hides is to gain no more by packs than in one session with as many images. Packs
//! outlive a session that ended by what says nothing of its messages: the link, a disk or memory that is full, a limit. Whatever else
//! ended it, they are dropped.

use super::link::{KIND_SETUP, mpc_error};
use super::packs::{
    self, Claim, KEPT_BYTES, MAX_NAMED, ROOM_BYTES, drop_unnamed, pack_bytes, put_away, scope,
};
use super::plan::Derived;
use super::stock::{Place, Stock, setup};
use oblivia_base::codec::{Encode, Reader};
use oblivia_mpc::Party;
use oblivia_mpc::setup::{AnswererAwaitsBatch, OpenerAwaitsAnswer};
use oblivia_protocol::{
    AheadUse, Context, Error, Event, Expect, LinkError, NewPacks, Notice, PackId, PackScope, PackStore,
    Phase, Plan, Role,
};
use std::sync::Arc;

/// That all packs are kept.
const KEPT: u8 = 1;

/// Where a party keeps packs of the plan.
fn store(cx: &Context<'_>, plan: &Plan, own: Party) -> Option<(Arc<dyn PackStore>, PackScope)> {
    cx.memory.packs.clone().zip(scope(cx, plan, own))
}

/// The client's side: `count` packs.
pub(super) async fn client(d: &Derived, plan: &Plan, count: u32, cx: &mut Context<'_>) -> Result<(), Error> {
    let place = Place { pool: cx.pool.clone(), turns: cx.channel.turns() };
    let Some((store, scope)) = store(cx, plan, Party::Client) else {
        let why =
            "what is made ahead of images is kept in a state directory; this client has none".to_owned();
        return Err(Error::Refused { why });
    };
    let claim = match store.open(&scope) {
        Ok(open) => Claim::of(&open.map_or_else(Vec::new, |open| open.ids()), MAX_NAMED),
        Err(_) => Claim::default(),
    };
    let room = store.reserve(&scope, count, pack_bytes(d.demand()));
    let room = room.map_err(|room| refused("this client", room, count, d))?;

    cx.channel.enter_setup();
    cx.observer.on(Event::Setup("oblivious transfers"));
    let setup = setup(cx.session, d.choices.supply);
    let [_, answer, _, batch] = setup.message_bytes();
    let (opener, offer) = OpenerAwaitsAnswer::start(&setup, &mut cx.rng);
    let mut message = claim.to_bytes();
    message.extend(offer);
    cx.channel.send(Role::Server, KIND_SETUP, message).await?;
    let expect = Expect::exactly(KIND_SETUP, ROOM_BYTES + answer);
    let message = cx.channel.recv(Role::Server, expect).await?;
    let mut r = Reader::new(&message);
    let theirs = r.u32("room for packs").map_err(Error::invalid("Setup"))?;
    if theirs < count {
        return Err(refused("the server", theirs, count, d));
    }
    let answer = r.raw(answer, "base OT answer").map_err(Error::invalid("Setup"))?;
    let (opener, message) = place.run(|| opener.answer(answer, &mut cx.rng)).map_err(mpc_error)?;
    cx.channel.send(Role::Server, KIND_SETUP, message).await?;
    let message = cx.channel.recv(Role::Server, Expect::exactly(KIND_SETUP, batch)).await?;
    let ends = place.run(|| opener.finish(&message)).map_err(mpc_error)?;
    let (supply, channel) = (d.choices.supply, &mut cx.channel);
    let stock = Stock::begin(Party::Client, supply, ends, &place, channel, &mut cx.rng).await?;

    make(Party::Client, d, count, stock, room, &place, cx).await
}

/// The server's side.
pub(super) async fn server(d: &Derived, plan: &Plan, count: u32, cx: &mut Context<'_>) -> Result<(), Error> {
    let place = Place { pool: cx.pool.clone(), turns: cx.channel.turns() };
    cx.channel.enter_setup();
    cx.observer.on(Event::Setup("oblivious transfers"));
    let setup = setup(cx.session, d.choices.supply);
    let [offer, answer_bytes, trees, _] = setup.message_bytes();
    let (claim, offer) = packs::first_message(&mut cx.channel, offer).await?;
    let claim = claim.ok_or_else(|| Error::InvalidMessage {
        message: "Setup",
        why: "a session that makes packs says first which there are".into(),
    })?;
    let room = match store(cx, plan, Party::Server) {
        None => Err(0),
        Some((store, scope)) => store.reserve(&scope, count, pack_bytes(d.demand())).or_else(|_| {
            if let Ok(Some(mut open)) = store.open(&scope) {
                drop_unnamed(&mut *open, &claim);
            }
            store.reserve(&scope, count, pack_bytes(d.demand()))
        }),
    };
    let room = match room {
        Ok(room) => room,
        Err(room) => {
            let mut message = room.min(count.saturating_sub(1)).to_le_bytes().to_vec();
            message.resize(ROOM_BYTES + answer_bytes, 0);
            cx.channel.send(Role::Client, KIND_SETUP, message).await?;
            return Err(refused("this server", room, count, d));
        }
    };
    let start = || AnswererAwaitsBatch::start(&setup, &offer, &mut cx.rng);
    let (answerer, answer) = place.run(start).map_err(mpc_error)?;
    let mut message = count.to_le_bytes().to_vec();
    message.extend(answer);
    cx.channel.send(Role::Client, KIND_SETUP, message).await?;
    let message = cx.channel.recv(Role::Client, Expect::exactly(KIND_SETUP, trees)).await?;
    let (ends, message) = place.run(|| answerer.finish(&message)).map_err(mpc_error)?;
    cx.channel.send(Role::Client, KIND_SETUP, message).await?;
    let (supply, channel) = (d.choices.supply, &mut cx.channel);
    let stock = Stock::begin(Party::Server, supply, ends, &place, channel, &mut cx.rng).await?;

    make(Party::Server, d, count, stock, room, &place, cx).await
}

/// Whether an error says nothing against what the peer sent before it.
fn is_harmless(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Resource { .. } => true,
        Error::Link(link) => match link {
            LinkError::Aborted(notice) => match notice {
                Notice::Unable | Notice::Busy | Notice::Refused | Notice::ShuttingDown => true,
                Notice::Failed | Notice::Incompatible | Notice::UnknownModel | Notice::Budget => false,
            },
            LinkError::Closed { .. }
            | LinkError::Io(_)
            | LinkError::Tls(_)
            | LinkError::TimedOut { .. }
            | LinkError::TooSlow { .. }
            | LinkError::Overdue { .. }
            | LinkError::Outlived { .. } => true,
            _ => false,
        },
        _ => false,
    }
}

/// Makes the packs, and forgets them all if they may be worth less than they seem.
async fn make(
    party: Party,
    d: &Derived,
    count: u32,
    stock: Stock,
    mut room: Box<dyn NewPacks>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Result<(), Error> {
    let made = fill(party, d, count, stock, &mut *room, place, cx).await;
    if made.as_ref().is_err_and(|error| !is_harmless(error)) {
        room.forget();
    }
    made
}

/// A refill for every pack, which is kept before the next one is made; then the server's word that it has them all.
async fn fill(
    party: Party,
    d: &Derived,
    count: u32,
    mut stock: Stock,
    room: &mut dyn NewPacks,
    place: &Place,
    cx: &mut Context<'_>,
) -> Result<(), Error> {
    cx.observer.on(Event::Ready);
    for number in 0..count {
        let first = number as usize * d.images();
        cx.observer.on(Event::Ahead(first));
        cx.channel.enter(Phase::Offline);
        stock.refill(d.demand(), place, &mut cx.channel, &mut cx.rng).await?;
        let id = PackId { run: cx.session, number };
        let away = put_away(party, &id, d.demand());
        let pack = place.run(|| stock.put_away(&away)).map_err(mpc_error)?;
        room.put(&id, &pack)?;
        cx.observer.on(Event::Kept(first));
    }
    cx.channel.enter(Phase::Setup);
    cx.ahead = AheadUse::Made { groups: count.into() };
    if party == Party::Server {
        return cx.channel.send(Role::Client, KIND_SETUP, vec![KEPT]).await;
    }
    let message = cx.channel.recv(Role::Server, Expect::exactly(KIND_SETUP, KEPT_BYTES)).await?;
    match message.as_slice() {
        [KEPT] => Ok(()),
        _ => Err(Error::InvalidMessage { message: "Kept", why: "it says nothing known".into() }),
    }
}

fn refused(who: &str, room: u32, count: u32, d: &Derived) -> Error {
    let each = match d.images() {
        1 => String::new(),
        images => format!(", each for {images} images"),
    };
    Error::Refused {
        why: match room {
            0 => format!(
                "{who} has no room for packs of this client and model: `oblivia serve --packs MIB` says how much it keeps, \
                 those there are go with predictions"
            ),
            _ => format!(
                "{who} has room for {room} packs of this client and model, {count} were to be made{each}"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oblivia_protocol::Kind;

    #[test]
    fn packs_go_by_whatever_is_not_known_to_leave_them_whole() {
        let notices = [
            (Notice::Unable, true),
            (Notice::Busy, true),
            (Notice::Refused, true),
            (Notice::ShuttingDown, true),
            (Notice::Failed, false),
            (Notice::Incompatible, false),
        ];
        for (notice, harmless) in notices {
            assert_eq!(is_harmless(&Error::Link(LinkError::Aborted(notice))), harmless, "{notice}");
        }
        let why = || "x".to_owned();
        let whole = [
            Error::Io(why()),
            Error::Resource { what: "x", why: why() },
            Error::Link(LinkError::Closed { during: "x" }),
            Error::Link(LinkError::Io(why())),
            Error::Link(LinkError::Outlived { millis: 1 }),
        ];
        assert!(whole.iter().all(is_harmless));
        let tainted = [
            Error::InvalidMessage { message: "x", why: why() },
            Error::Misuse(why()),
            Error::NumericBound { what: why(), why: why() },
            // What the peer says is nothing that this build knows.
            Error::Link(LinkError::BadHeader { why: "x" }),
            Error::Link(LinkError::Oversize { kind: Kind::Abort, found: 2, max: 1 }),
        ];
        assert!(!tainted.iter().any(is_harmless));
    }
}
