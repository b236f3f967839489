//! Half-trees: the root's children are a random block and that block ⊕ Δ, every other left child is a hash of its parent
//! and the right one parent ⊕ left, so each level sums to Δ.
//!
//! Nodes of a level lie so that the children of node j of n are j and n + j: bit i of a leaf's index is the side taken at
//! level i. In the last level the least significant bits are cleared, which makes them choices: 0 everywhere, and 1 at
//! the leaf that the receiver misses, which it sets to the sum of all others ⊕ 1, as bit 0 of Δ is 1.

use crate::kernel::{Children, Cipher, Patch};
use oblivia_base::Secret;

/// What leaves are cut down to.
const LEAF: u128 = !1;

fn mask(level: usize, depth: usize) -> u128 {
    if level + 1 == depth { LEAF } else { u128::MAX }
}

/// Trees that are grown level by level beside one another: while the last nodes of a level are made in one, the first are in
/// the other.
pub(super) const TOGETHER: usize = 2;

/// Grows whole trees of one depth, at most [`TOGETHER`], of 2^d blocks each. Calls `sum` with the tree, the level and the sum
/// of the level's left nodes.
pub(super) fn grow(
    cipher: &Cipher,
    roots: &[u128],
    delta: u128,
    trees: &mut [&mut [u128]],
    mut sum: impl FnMut(usize, usize, u128),
) {
    let depth = depth_of(trees);
    for (tree, (root, nodes)) in roots.iter().zip(&mut *trees).enumerate() {
        nodes[..2].copy_from_slice(&[*root, *root ^ delta]);
        sum(tree, 0, *root);
    }
    for level in 1..depth {
        for (tree, nodes) in trees.iter_mut().enumerate() {
            sum(tree, level, cipher.grow(&mut nodes[..2 << level], mask(level, depth), None));
        }
    }
}

fn depth_of(trees: &[&mut [u128]]) -> usize {
    trees.first().map_or(0, |nodes| nodes.len().ilog2() as usize)
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

/// First time: finds the siblings and the leaves from the sums `c` ⊕ T, one per tree and level. The node on the way is 0 on
/// every level, and what is known beside it goes in when the next level is grown. At most [`TOGETHER`] trees.
pub(super) fn puncture(
    cipher: &Cipher,
    points: &[u32],
    corrections: &[u128],
    blocks: &mut [u128],
    trees: &mut [&mut [u128]],
) {
    let depth = depth_of(trees);
    // Left child of a 0; the right one is the same.
    let of_hole = cipher.ccr(0);
    let mut all_parents = [0; TOGETHER];
    let mut patches = [const { None }; TOGETHER];
    trees.iter_mut().for_each(|nodes| nodes[..2].fill(0));
    for level in 0..depth {
        for (tree, nodes) in trees.iter_mut().enumerate() {
            let (point, parents, patch) = (points[tree], &mut all_parents[tree], &mut patches[tree]);
            let (left, right) = if level == 0 {
                (0, 0)
            } else {
                let nodes = &mut nodes[..2 << level];
                let left = cipher.grow(nodes, mask(level, depth), patch.as_ref()) ^ of_hole;
                (left, left ^ *parents)
            };
            // The sibling is on the side that the point is not.
            let on_left = u128::from(point >> level & 1).wrapping_neg();
            let sibling = corrections[tree * depth + level] ^ (left & on_left) ^ (right & !on_left);
            blocks[tree * (depth + 1) + level] = sibling;
            *parents = left ^ right ^ sibling;
            *patch = Some(on_the_way(level, point, 0, sibling));
        }
    }
    for (tree, (nodes, blocks)) in trees.iter_mut().zip(blocks.chunks_exact_mut(depth + 1)).enumerate() {
        blocks[depth] = (all_parents[tree] & LEAF) | 1;
        on_the_way(depth - 1, points[tree], blocks[depth], blocks[depth - 1] & LEAF).apply(nodes);
    }
}

/// Of level `level`: the node on the way to the leaf `point` is `value`, the other child of its parent `sibling`.
fn around(level: usize, point: u32, value: u128, sibling: u128) -> Children {
    let swap = (value ^ sibling) & u128::from(point >> level & 1).wrapping_neg();
    Children { of: point & ((1 << level) - 1), values: [value ^ swap, sibling ^ swap] }
}

/// Any later time.
fn regrow(cipher: &Cipher, tree: &Punctured<'_>, nodes: &mut [u128]) {
    let (point, depth) = (tree.point, nodes.len().ilog2() as usize);
    nodes[..2].copy_from_slice(&around(0, point, 0, tree.blocks[0]).values);
    for level in 1..depth {
        let value = if level + 1 == depth { tree.blocks[depth] } else { 0 };
        let mask = mask(level, depth);
        let known = around(level, point, value, tree.blocks[level] & mask);
        cipher.grow_around(&mut nodes[..2 << level], mask, &known);
    }
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
                grow(cipher, &[roots.expose()[at]], *delta.expose(), &mut [nodes], |_, _, _| ());
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
