//! Puncturable pseudo-random functions of few points: the small trees of [`crate::softspoken`].
//!
//! A tree of depth k has 2^k leaves, index bit i chosen at level i from the root. Its maker knows all leaves; the other
//! party all but the one at a point that only it knows, from one OT per level: it has the key of branch c_i of OT i and
//! its point has bit i = ¬c_i. The first level *is* the pair of keys of the first OT; every further level sends the sum
//! of its children of either side under the keys of its OT (O. Goldreich, S. Goldwasser, S. Micali 1986; E. Boyle,
//! G. Couteau, N. Gilboa, Y. Ishai 2015).
//!
//! A maker that sends wrong sums would learn about the point from what goes wrong later, so every leaf gives 256 more
//! bits, of which the maker sends the sum per tree and one hash over all: L. Roy, *SoftSpokenOT* (2022), figure 14. Who
//! passes with wrong sums has guessed bits of the point, and the guess may fail.
#![deny(clippy::indexing_slicing)]

use crate::kernel::Cipher;
use crate::{Label, MpcError};
use oblivia_base::codec::{Reader, Writer};
use oblivia_base::{Digest, Secret, Transcript};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Seeds of all leaves, tree after tree.
pub(crate) type Leaves = Secret<Vec<u128>>;

/// Streams that a node is expanded into.
const CHILDREN: u64 = 0;
const LEAF: u64 = 1;

/// Bytes of the maker's message for `trees` trees of depth `depth`.
pub(crate) const fn message_bytes(trees: usize, depth: usize) -> usize {
    trees * (32 * (depth - 1) + 32) + 32
}

fn children(node: u128) -> [u128; 2] {
    let mut out = [0; 2];
    Cipher::new(&node.to_le_bytes()).counter(CHILDREN, 0, &mut out);
    out
}

/// Seed of a leaf's stream, and its 256 bits for the check.
fn leaf(node: u128) -> (u128, [u128; 2]) {
    let mut out = [0; 3];
    Cipher::new(&node.to_le_bytes()).counter(LEAF, 0, &mut out);
    let [seed, a, b] = out;
    (seed, [a, b])
}

fn absorb(t: &mut Transcript, block: &[u128; 2]) {
    block.iter().for_each(|b| t.absorb("leaf", &b.to_le_bytes()));
}

/// Sums of the children of either side of a new level.
fn sums(level: &[u128]) -> [u128; 2] {
    let (zero, one) = level.split_at(level.len() / 2);
    [zero, one].map(|side| side.iter().fold(0, |sum, v| sum ^ v))
}

/// Replaces a level by the next: left children in the first half, right children in the second.
fn grow(level: &mut Vec<u128>) {
    let pairs = level.iter().map(|v| children(*v));
    let (left, right): (Vec<u128>, Vec<u128>) = pairs.map(|[a, b]| (a, b)).unzip();
    *level = left;
    level.extend(right);
}

/// The maker's message and all leaves of ⌊pairs / depth⌋ trees, tree j from the keys of OTs j·depth ….
pub(crate) fn make(label: &Label, depth: usize, pairs: &[[u128; 2]]) -> (Vec<u8>, Leaves) {
    let mut w = Writer::new();
    let mut leaves = Secret::new(Vec::new());
    let mut check = label.transcript("pprf check v1");
    for keys in pairs.chunks_exact(depth) {
        let mut level = Vec::new();
        for (i, pair) in keys.iter().enumerate() {
            if i == 0 {
                level.extend(pair);
                continue;
            }
            grow(&mut level);
            for (sum, key) in sums(&level).iter().zip(pair) {
                w.raw(&(sum ^ key).to_le_bytes());
            }
        }
        let mut total = [0; 2];
        for node in level {
            let (seed, tag) = leaf(node);
            leaves.expose_mut().push(seed);
            absorb(&mut check, &tag);
            total = [total[0] ^ tag[0], total[1] ^ tag[1]];
        }
        total.iter().for_each(|t| w.raw(&t.to_le_bytes()));
    }
    w.raw(&check.digest().0);
    (w.into_bytes(), leaves)
}

fn select(a: u128, b: u128, choice: Choice) -> u128 {
    u128::conditional_select(&a, &b, choice)
}

/// All leaves but one of each tree, which is 0: tree j is punctured at the complement of the choices of its OTs, the
/// bits j·depth … of `choices`. `keys` are the chosen keys. Takes the same time for all choices.
///
/// # Errors
/// [`MpcError::MessageBytes`], [`MpcError::Decode`], and [`MpcError::Check`] if the maker's sums are not those of its
/// trees.
pub(crate) fn puncture(
    label: &Label,
    depth: usize,
    choices: u128,
    keys: &[u128],
    message: &[u8],
) -> Result<Leaves, MpcError> {
    MpcError::check_bytes("tree sums", message, message_bytes(keys.len() / depth, depth))?;
    let mut r = Reader::new(message);
    let mut block = || r.array("tree sum").map(u128::from_le_bytes);
    let mut leaves = Secret::new(Vec::new());
    let mut check = label.transcript("pprf check v1");
    for (tree, keys) in keys.chunks_exact(depth).enumerate() {
        let mut level = Vec::new();
        let mut point = 0u32;
        for (i, key) in keys.iter().enumerate() {
            let known_side = (choices >> (tree * depth + i) & 1) as u8;
            let side = Choice::from(known_side);
            let of_key = if i == 0 {
                level = vec![0; 2];
                *key
            } else {
                let pair = [block()?, block()?];
                grow(&mut level);
                // The children of the unknown node are no children of the tree.
                let half = level.len() as u32 / 2;
                for (x, v) in level.iter_mut().enumerate() {
                    *v = select(*v, 0, (x as u32 % half).ct_eq(&point));
                }
                let [zero, one] = sums(&level);
                select(pair[0] ^ zero, pair[1] ^ one, side) ^ key
            };
            let sibling = point | u32::from(known_side) << i;
            for (x, v) in level.iter_mut().enumerate() {
                *v = select(*v, of_key, (x as u32).ct_eq(&sibling));
            }
            point |= u32::from(1 - known_side) << i;
        }
        let total = [block()?, block()?];
        let mut tags = Vec::with_capacity(level.len());
        let mut missing = total;
        for (x, node) in level.into_iter().enumerate() {
            let (seed, tag) = leaf(node);
            let hole = (x as u32).ct_eq(&point);
            leaves.expose_mut().push(select(seed, 0, hole));
            let tag = tag.map(|t| select(t, 0, hole));
            missing = [missing[0] ^ tag[0], missing[1] ^ tag[1]];
            tags.push((tag, hole));
        }
        let [a, b] = missing;
        for (tag, hole) in tags {
            absorb(&mut check, &[select(tag[0], a, hole), select(tag[1], b, hole)]);
        }
    }
    let digest = Digest(r.array("tree check")?);
    r.finish()?;
    if check.digest() != digest {
        return Err(MpcError::Check { what: "check of the small trees" });
    }
    Ok(leaves)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::Direction;

    fn parts(depth: usize, choices: u128) -> (Label, Vec<[u128; 2]>, Vec<u128>) {
        let label = Label { session: Digest([4; 32]), epoch: 0, direction: Direction::ClientSends };
        let pairs: Vec<[u128; 2]> =
            (0..128 / depth * depth).map(|i| [i as u128 + 1, (i as u128) << 60 | 7 << 120]).collect();
        let keys = pairs.iter().enumerate().map(|(i, p)| p[(choices >> i & 1) as usize]).collect();
        (label, pairs, keys)
    }

    #[test]
    fn all_leaves_but_the_one_at_the_complement_of_the_choices_are_known() {
        let choices = 0x5ad3_0f1e_9b87_6420_1122_3344_5566_7788;
        for depth in [2, 4, 8] {
            let (label, pairs, keys) = parts(depth, choices);
            let (message, all) = make(&label, depth, &pairs);
            assert_eq!(message.len(), message_bytes(128 / depth, depth));
            let most = puncture(&label, depth, choices, &keys, &message).unwrap();
            for (j, (all, most)) in
                all.expose().chunks(1 << depth).zip(most.expose().chunks(1 << depth)).enumerate()
            {
                let point = !(choices >> (j * depth)) as usize & ((1 << depth) - 1);
                for (x, (a, m)) in all.iter().zip(most).enumerate() {
                    assert_eq!(*m, if x == point { 0 } else { *a });
                    assert_ne!(*a, 0);
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_caught_unless_it_hits_a_sum_of_the_side_that_is_not_needed() {
        let choices = 0;
        let (label, pairs, keys) = parts(4, choices);
        let (message, all) = make(&label, 4, &pairs);
        for at in 0..message.len() {
            let mut damaged = message.clone();
            damaged[at] ^= 0x10;
            let per_tree = 32 * 3 + 32;
            let in_tree = at % per_tree;
            // Choices are 0: the sums of the right sides are not used.
            let unused = at < per_tree * 32 && in_tree < 96 && in_tree % 32 >= 16;
            match puncture(&label, 4, choices, &keys, &damaged) {
                Ok(most) => {
                    assert!(unused, "byte {at}");
                    let same = all.expose().iter().zip(most.expose()).filter(|(a, m)| a == m).count();
                    assert_eq!(same, 32 * 15, "and then it changes nothing");
                }
                Err(e) => assert!(!unused && e == MpcError::Check { what: "check of the small trees" }),
            }
        }
    }
}
