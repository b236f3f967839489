use zeroize::Zeroize;

const LINE: usize = 8; // 64 bytes

/// Rows of n words; each starts on a 64-byte boundary, rows are a cache line further apart than n so that equal
/// columns of different rows do not share a cache set.
pub(crate) struct Rows {
    data: Vec<u64>,
    offset: usize,
    n: usize,
    stride: usize,
    count: usize,
}

impl Rows {
    /// `count` rows of zeros. `n` is a multiple of 8 for every supported ring; others get padded.
    pub(crate) fn zero(count: usize, n: usize) -> Self {
        let stride = n.next_multiple_of(LINE) + LINE;
        let data = vec![0u64; count * stride + LINE];
        let offset = data.as_ptr().align_offset(LINE * size_of::<u64>());
        // Alignment is for speed alone, so a platform that cannot tell is served unaligned.
        let offset = if offset < LINE { offset } else { 0 };
        Self { data, offset, n, stride, count }
    }

    pub(crate) fn n(&self) -> usize {
        self.n
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Makes room for `count` rows of the same length; contents are unspecified afterwards.
    pub(crate) fn resize(&mut self, count: usize) {
        if count * self.stride + self.offset <= self.data.len() {
            self.count = count;
        } else {
            *self = Self::zero(count, self.n);
        }
    }

    /// Forgets all but the first `count` rows.
    pub(crate) fn truncate(&mut self, count: usize) {
        assert!(count <= self.count, "cannot keep {count} of {} rows", self.count);
        self.count = count;
    }

    #[inline]
    pub(crate) fn row(&self, i: usize) -> &[u64] {
        assert!(i < self.count, "row {i} of {}", self.count);
        let start = self.offset + i * self.stride;
        &self.data[start..start + self.n]
    }

    #[inline]
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [u64] {
        assert!(i < self.count, "row {i} of {}", self.count);
        let start = self.offset + i * self.stride;
        &mut self.data[start..start + self.n]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        let n = self.n;
        self.data[self.offset..][..self.count * self.stride].chunks_exact(self.stride).map(move |c| &c[..n])
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
        let n = self.n;
        self.data[self.offset..][..self.count * self.stride]
            .chunks_exact_mut(self.stride)
            .map(move |c| &mut c[..n])
    }
}

impl Clone for Rows {
    fn clone(&self) -> Self {
        let mut copy = Self::zero(self.count, self.n);
        for (to, from) in copy.iter_mut().zip(self.iter()) {
            to.copy_from_slice(from);
        }
        copy
    }
}

impl Zeroize for Rows {
    /// Wipes everything, forgotten rows too; the shape stays.
    fn zeroize(&mut self) {
        self.data.as_mut_slice().zeroize();
    }
}
