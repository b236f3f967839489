//! Base OT: 128 random OTs from the computational Diffie–Hellman assumption on Ristretto.
//!
//! D. Masny, P. Rindal, *Endemic oblivious transfer* (2019), with one point of the sender for all OTs. Two messages:
//!
//! ```text
//! sender   → receiver   Y = y·G
//! receiver → sender     for i < 128: R_0, R_1 with R_{1-b} random and R_b = x·G − H(i, b, R_{1-b})
//! sender                K_j = y·(R_j + H(i, j, R_{1-j}))
//! receiver              K_b = x·Y
//! ```
//!
//! H hashes the [`Label`], i, the branch and the other point to a point. A key is hashed from the label, i, the branch,
//! the whole transcript of the OT and K. y is fresh for each session. A malicious party can only choose its own
//! outcome (endemic security): the receiver its key, the sender both.
#![deny(clippy::indexing_slicing)]

use crate::{Label, MpcError};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use oblivia_base::codec::{Fault, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Prg, Secret, Transcript};
use subtle::{Choice, ConditionallySelectable};

/// Base OTs of one session.
pub const BASE_OTS: usize = 128;
/// Bytes of the sender's message.
pub const OFFER_BYTES: usize = 32;
/// Bytes of the receiver's message.
pub const ANSWER_BYTES: usize = 64 * BASE_OTS;

/// What the sender of the base OTs holds at the end: both keys of each.
pub type BothKeys = Secret<Vec<[u128; 2]>>;
/// What the receiver holds at the end: the key of its choice of each.
pub type ChosenKeys = Secret<Vec<u128>>;

fn scalar(rng: &mut dyn EntropySource) -> Secret<Scalar> {
    let mut wide = Secret::new([0; 64]);
    rng.fill_bytes(wide.expose_mut());
    Secret::new(Scalar::from_bytes_mod_order_wide(wide.expose()))
}

fn point(r: &mut Reader<'_>, what: &'static str) -> Result<RistrettoPoint, MpcError> {
    let fault = r.error(what, Fault::Invalid);
    CompressedRistretto(r.array(what)?).decompress().ok_or(MpcError::Decode(fault))
}

fn of_ot(label: &Label, domain: &str, index: usize, branch: u8) -> Transcript {
    let mut t = label.transcript(domain);
    t.absorb("index", &(index as u64).to_le_bytes());
    t.absorb("branch", &[branch]);
    t
}

/// H(i, branch, other).
fn to_point(label: &Label, index: usize, branch: u8, other: &[u8; 32]) -> RistrettoPoint {
    let mut t = of_ot(label, "base ot point v1", index, branch);
    t.absorb("other", other);
    let mut wide = [0; 64];
    let stream: &mut dyn EntropySource = &mut Prg::new(&t.digest().0, "base ot point v1", &[]);
    stream.fill_bytes(&mut wide);
    RistrettoPoint::from_uniform_bytes(&wide)
}

fn key(
    label: &Label,
    index: usize,
    branch: u8,
    offer: &[u8; 32],
    answer: &[[u8; 32]; 2],
    k: &RistrettoPoint,
) -> u128 {
    let mut t = of_ot(label, "base ot key v1", index, branch);
    t.absorb("offer", offer);
    for r in answer {
        t.absorb("answer", r);
    }
    t.absorb("shared point", k.compress().as_bytes());
    let digest = Secret::new(t.digest().0);
    digest.expose().first_chunk().map_or(0, |b| u128::from_le_bytes(*b))
}

/// The sender, waiting for the receiver's points.
pub struct BaseOtSender {
    label: Label,
    y: Secret<Scalar>,
    offer: [u8; 32],
}

impl BaseOtSender {
    /// The sender and its message.
    pub fn start(label: &Label, rng: &mut dyn EntropySource) -> (Self, Vec<u8>) {
        let y = scalar(rng);
        let offer = (y.expose() * G).compress().to_bytes();
        (Self { label: *label, y, offer }, offer.to_vec())
    }

    /// Both keys of every OT.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] if the answer has not [`ANSWER_BYTES`], [`MpcError::Decode`] if one of its points is
    /// not canonical.
    pub fn finish(self, answer: &[u8]) -> Result<BothKeys, MpcError> {
        MpcError::check_bytes("base OT answer", answer, ANSWER_BYTES)?;
        let mut r = Reader::new(answer);
        let mut keys = Secret::new(Vec::with_capacity(BASE_OTS));
        for index in 0..BASE_OTS {
            let points = [point(&mut r, "base OT point")?, point(&mut r, "base OT point")?];
            let bytes = points.map(|p| p.compress().to_bytes());
            let [r0, r1] = points;
            let [b0, b1] = &bytes;
            let shared = [r0 + to_point(&self.label, index, 0, b1), r1 + to_point(&self.label, index, 1, b0)]
                .map(|p| self.y.expose() * p);
            let mut branch = 0;
            keys.expose_mut().push(shared.map(|k| {
                let key = key(&self.label, index, branch, &self.offer, &bytes, &k);
                branch += 1;
                key
            }));
        }
        r.finish()?;
        Ok(keys)
    }
}

impl std::fmt::Debug for BaseOtSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BaseOtSender(..)")
    }
}

/// The receiver's whole part: its answer to the sender's `offer`, and for each OT i the key of branch b_i, where b_i is
/// bit i of `choices`. Takes the same time for all choices.
///
/// # Errors
/// [`MpcError::MessageBytes`] if the offer has not [`OFFER_BYTES`], [`MpcError::Decode`] if it is not the canonical
/// encoding of a point other than the identity.
pub fn answer(
    label: &Label,
    choices: &Secret<u128>,
    offer: &[u8],
    rng: &mut dyn EntropySource,
) -> Result<(Vec<u8>, ChosenKeys), MpcError> {
    MpcError::check_bytes("base OT offer", offer, OFFER_BYTES)?;
    let mut r = Reader::new(offer);
    let identity = r.error("base OT offer", Fault::Invalid);
    let y = point(&mut r, "base OT offer")?;
    r.finish()?;
    if y.is_identity() {
        return Err(MpcError::Decode(identity));
    }
    let offer = y.compress().to_bytes();
    let mut w = Writer::with_capacity(ANSWER_BYTES);
    let mut keys = Secret::new(Vec::with_capacity(BASE_OTS));
    for index in 0..BASE_OTS {
        let branch = (choices.expose() >> index & 1) as u8;
        let mut wide = [0; 64];
        rng.fill_bytes(&mut wide);
        let other = RistrettoPoint::from_uniform_bytes(&wide).compress().to_bytes();
        let x = scalar(rng);
        let own = (x.expose() * G - to_point(label, index, branch, &other)).compress().to_bytes();
        let mut pair = [own, other];
        let [first, second] = &mut pair;
        for (a, b) in first.iter_mut().zip(second) {
            u8::conditional_swap(a, b, Choice::from(branch));
        }
        pair.iter().for_each(|p| w.raw(p));
        keys.expose_mut().push(key(label, index, branch, &offer, &pair, &(x.expose() * y)));
    }
    Ok((w.into_bytes(), keys))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::Direction;
    use oblivia_base::Digest;

    fn label() -> Label {
        Label { session: Digest([1; 32]), epoch: 0, direction: Direction::ClientSends }
    }

    fn rng(seed: u8) -> Prg {
        Prg::new(&[seed; 32], "base ot tests", &[])
    }

    #[test]
    fn the_receiver_has_the_key_of_its_choice_and_no_other() {
        let choices = Secret::new(0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978_u128);
        let (sender, offer) = BaseOtSender::start(&label(), &mut rng(1));
        let (reply, chosen) = answer(&label(), &choices, &offer, &mut rng(2)).unwrap();
        let both = sender.finish(&reply).unwrap();
        for (i, (both, chosen)) in both.expose().iter().zip(chosen.expose()).enumerate() {
            let b = (choices.expose() >> i & 1) as usize;
            assert_eq!(both[b], *chosen);
            assert_ne!(both[1 - b], *chosen);
        }
    }

    #[test]
    fn sessions_epochs_and_directions_give_other_keys() {
        let choices = Secret::new(5u128);
        let keys = |sender_label: Label, receiver_label: Label| {
            let (sender, offer) = BaseOtSender::start(&sender_label, &mut rng(1));
            let (reply, chosen) = answer(&receiver_label, &choices, &offer, &mut rng(2)).unwrap();
            (sender.finish(&reply).unwrap().expose()[0], chosen.expose()[0])
        };
        let (both, chosen) = keys(label(), label());
        assert!(both.contains(&chosen));
        for other in [
            Label { session: Digest([2; 32]), ..label() },
            Label { epoch: 1, ..label() },
            Label { direction: Direction::ServerSends, ..label() },
        ] {
            let (both, chosen) = keys(label(), other);
            assert!(!both.contains(&chosen));
        }
    }

    #[test]
    fn points_and_keys_depend_on_the_index_and_the_branch() {
        let (other, point) = ([5; 32], RistrettoPoint::from_uniform_bytes(&[3; 64]));
        let points = [(0, 0), (0, 1), (1, 0)].map(|(i, b)| to_point(&label(), i, b, &other));
        let keys =
            [(0, 0), (0, 1), (1, 0)].map(|(i, b)| key(&label(), i, b, &[1; 32], &[[2; 32]; 2], &point));
        assert!(points[0] != points[1] && points[0] != points[2]);
        assert!(keys[0] != keys[1] && keys[0] != keys[2]);
    }

    #[test]
    fn the_identity_a_second_encoding_and_wrong_lengths_are_refused() {
        let choices = Secret::new(0u128);
        let refused = |offer: &[u8]| answer(&label(), &choices, offer, &mut rng(2)).unwrap_err();
        assert!(matches!(refused(&[0; 32]), MpcError::Decode(_)), "identity");
        // The field modulus 2^255 − 19 is a second encoding of 0; an odd encoding is negative; bit 255 is unused.
        let mut modulus = [0xff; 32];
        (modulus[0], modulus[31]) = (0xed, 0x7f);
        assert!(matches!(refused(&modulus), MpcError::Decode(_)));
        let (sender, mut offer) = BaseOtSender::start(&label(), &mut rng(1));
        let (reply, _) = answer(&label(), &choices, &offer, &mut rng(2)).unwrap();
        for at in [0, 31] {
            let flip = if at == 0 { 1 } else { 0x80 };
            offer[at] ^= flip;
            assert!(matches!(refused(&offer), MpcError::Decode(_)));
            offer[at] ^= flip;
            let mut damaged = reply.clone();
            damaged[32 * 77 + at] ^= flip;
            let (other, _) = BaseOtSender::start(&label(), &mut rng(1));
            assert!(matches!(other.finish(&damaged), Err(MpcError::Decode(_))));
        }
        for cut in [0, 1, 31, 33] {
            let mut bytes = offer.clone();
            bytes.resize(cut, 0);
            assert!(matches!(refused(&bytes), MpcError::MessageBytes { .. }));
        }
        assert!(matches!(sender.finish(&reply[1..]), Err(MpcError::MessageBytes { .. })));
    }

    #[test]
    fn a_damaged_answer_is_refused_or_breaks_only_its_own_keys() {
        let choices = Secret::new(u128::MAX / 3);
        let (_, offer) = BaseOtSender::start(&label(), &mut rng(1));
        let (reply, chosen) = answer(&label(), &choices, &offer, &mut rng(2)).unwrap();
        for at in (0..ANSWER_BYTES).step_by(331) {
            let mut damaged = reply.clone();
            damaged[at] ^= 4;
            let (sender, _) = BaseOtSender::start(&label(), &mut rng(1));
            let Ok(both) = sender.finish(&damaged) else { continue };
            for (i, (both, chosen)) in both.expose().iter().zip(chosen.expose()).enumerate() {
                assert_eq!(both.contains(chosen), i != at / 64);
            }
        }
    }
}
