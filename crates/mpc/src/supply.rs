use crate::kernel::{Hashing, LINE, aligned};
use crate::silent::Outputs;
use oblivia_base::Secret;

/// Outputs of a round that are made at a time if fewer are asked for.
const FEW: usize = 96;

/// COTs that are handed out once, from the front.
pub(crate) enum Supply {
    Held { blocks: Secret<Vec<u128>>, at: usize },
    Round(Box<Round>),
}

/// A silent round. Its outputs are made where they are asked for.
pub(crate) struct Round {
    outputs: Outputs,
    /// Room for the leaves of the tree that is being taken.
    leaves: Secret<Vec<u128>>,
    /// Leaves whose outputs are made.
    at: usize,
    /// Outputs that are made and not taken: the last `few` of these.
    made: Secret<[u128; FEW]>,
    few: usize,
}

impl Supply {
    pub(crate) fn held(blocks: Secret<Vec<u128>>) -> Self {
        Self::Held { blocks, at: 0 }
    }

    pub(crate) fn round(outputs: Outputs) -> Self {
        let at = outputs.tree_len();
        let leaves = Secret::new(vec![0; at + LINE]);
        Self::Round(Box::new(Round { outputs, leaves, at, made: Secret::new([0; FEW]), few: 0 }))
    }

    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Held { blocks, at } => (blocks.expose().len() - at) as u64,
            Self::Round(round) => round.left(),
        }
    }

    /// Moves blocks into `out` and says how many; fewer than asked for only if nothing is left. May go on with `beside`.
    pub(crate) fn take(&mut self, out: &mut [u128], beside: Option<&mut Hashing<'_>>) -> usize {
        match self {
            Self::Held { blocks, at } => {
                let rest = &blocks.expose()[*at..];
                let n = rest.len().min(out.len());
                out[..n].copy_from_slice(&rest[..n]);
                *at += n;
                n
            }
            Self::Round(round) => round.take(out, beside),
        }
    }
}

impl Round {
    fn left(&self) -> u64 {
        self.outputs.left() + (self.outputs.tree_len() - self.at + self.few) as u64
    }

    fn take(&mut self, out: &mut [u128], mut beside: Option<&mut Hashing<'_>>) -> usize {
        let mut taken = 0;
        while taken < out.len() {
            let rest = &mut out[taken..];
            let n = if self.few > 0 {
                let n = self.few.min(rest.len());
                rest[..n].copy_from_slice(&self.made.expose()[FEW - self.few..][..n]);
                self.few -= n;
                n
            } else {
                self.make(rest, beside.as_deref_mut())
            };
            if n == 0 && self.left() == 0 {
                break;
            }
            taken += n;
        }
        taken
    }

    /// Makes outputs, in `out` or, if these are few, beside.
    fn make(&mut self, out: &mut [u128], beside: Option<&mut Hashing<'_>>) -> usize {
        let leaves = aligned(self.leaves.expose_mut(), self.outputs.tree_len());
        if self.at == leaves.len() {
            if self.outputs.left() == 0 {
                return 0;
            }
            self.outputs.grow(leaves);
            self.at = 0;
        }
        let (first, room) = (self.at, leaves.len() - self.at);
        if out.len() < FEW.min(room) {
            let n = FEW.min(room);
            let made = &mut self.made.expose_mut()[FEW - n..];
            self.outputs.mix(first, &leaves[first..first + n], made, None);
            (self.few, self.at) = (n, first + n);
            return 0;
        }
        let n = room.min(out.len());
        self.outputs.mix(first, &leaves[first..first + n], &mut out[..n], beside);
        self.at += n;
        n
    }
}
