//! COTs of both directions put away by one session and taken up by a later one.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | party: 1 the client, 2 the server |
//! | 32 | digest of the session that made them |
//! | 4 | number in that session |
//! | 8 + 8 | COTs the party sends, COTs it receives |
//! | 16 | Δ of those it sends, least significant bit 1 |
//! | 16 each | keys, least significant bit 0, then tags |
//!
//! What is taken up goes on under a [`Label`] of its own: the session that made it and, as epoch, its number plus one; indices
//! begin at 0. The session itself is epoch 0, so no tweak meets another one of the same Δ. That nothing is taken up twice is
//! the business of whoever keeps the bytes.
#![deny(clippy::indexing_slicing)]

use crate::bits::require;
use crate::{CotPads, CotReceiver, CotSender, Direction, Label, MpcError, Party};
use oblivia_base::codec::Reader;
use oblivia_base::{Digest, Secret};

const VERSION: u8 = 1;
/// Bytes before the keys.
const HEAD_BYTES: usize = 2 + 32 + 4 + 16 + 16;

/// Whose COTs they are, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutAway {
    /// The party.
    pub party: Party,
    /// Digest of the session that makes them.
    pub session: Digest,
    /// Number in that session, below 2^32 − 1.
    pub number: u32,
    /// COTs that the party sends, and those it receives; at most 2^34 each.
    pub cots: [u64; 2],
}

impl PutAway {
    /// Bytes they take.
    pub fn bytes(&self) -> u64 {
        let [sent, received] = self.cots;
        16u64.saturating_mul(sent.saturating_add(received)).saturating_add(HEAD_BYTES as u64)
    }

    fn check(&self) -> Result<[usize; 2], MpcError> {
        require(self.number < u32::MAX, "number of COTs put away", self.number.into(), "below 2^32 - 1")?;
        let [sent, received] = self.cots;
        require(sent.max(received) <= 1 << 34, "COTs to put away", sent.max(received), "at most 2^34")?;
        Ok([sent as usize, received as usize])
    }

    /// Label of the direction in which the party is the sender or not.
    fn label(&self, sends: bool) -> Label {
        let of_client =
            if self.party == Party::Client { Direction::ClientSends } else { Direction::ServerSends };
        let direction = if sends { of_client } else { of_client.other() };
        Label { session: self.session, epoch: self.number + 1, direction }
    }

    fn party_byte(&self) -> u8 {
        match self.party {
            Party::Client => 1,
            Party::Server => 2,
        }
    }

    /// Takes COTs out of the stocks and writes them down.
    ///
    /// # Errors
    /// [`MpcError::Exhausted`]; [`MpcError::Argument`] for a number or for COTs outside the ranges.
    pub fn write(
        &self,
        sender: &mut CotSender,
        receiver: &mut CotReceiver,
    ) -> Result<Secret<Vec<u8>>, MpcError> {
        let [sent, received] = self.check()?;
        let mut blocks = Secret::new(vec![0u128; sent]);
        sender.take(blocks.expose_mut())?;
        // Room for everything: a vector that grows leaves a copy behind.
        let mut out = Secret::new(Vec::with_capacity(self.bytes() as usize));
        let to = out.expose_mut();
        to.extend([VERSION, self.party_byte()]);
        to.extend(self.session.0);
        to.extend(self.number.to_le_bytes());
        self.cots.iter().for_each(|n| to.extend(n.to_le_bytes()));
        to.extend(sender.delta().expose().to_le_bytes());
        blocks.expose().iter().for_each(|key| to.extend(key.to_le_bytes()));
        let mut blocks = Secret::new(vec![0u128; received]);
        receiver.take(blocks.expose_mut())?;
        blocks.expose().iter().for_each(|tag| to.extend(tag.to_le_bytes()));
        Ok(out)
    }

    /// Takes up what was written down: exactly these COTs of this party.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`], [`MpcError::Decode`]; [`MpcError::Argument`] as for [`PutAway::write`].
    pub fn read(&self, bytes: &[u8]) -> Result<CotPads, MpcError> {
        let [sent, received] = self.check()?;
        MpcError::check_bytes("COTs that were put away", bytes, self.bytes() as usize)?;
        let mut r = Reader::new(bytes);
        let version = r.u8("version")?;
        r.require(version == VERSION, "version")?;
        let party = r.u8("party")?;
        r.require(party == self.party_byte(), "party")?;
        let session = r.array("session")?;
        r.require(session == self.session.0, "session")?;
        let number = r.u32("number")?;
        r.require(number == self.number, "number")?;
        for n in self.cots {
            let found = r.u64("number of COTs")?;
            r.require(found == n, "number of COTs")?;
        }
        let delta = Secret::new(u128::from_le_bytes(r.array("delta")?));
        r.require(delta.expose() & 1 == 1, "delta")?;
        let keys = blocks(r.raw(16 * sent, "keys")?);
        let odd = keys.expose().iter().fold(0, |odd, key| odd | key & 1);
        r.require(odd == 0, "keys")?;
        let tags = blocks(r.raw(16 * received, "tags")?);
        r.finish()?;
        let mut sender = CotSender::new(&self.label(true), delta);
        sender.add_held(keys);
        let mut receiver = CotReceiver::new(&self.label(false));
        receiver.add_held(tags);
        Ok(CotPads::new(sender, receiver))
    }
}

fn blocks(bytes: &[u8]) -> Secret<Vec<u128>> {
    Secret::new(bytes.as_chunks::<16>().0.iter().map(|b| u128::from_le_bytes(*b)).collect())
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::{PadSource, ideal};
    use oblivia_base::Prg;
    use proptest::prelude::*;

    const SESSION: Digest = Digest([9; 32]);
    /// Sent by the client, sent by the server.
    const COTS: [u64; 2] = [130, 70];

    fn of(party: Party, number: u32) -> PutAway {
        let [a, b] = COTS;
        let cots = if party == Party::Client { [a, b] } else { [b, a] };
        PutAway { party, session: SESSION, number, cots }
    }

    /// What both parties put away, `packs` times.
    fn written(packs: u32) -> Vec<[Secret<Vec<u8>>; 2]> {
        let mut rng = Prg::new(&[3; 32], "put away tests", &[]);
        let [(mut a, mut b), (mut c, mut d)] =
            [Direction::ClientSends, Direction::ServerSends].map(|direction| {
                let label = Label { session: SESSION, epoch: 0, direction };
                let n = COTS.into_iter().max().unwrap() as usize * packs as usize;
                ideal::cots(&label, n, &mut rng)
            });
        let both = |n| {
            let client = of(Party::Client, n).write(&mut a, &mut d).unwrap();
            [client, of(Party::Server, n).write(&mut c, &mut b).unwrap()]
        };
        (0..packs).map(both).collect()
    }

    fn pads(mut pads: CotPads, send: bool) -> Vec<u64> {
        match send {
            true => pads.send_values(60).unwrap().iter().flat_map(|p| p.iter().copied()).collect(),
            false => {
                let (choices, chosen) = pads.choose_values(60).unwrap();
                chosen.iter().enumerate().flat_map(|(i, v)| [u64::from(choices.get(i)), *v]).collect()
            }
        }
    }

    #[test]
    fn what_was_put_away_is_taken_up_as_ots_in_both_directions_and_no_two_have_pads_in_common() {
        let mut seen = std::collections::BTreeSet::new();
        for (number, both) in written(3).into_iter().enumerate() {
            let [client, server] = &both;
            for client_sends in [true, false] {
                let read =
                    |party, bytes: &Secret<Vec<u8>>| of(party, number as u32).read(bytes.expose()).unwrap();
                let (c, s) = (read(Party::Client, client), read(Party::Server, server));
                let [sent, chosen] = if client_sends { [c, s] } else { [s, c] };
                let (sent, chosen) = (pads(sent, true), pads(chosen, false));
                for (i, chosen) in chosen.chunks(2).enumerate() {
                    assert_eq!(sent[60 * chosen[0] as usize + i], chosen[1]);
                    assert_ne!(sent[60 * (1 - chosen[0]) as usize + i], chosen[1]);
                }
                assert!(sent.into_iter().all(|pad| seen.insert(pad)));
            }
        }
    }

    #[test]
    fn equal_cots_under_two_numbers_give_other_pads() {
        let [client, _] = written(1).remove(0);
        let mut renumbered = client.expose().clone();
        renumbered[34] = 1;
        let read = |number, bytes: &[u8]| pads(of(Party::Client, number).read(bytes).unwrap(), true);
        assert_ne!(read(0, client.expose()), read(1, &renumbered), "the number is in the label");
    }

    #[test]
    fn what_is_another_partys_sessions_or_number_or_has_wrong_bits_is_refused() {
        let [client, _] = written(1).remove(0);
        let bytes = client.expose();
        assert_eq!(bytes.len() as u64, of(Party::Client, 0).bytes());
        assert!(of(Party::Client, 0).read(bytes).is_ok());
        assert!(of(Party::Client, 1).read(bytes).is_err());
        let mut swapped = of(Party::Server, 0);
        swapped.cots.reverse();
        assert!(swapped.read(bytes).is_err());
        assert!(PutAway { session: Digest([8; 32]), ..of(Party::Client, 0) }.read(bytes).is_err());
        assert!(PutAway { number: u32::MAX, ..of(Party::Client, 0) }.read(bytes).is_err());
        assert!(PutAway { cots: [u64::MAX; 2], ..of(Party::Client, 0) }.read(bytes).is_err());
        for at in [0, 1, 5, 34, 38, 46, 54, HEAD_BYTES] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(of(Party::Client, 0).read(&bytes).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn damaged_or_random_bytes_never_panic(at: prop::sample::Index, by in 1u8.., cut in 0usize..40, random: bool) {
            let [client, _] = written(1).remove(0);
            let mut bytes = client.expose().clone();
            match random {
                true => bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i as u8).wrapping_mul(by)),
                false => { let i = at.index(bytes.len()); bytes[i] ^= by; }
            }
            bytes.truncate(bytes.len() - cut);
            prop_assert!(of(Party::Client, 0).read(&bytes).is_err() || cut == 0);
        }
    }
}
