use crate::kernel::{LINE, LPN_ROWS, aligned, prefetch};
use crate::silent::Outputs;
use oblivia_base::Secret;

/// Outputs of a round that are made at a time if fewer are asked for.
const FEW: usize = 3 * LPN_ROWS;

/// COTs that are handed out once, from the front.
pub(crate) enum Supply {
    Held { blocks: Secret<Vec<u128>>, at: usize },
    Round(Box<Round>),
}

/// Outputs of a silent round from a position up to an end. They are made where they are asked for.
pub(crate) struct Round {
    outputs: Outputs,
    /// Room for the leaves of the tree at hand.
    leaves: Secret<Vec<u128>>,
    /// Which tree it is.
    grown: Option<usize>,
    /// The next output that is not made.
    position: u64,
    end: u64,
    /// Outputs that are made and not taken: the last `few` of these.
    made: Secret<[u128; FEW]>,
    few: usize,
}

impl Supply {
    pub(crate) fn held(blocks: Secret<Vec<u128>>) -> Self {
        Self::Held { blocks, at: 0 }
    }

    pub(crate) fn round(outputs: Outputs) -> Self {
        let end = outputs.len();
        Self::Round(Box::new(Round::part(outputs, 0, end)))
    }

    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Held { blocks, at } => (blocks.expose().len() - at) as u64,
            Self::Round(round) => round.left(),
        }
    }

    /// Whether they come from a silent round.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Round(_))
    }

    /// The next `n` blocks, or all that are left, as a supply of their own.
    pub(crate) fn split(&mut self, n: u64) -> Self {
        let n = n.min(self.left());
        match self {
            Self::Held { blocks, at } => {
                let part = &blocks.expose()[*at..*at + n as usize];
                *at += n as usize;
                Self::held(Secret::new(part.to_vec()))
            }
            Self::Round(round) => {
                let from = round.position - round.few as u64;
                (round.few, round.position) = (0, from + n);
                Self::Round(Box::new(Round::part(round.outputs.clone(), from, from + n)))
            }
        }
    }

    /// Moves blocks into `out` and says how many; fewer than asked for only if nothing is left.
    pub(crate) fn take(&mut self, out: &mut [u128]) -> usize {
        match self {
            Self::Held { blocks, at } => {
                let rest = &blocks.expose()[*at..];
                let n = rest.len().min(out.len());
                let (taken, rest) = rest.split_at(n);
                out[..n].copy_from_slice(taken);
                *at += n;
                // What comes next, while this is worked on.
                prefetch(&rest[..n.min(rest.len())]);
                n
            }
            Self::Round(round) => round.take(out),
        }
    }
}

impl Round {
    fn part(outputs: Outputs, position: u64, end: u64) -> Self {
        let leaves = Secret::new(vec![0; outputs.tree_len() + LINE]);
        Self { outputs, leaves, grown: None, position, end, made: Secret::new([0; FEW]), few: 0 }
    }

    fn left(&self) -> u64 {
        self.end - self.position + self.few as u64
    }

    fn take(&mut self, out: &mut [u128]) -> usize {
        let mut taken = 0;
        while taken < out.len() {
            let rest = &mut out[taken..];
            let n = if self.few > 0 {
                let n = self.few.min(rest.len());
                rest[..n].copy_from_slice(&self.made.expose()[FEW - self.few..][..n]);
                self.few -= n;
                n
            } else {
                self.make(rest)
            };
            if n == 0 && self.left() == 0 {
                break;
            }
            taken += n;
        }
        taken
    }

    /// Makes outputs, in `out` or, if these are few, beside.
    fn make(&mut self, out: &mut [u128]) -> usize {
        if self.position == self.end {
            return 0;
        }
        let len = self.outputs.tree_len();
        let (tree, first) = ((self.position / len as u64) as usize, (self.position % len as u64) as usize);
        let leaves = aligned(self.leaves.expose_mut(), len);
        if self.grown != Some(tree) {
            self.outputs.grow(tree, leaves);
            self.grown = Some(tree);
        }
        let room = ((len - first) as u64).min(self.end - self.position) as usize;
        if out.len() < FEW.min(room) {
            let n = FEW.min(room);
            let made = &mut self.made.expose_mut()[FEW - n..];
            self.outputs.mix(tree, first, &leaves[first..first + n], made);
            self.few = n;
            self.position += n as u64;
            return 0;
        }
        let mut n = room.min(out.len());
        if n < room {
            // Whole steps, so that the next call begins with one.
            n -= (first + n) % LPN_ROWS;
        }
        self.outputs.mix(tree, first, &leaves[first..first + n], &mut out[..n]);
        self.position += n as u64;
        n
    }
}
