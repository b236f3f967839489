//! Long runs of secret blocks.

use oblivia_base::Secret;

/// Keys or tags of COTs, in chunks: each is zeroised and freed when its last block is taken, while it is in the cache.
pub struct Blocks(Vec<Secret<Vec<u128>>>);

impl Blocks {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, chunk: Secret<Vec<u128>>) {
        if !chunk.expose().is_empty() {
            self.0.push(chunk);
        }
    }

    pub(crate) fn into_chunks(self) -> impl Iterator<Item = Secret<Vec<u128>>> {
        self.0.into_iter()
    }

    /// All blocks in their order.
    pub fn iter(&self) -> impl Iterator<Item = &u128> {
        self.0.iter().flat_map(|chunk| chunk.expose())
    }
}

impl From<Secret<Vec<u128>>> for Blocks {
    fn from(blocks: Secret<Vec<u128>>) -> Self {
        let mut all = Self::new();
        all.push(blocks);
        all
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocks(..)")
    }
}
