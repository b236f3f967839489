use crate::silent::Outputs;
use oblivia_base::Secret;

/// COTs that are handed out once, from the front.
pub(crate) struct Supply {
    source: Source,
    /// Taken blocks of the buffer or vector at hand.
    at: usize,
}

enum Source {
    Held(Secret<Vec<u128>>),
    /// A silent round, and the tree of it that is being taken.
    Round(Outputs, Secret<Vec<u128>>),
}

impl Supply {
    pub(crate) fn held(blocks: Secret<Vec<u128>>) -> Self {
        Self { source: Source::Held(blocks), at: 0 }
    }

    pub(crate) fn round(outputs: Outputs) -> Self {
        let tree = Secret::new(vec![0; outputs.tree_len()]);
        Self { at: outputs.tree_len(), source: Source::Round(outputs, tree) }
    }

    pub(crate) fn left(&self) -> u64 {
        match &self.source {
            Source::Held(blocks) => (blocks.expose().len() - self.at) as u64,
            Source::Round(outputs, tree) => outputs.left() + (tree.expose().len() - self.at) as u64,
        }
    }

    /// Moves blocks into `out` and says how many; fewer than asked for only if nothing is left.
    pub(crate) fn take(&mut self, out: &mut [u128]) -> usize {
        let mut taken = 0;
        while taken < out.len() {
            let blocks = match &mut self.source {
                Source::Held(blocks) => blocks,
                Source::Round(outputs, tree) => {
                    if self.at == tree.expose().len() && outputs.left() > 0 {
                        outputs.next_tree(tree.expose_mut());
                        self.at = 0;
                    }
                    tree
                }
            };
            let rest = &blocks.expose()[self.at..];
            let n = rest.len().min(out.len() - taken);
            if n == 0 {
                break;
            }
            out[taken..taken + n].copy_from_slice(&rest[..n]);
            self.at += n;
            taken += n;
        }
        taken
    }
}
