use super::Cipher;

/// Hashes that are made piece by piece, while something else waits for memory: block i of pad j becomes [`Cipher::mmo`] of
/// input i ⊕ offset j. Not done before [`Hashing::finish`].
pub(crate) struct Hashing<'a> {
    cipher: &'a Cipher,
    inputs: &'a [u128],
    /// Of the pads to go.
    offsets: &'a [u128],
    /// Pad after pad.
    pads: &'a mut [u128],
    /// Blocks that are made already, and those of them in the pad at hand.
    done: usize,
    lane: usize,
}

/// `N` vectors of four blocks of one pad.
pub(super) struct Vectors<'a, const N: usize> {
    pub(super) inputs: &'a [[u128; 4]; N],
    pub(super) offset: u128,
    pub(super) out: &'a mut [[u128; 4]; N],
}

impl<'a> Hashing<'a> {
    pub(crate) fn new(cipher: &'a Cipher, [inputs, offsets]: [&'a [u128]; 2], pads: &'a mut [u128]) -> Self {
        assert_eq!(pads.len(), inputs.len() * offsets.len(), "a pad for each offset");
        Self { cipher, inputs, offsets, pads, done: 0, lane: 0 }
    }

    /// Blocks to go.
    pub(super) fn left(&self) -> usize {
        self.pads.len() - self.done
    }

    /// Round keys of the vector path.
    pub(super) fn round_keys(&self) -> &'a [u128; 11] {
        self.cipher.round_keys.expose()
    }

    /// The next `N` vectors of one pad, which the caller hashes.
    #[inline(always)]
    pub(super) fn next<const N: usize>(&mut self) -> Option<Vectors<'_, N>> {
        while self.done < self.pads.len() {
            if self.inputs.len() - self.lane >= 4 * N {
                let (at, lane) = (self.done, self.lane);
                self.done += 4 * N;
                self.lane += 4 * N;
                let inputs = self.inputs.get(lane..)?.as_chunks().0.first_chunk()?;
                let offset = *self.offsets.first()?;
                let out = self.pads.get_mut(at..)?.as_chunks_mut().0.first_chunk_mut()?;
                return Some(Vectors { inputs, offset, out });
            }
            self.hash();
        }
        None
    }

    /// Makes what is left.
    pub(crate) fn finish(mut self) {
        while self.left() > 0 {
            self.hash();
        }
    }

    /// The rest of the pad at hand.
    #[inline(never)]
    fn hash(&mut self) {
        let inputs = &self.inputs[self.lane..];
        let out = &mut self.pads[self.done..self.done + inputs.len()];
        self.done += inputs.len();
        self.lane = 0;
        let Some((offset, rest)) = self.offsets.split_first() else { return };
        self.offsets = rest;
        self.cipher.mmo(*offset, inputs, out);
    }
}
