//! Half-trees: the root's children are a random block and that block ⊕ Δ, every other left child is a hash of its parent
//! and the right one parent ⊕ left, so each level sums to Δ.
//!
//! Nodes of a level lie so that the children of node j of n are j and n + j: bit i of a leaf's index is the side taken at
//! level i. In the last level the least significant bits are cleared, which makes them choices: 0 everywhere, and 1 at
//! the leaf that the receiver misses, which it sets to the sum of all others ⊕ 1, as bit 0 of Δ is 1.

use crate::kernel::{Cipher, Patch};
use oblivia_base::Secret;

/// What leaves are cut down to.
const LEAF: u128 = !1;

fn mask(level: usize, depth: usize) -> u128 {
    if level + 1 == depth { LEAF } else { u128::MAX }
}

/// Grows a whole tree into `nodes`, of 2^d blocks. Calls `sum` with the sum of the left nodes of each level.
pub(super) fn grow(cipher: &Cipher, root: u128, delta: u128, nodes: &mut [u128], mut sum: impl FnMut(u128)) {
    let depth = nodes.len().ilog2() as usize;
    nodes[0] = root;
    nodes[1] = root ^ delta;
    sum(root);
    for level in 1..depth {
        sum(cipher.grow(&mut nodes[..2 << level], mask(level, depth), None));
    }
}

/// What the receiver knows of a tree beside its messages: the missing leaf's index, the node next to the path on every
/// level, and the missing leaf.
pub(super) struct Punctured<'a> {
    pub(super) point: u32,
    /// d siblings, and the leaf.
    pub(super) blocks: &'a [u128],
}

/// Of level `level`: the node on the way to the leaf `point` is `value`, the one beside it `sibling`.
fn on_the_way(level: usize, point: u32, value: u128, sibling: u128) -> Patch {
    let hole = point & ((2 << level) - 1);
    Patch { at: [hole, hole ^ 1 << level], values: [value, sibling] }
}

/// First time: finds the siblings and the leaf from the sums `c` ⊕ T, one per level. The node on the way is 0 on every
/// level, and what is known beside it goes in when the next level is grown.
pub(super) fn puncture(
    cipher: &Cipher,
    point: u32,
    corrections: &[u128],
    blocks: &mut [u128],
    nodes: &mut [u128],
) {
    let depth = nodes.len().ilog2() as usize;
    // Left child of a 0; the right one is the same.
    let of_hole = cipher.ccr(0);
    let (mut parents, mut patch) = (0, None);
    nodes[..2].fill(0);
    for level in 0..depth {
        let (left, right) = if level == 0 {
            (0, 0)
        } else {
            let nodes = &mut nodes[..2 << level];
            let left = cipher.grow(nodes, mask(level, depth), patch.as_ref()) ^ of_hole;
            (left, left ^ parents)
        };
        // The sibling is on the side that the point is not.
        let on_left = u128::from(point >> level & 1).wrapping_neg();
        let sibling = corrections[level] ^ (left & on_left) ^ (right & !on_left);
        blocks[level] = sibling;
        parents = left ^ right ^ sibling;
        patch = Some(on_the_way(level, point, 0, sibling));
    }
    blocks[depth] = (parents & LEAF) | 1;
    on_the_way(depth - 1, point, blocks[depth], blocks[depth - 1] & LEAF).apply(nodes);
}

/// Any later time.
fn regrow(cipher: &Cipher, tree: &Punctured<'_>, nodes: &mut [u128]) {
    let (point, depth) = (tree.point, nodes.len().ilog2() as usize);
    nodes[..2].fill(0);
    for level in 1..depth {
        let patch = on_the_way(level - 1, point, 0, tree.blocks[level - 1]);
        cipher.grow(&mut nodes[..2 << level], mask(level, depth), Some(&patch));
    }
    on_the_way(depth - 1, point, tree.blocks[depth], tree.blocks[depth - 1] & LEAF).apply(nodes);
}

/// All trees of a round, to be grown again.
pub(super) enum Trees {
    /// Roots and Δ.
    Whole { cipher: Cipher, roots: Secret<Vec<u128>>, delta: Secret<u128> },
    /// Missing leaves, and d + 1 blocks per tree.
    Punctured { cipher: Cipher, points: Secret<Vec<u32>>, blocks: Secret<Vec<u128>> },
}

impl Trees {
    /// Grows tree `at` into `nodes`.
    pub(super) fn grow(&self, at: usize, nodes: &mut [u128]) {
        match self {
            Self::Whole { cipher, roots, delta } => {
                grow(cipher, roots.expose()[at], *delta.expose(), nodes, |_| ());
            }
            Self::Punctured { cipher, points, blocks } => {
                let n = nodes.len().ilog2() as usize + 1;
                let tree =
                    Punctured { point: points.expose()[at], blocks: &blocks.expose()[at * n..(at + 1) * n] };
                regrow(cipher, &tree, nodes);
            }
        }
    }
}
