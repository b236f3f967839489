//! Packs: the correlated OTs of one image, made in one session and used in another.
//!
//! A client that has packs says which with the first message of the set-up; the server says which of these it has too. Those
//! are used, in this order, by the first images of the session; a pack that only one side has is dropped there. Until both
//! have spoken nothing depends on what is in a pack, and a side takes a pack out of its store, for good, before the first
//! message of the image it is for: whichever side is set back to an earlier state, the other no longer has the pack.
//!
//! ```text
//! predicting   client → server   claim ‖ base OT offer
//!              server → client   which are used ‖ [base OT answer] ‖ nonce     the answer if some image has none
//!              client → server   [trees, columns] ‖ public key
//! making       client → server   claim ‖ base OT offer                         everything the client has
//!              server → client   packs there is room for ‖ base OT answer
//!              client → server   trees, columns
//!              server → client   trees, columns
//!              …                 silent rounds of the smaller sets; a refill for every pack
//!              server → client   kept
//! ```
#![deny(clippy::indexing_slicing)]

use super::link::{KIND_SETUP, mpc_error};
use super::plan::{Derived, SYSTEM};
use super::stock::Demand;
use oblivia_base::Digest;
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};
use oblivia_mpc::put_away::PutAway;
use oblivia_mpc::{CotPads, Party};
use oblivia_protocol::{Channel, Context, Error, Expect, OpenPacks, PackId, PackScope, Plan, Role};
use std::collections::{BTreeMap, BTreeSet};

/// Most packs one session uses.
pub(super) const MAX_PACKS: usize = 256;
/// Most packs a claim names.
pub(super) const MAX_NAMED: usize = 1 << 16;
/// Most ranges of numbers a claim names.
const MAX_RANGES: usize = 16;
/// Bytes of a claim: a byte that says whether it names everything, and per range session, first number and count.
pub(super) const CLAIM_BYTES: usize = 1 + MAX_RANGES * RANGE_BYTES;
const RANGE_BYTES: usize = 32 + 4 + 4;
/// Bytes that say which packs of a claim are used: a byte that says whether the server could look, and a bit per pack.
pub(super) const USED_BYTES: usize = 1 + MAX_PACKS / 8;
/// Bytes that say for how many packs there is room.
pub(super) const ROOM_BYTES: usize = 4;
/// Bytes of the message that says that the packs are kept.
pub(super) const KEPT_BYTES: usize = 1;

/// Whose packs, of which plan; `None` if the peer is not authenticated.
pub(super) fn scope(cx: &Context<'_>, plan: &Plan, own: Party) -> Option<PackScope> {
    let peer = if own == Party::Client { Role::Server } else { Role::Client };
    let ends = cx.channel.identities(peer)?;
    let (client, server) = if own == Party::Client { (ends.own, ends.peer) } else { (ends.peer, ends.own) };
    Some(PackScope { system: SYSTEM, client, server, plan: plan.digest() })
}

/// A pack of one party as it is kept; `demand` is what the client sends and what the server sends.
pub(super) fn put_away(party: Party, id: &PackId, demand: Demand) -> PutAway {
    let [client, server] = demand;
    let cots = if party == Party::Client { [client, server] } else { [server, client] };
    PutAway { party, session: id.run, number: id.number, cots }
}

/// Bytes of a pack at either side.
pub(super) fn pack_bytes(demand: Demand) -> u64 {
    put_away(Party::Client, &PackId { run: Digest([0; 32]), number: 0 }, demand).bytes()
}

/// Packs by name: consecutive ones of a run are a range.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Claim {
    /// Whether these are all.
    all: bool,
    ranges: Vec<Range>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    run: Digest,
    first: u32,
    count: u32,
}

impl Claim {
    /// Of the first packs of `ids`, at most `most`.
    pub(super) fn of(ids: &[PackId], most: usize) -> Self {
        let mut ranges: Vec<Range> = Vec::new();
        for (i, id) in ids.iter().enumerate() {
            let full = ranges.len() == MAX_RANGES;
            let last = ranges.last_mut();
            let next = last.filter(|r| r.run == id.run && r.first.checked_add(r.count) == Some(id.number));
            match next {
                _ if i == most => return Self { all: false, ranges },
                Some(last) => last.count += 1,
                None if full => return Self { all: false, ranges },
                None => ranges.push(Range { run: id.run, first: id.number, count: 1 }),
            }
        }
        Self { all: true, ranges }
    }

    /// What is claimed, in order.
    pub(super) fn ids(&self) -> Vec<PackId> {
        let of = |r: &Range| {
            let run = r.run;
            (r.first..r.first.saturating_add(r.count)).map(move |number| PackId { run, number })
        };
        self.ranges.iter().flat_map(of).collect()
    }
}

impl Encode for Claim {
    fn encode(&self, w: &mut Writer) {
        w.bool(self.all);
        for range in &self.ranges {
            range.run.encode(w);
            w.u32(range.first);
            w.u32(range.count);
        }
        w.raw(&vec![0; MAX_RANGES.saturating_sub(self.ranges.len()) * RANGE_BYTES]);
    }
}

impl Decode for Claim {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let all = r.bool("whether all packs are named")?;
        let mut ranges = Vec::new();
        let mut seen = BTreeMap::<Digest, Vec<(u32, u32)>>::new();
        let (mut ended, mut packs) = (false, 0u64);
        for _ in 0..MAX_RANGES {
            let run = Digest::decode(r)?;
            let (first, count) = (r.u32("first pack")?, r.u32("number of packs")?);
            if count == 0 {
                ended = true;
                r.require(run.0 == [0; 32] && first == 0, "no packs")?;
                continue;
            }
            r.require(!ended, "packs behind the last")?;
            let end = first.checked_add(count).ok_or_else(|| r.error("number of packs", Fault::Invalid))?;
            let of_run = seen.entry(run).or_default();
            r.require(of_run.iter().all(|(a, b)| end <= *a || first >= *b), "a pack named twice")?;
            of_run.push((first, end));
            packs += u64::from(count);
            ranges.push(Range { run, first, count });
        }
        r.require(packs <= MAX_NAMED as u64, "number of packs")?;
        Ok(Self { all, ranges })
    }
}

/// The packs of a session, the next one first.
pub(super) struct Packs {
    party: Party,
    demand: Demand,
    open: Option<Box<dyn OpenPacks>>,
    ids: std::collections::VecDeque<PackId>,
}

impl Packs {
    /// None.
    pub(super) fn none(party: Party) -> Self {
        Self { party, demand: [0; 2], open: None, ids: Default::default() }
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.ids.len()
    }

    /// Takes the next one; `None` if none is left.
    pub(super) fn take(&mut self) -> Result<Option<CotPads>, Error> {
        let (Some(open), Some(id)) = (&mut self.open, self.ids.pop_front()) else { return Ok(None) };
        let bytes = open.take(&id)?;
        if self.ids.is_empty() {
            // For other sessions.
            self.open = None;
        }
        put_away(self.party, &id, self.demand).read(bytes.expose()).map(Some).map_err(mpc_error)
    }
}

/// A client's claim and what it is about.
pub(super) struct Claimed {
    claim: Claim,
    packs: Packs,
    /// Most that are used.
    most: usize,
}

impl Claimed {
    /// What this client has for the plan, of which a session of `samples` images uses so many; `None` if it has nothing and says
    /// nothing.
    pub(super) fn look(cx: &Context<'_>, d: &Derived, plan: &Plan, samples: usize) -> Option<Self> {
        let mut open = cx.memory.packs.as_ref()?.open(&scope(cx, plan, Party::Client)?).ok()??;
        let most = samples.min(MAX_PACKS);
        let mut ids = Vec::new();
        for id in open.ids() {
            // The others are named for a server that lacks some of the first.
            if ids.len() >= most || open.check(&id) {
                ids.push(id);
            }
        }
        let claim = Claim::of(&ids, MAX_PACKS);
        let claimed = claim.ids();
        if claimed.is_empty() {
            return None;
        }
        let packs = Packs { party: Party::Client, demand: d.demand(), open: Some(open), ids: claimed.into() };
        Some(Self { claim, packs, most })
    }

    /// The claim as it is sent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.claim.to_bytes()
    }

    /// Reads which of the packs are used. The server has none of the others, up to the last one that it looked for; they are
    /// dropped.
    pub(super) fn settle(self, r: &mut Reader<'_>) -> Result<Packs, Error> {
        let looked = r.bool("whether packs were looked for").map_err(Error::invalid("Setup"))?;
        let used: [u8; USED_BYTES - 1] = r.array("packs used").map_err(Error::invalid("Setup"))?;
        let Self { mut packs, most, .. } = self;
        let bit = |i: usize| used.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let count = (0..MAX_PACKS).filter(|&i| bit(i)).count();
        let first_unclaimed = if looked { packs.ids.len() } else { 0 };
        if count > most || (first_unclaimed..MAX_PACKS).any(bit) {
            let why = "it uses packs that were not claimed, or more than there are images".to_owned();
            return Err(Error::InvalidMessage { message: "Setup", why });
        }
        let claimed = std::mem::take(&mut packs.ids);
        for (i, id) in claimed.into_iter().enumerate() {
            let looked_for = looked && packs.ids.len() < most;
            match &mut packs.open {
                _ if bit(i) => packs.ids.push_back(id),
                Some(open) if looked_for => open.forget(&id),
                _ => {}
            }
        }
        if packs.ids.is_empty() {
            packs.open = None;
        }
        Ok(packs)
    }
}

/// The server's side of a claim: what is used, and the bytes that say so.
pub(super) fn answer(
    cx: &Context<'_>,
    d: &Derived,
    plan: &Plan,
    claim: &Claim,
    samples: usize,
) -> (Packs, [u8; USED_BYTES]) {
    let mut used = [0; USED_BYTES];
    let mut packs = Packs::none(Party::Server);
    let store = cx.memory.packs.as_ref().zip(scope(cx, plan, Party::Server));
    // A server that keeps no packs now may have kept them before: it has not looked.
    let open = store.map(|(store, scope)| store.open(&scope));
    let [looked, bits @ ..] = &mut used;
    *looked = u8::from(open.as_ref().is_some_and(Result::is_ok));
    let Some(Ok(Some(mut open))) = open else { return (packs, used) };
    let have: BTreeSet<PackId> = open.ids().into_iter().collect();
    // What the client has used or lost: those before the first of a run.
    for range in &claim.ranges {
        let before = have.iter().filter(|id| id.run == range.run && id.number < range.first);
        let named = |id: &PackId| claim.ranges.iter().any(|r| r.names(id));
        before.filter(|id| !named(id)).for_each(|id| open.forget(id));
    }
    let most = samples.min(MAX_PACKS);
    for (i, id) in claim.ids().into_iter().enumerate().take(MAX_PACKS) {
        if packs.ids.len() < most && have.contains(&id) && open.check(&id) {
            packs.ids.push_back(id);
            if let Some(byte) = bits.get_mut(i / 8) {
                *byte |= 1 << (i % 8);
            }
        }
    }
    packs.demand = d.demand();
    packs.open = (!packs.ids.is_empty()).then_some(open);
    (packs, used)
}

impl Range {
    fn names(&self, id: &PackId) -> bool {
        id.run == self.run && id.number >= self.first && id.number - self.first < self.count
    }
}

/// Drops the packs of a scope that its client, which named all it has, does not have.
pub(super) fn drop_unnamed(open: &mut dyn OpenPacks, claim: &Claim) {
    if claim.all {
        let unnamed = open.ids().into_iter().filter(|id| !claim.ranges.iter().any(|r| r.names(id)));
        unnamed.for_each(|id| open.forget(&id));
    }
}

/// The first message of the set-up at the server: the offer of base OTs, before it a claim or nothing.
pub(super) async fn first_message(
    channel: &mut Channel,
    offer: usize,
) -> Result<(Option<Claim>, Vec<u8>), Error> {
    let expect = Expect { min_bytes: offer, ..Expect::at_most(KIND_SETUP, CLAIM_BYTES + offer) };
    let message = channel.recv(Role::Client, expect).await?;
    if message.len() == offer {
        return Ok((None, message));
    }
    let mut r = Reader::new(&message);
    let invalid = Error::invalid("Setup");
    let claim = Claim::decode(&mut r).map_err(&invalid)?;
    let offered = r.raw(offer, "base OT offer").map_err(&invalid)?.to_vec();
    r.finish().map_err(invalid)?;
    Ok((Some(claim), offered))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;
    use crate::hybrid::fuzz::claim as read;
    use proptest::prelude::*;

    fn id(run: u8, number: u32) -> PackId {
        PackId { run: Digest([run; 32]), number }
    }

    #[test]
    fn a_claim_names_packs_in_order_in_one_encoding_up_to_what_fits() {
        let ids = [id(1, 4), id(1, 5), id(1, 7), id(2, 0), id(1, 9), id(0, u32::MAX - 1)];
        let claim = Claim::of(&ids, 99);
        assert!(claim.all && claim.ids() == ids);
        assert_eq!(claim.to_bytes().len(), CLAIM_BYTES);
        assert_eq!(Claim::from_bytes(&claim.to_bytes()), Ok(claim));
        let some = Claim::of(&ids, 2);
        assert!(!some.all && some.ids() == ids[..2]);
        let many: Vec<PackId> = (0..40).map(|i| id(1, 2 * i)).collect();
        let claim = Claim::of(&many, 99);
        assert!(!claim.all && claim.ids() == many[..MAX_RANGES]);
        let none = Claim::of(&[], 99);
        assert!(
            none.all && none.ids().is_empty() && read(&none.to_bytes()) && read(&Claim::default().to_bytes())
        );
    }

    #[test]
    fn claims_that_name_a_pack_twice_or_too_many_are_refused() {
        let claim = |ranges: &[(u8, u32, u32)]| {
            let of = |&(run, first, count): &(u8, u32, u32)| Range { run: Digest([run; 32]), first, count };
            read(&Claim { all: true, ranges: ranges.iter().map(of).collect() }.to_bytes())
        };
        assert!(claim(&[(1, 0, 3), (1, 3, 2), (2, 0, 9)]) && claim(&[(1, 5, 2), (1, 0, 5)]));
        assert!(!claim(&[(1, 0, 3), (1, 2, 2)]) && !claim(&[(1, 2, 2), (1, 0, 3)]), "named twice");
        assert!(!claim(&[(1, u32::MAX, 1)]) && claim(&[(1, u32::MAX - 1, 1)]));
        assert!(!claim(&[(1, 0, MAX_NAMED as u32 + 1)]) && claim(&[(1, 0, MAX_NAMED as u32)]));
        assert!(!claim(&[(1, 0, 0), (1, 0, 1)]), "a gap");
    }

    proptest! {
        #[test]
        fn damaged_claims_are_refused_or_mean_exactly_their_bytes(
            at in 0usize..CLAIM_BYTES, with: u8, run in 0u8..3, counts in prop::collection::vec(0u32..3, 0..5),
        ) {
            let mut ids: Vec<PackId> = Vec::new();
            for (i, count) in counts.into_iter().enumerate() {
                ids.extend((0..count).map(|n| id(run + i as u8, 10 * i as u32 + n)));
            }
            let mut bytes = Claim::of(&ids, 99).to_bytes();
            prop_assert!(read(&bytes));
            bytes[at] = with;
            read(&bytes);
            bytes.truncate(at);
            prop_assert!(!read(&bytes));
        }
    }
}
