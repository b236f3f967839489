use super::Cipher;

/// Hashes that are made piece by piece, while something else waits for memory: block i of every pad, of `lanes` blocks
/// each, is replaced by [`Cipher::tccr`] of itself with tweak + i·stride. Not done before [`Hashing::finish`].
pub(crate) struct Hashing<'a> {
    cipher: &'a Cipher,
    tweak: u128,
    stride: u32,
    lanes: usize,
    blocks: &'a mut [u128],
    /// Blocks that are hashes already.
    done: usize,
}

impl<'a> Hashing<'a> {
    pub(crate) fn new(
        cipher: &'a Cipher,
        tweak: u128,
        stride: u32,
        lanes: usize,
        blocks: &'a mut [u128],
    ) -> Self {
        assert!(lanes > 0 || blocks.is_empty(), "lanes of a pad");
        Self { cipher, tweak, stride, lanes, blocks, done: 0 }
    }

    /// Blocks to go.
    pub(super) fn left(&self) -> usize {
        self.blocks.len() - self.done
    }

    /// Round keys of the vector path, the tweak of lane 0, and what a lane adds to it.
    pub(super) fn parameters(&self) -> (&'a [u128; 11], u128, u32) {
        (self.cipher.round_keys.expose(), self.tweak, self.stride)
    }

    /// The next `N` vectors of four blocks of one pad, which the caller hashes, and the lane of the first block.
    pub(super) fn next<const N: usize>(&mut self) -> Option<(usize, &mut [[u128; 4]; N])> {
        while self.left() > 0 {
            let (at, lane) = (self.done, self.done % self.lanes);
            let room = self.lanes - lane;
            if room >= 4 * N {
                self.done += 4 * N;
                let blocks = self.blocks.get_mut(at..)?.as_chunks_mut::<4>().0;
                return Some((lane, blocks.first_chunk_mut()?));
            }
            self.hash(room);
        }
        None
    }

    /// Hashes what is left.
    pub(crate) fn finish(mut self) {
        while self.left() > 0 {
            self.hash(self.lanes - self.done % self.lanes);
        }
    }

    fn tweak_of(&self, lane: usize) -> u128 {
        let low = (self.tweak as u64).wrapping_add(lane as u64 * u64::from(self.stride));
        self.tweak & !u128::from(u64::MAX) | u128::from(low)
    }

    /// The next blocks, all of one pad.
    fn hash(&mut self, n: usize) {
        let (at, tweak) = (self.done, self.tweak_of(self.done % self.lanes));
        self.done = (at + n).min(self.blocks.len());
        self.cipher.tccr(tweak, 0, self.stride, &mut self.blocks[at..self.done]);
    }
}
