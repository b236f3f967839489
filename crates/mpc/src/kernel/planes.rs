//! Bits of many blocks gathered into words.

/// Appends to plane i, for every 64 blocks, a word with bit i of each; i < 64. The last word is filled with zeros.
pub(crate) fn bit_planes(blocks: &[u128], planes: &mut [Vec<u64>]) {
    #[cfg(target_arch = "x86_64")]
    if super::Path::active() == super::Path::Vaes {
        let whole = blocks.len() / 64 * 64;
        let (whole, rest) = blocks.split_at(whole);
        // SAFETY: this path is active only on processors with AVX-512 F.
        unsafe { vector::bit_planes(whole, planes) };
        portable(rest, planes);
        return;
    }
    portable(blocks, planes);
}

pub(super) fn portable(blocks: &[u128], planes: &mut [Vec<u64>]) {
    for lanes in blocks.chunks(64) {
        for (i, plane) in planes.iter_mut().enumerate() {
            let bit = |(lane, block): (usize, &u128)| (*block as u64 >> i & 1) << lane;
            plane.push(lanes.iter().enumerate().map(bit).fold(0, |word, bit| word | bit));
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod vector {
    use std::arch::x86_64::*;

    /// [`super::bit_planes`] of whole groups of 64 blocks.
    #[target_feature(enable = "avx512f")]
    pub(crate) fn bit_planes(blocks: &[u128], planes: &mut [Vec<u64>]) {
        // The low halves of four blocks and of four more.
        let low = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
        for lanes in blocks.chunks_exact(64) {
            let mut halves = [_mm512_setzero_si512(); 8];
            for (half, eight) in halves.iter_mut().zip(lanes.chunks_exact(8)) {
                // SAFETY: eight blocks, two vectors, are readable; the loads ask for no alignment.
                let [a, b] = unsafe {
                    [
                        _mm512_loadu_si512(eight.as_ptr().cast()),
                        _mm512_loadu_si512(eight.as_ptr().add(4).cast()),
                    ]
                };
                *half = _mm512_permutex2var_epi64(a, low, b);
            }
            for (i, plane) in planes.iter_mut().enumerate() {
                let bit = _mm512_set1_epi64(1i64.wrapping_shl(i as u32));
                let words = halves.iter().rev().map(|half| u64::from(_mm512_test_epi64_mask(*half, bit)));
                plane.push(words.fold(0, |word, eight| word << 8 | eight));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_the_bits_of_the_blocks_on_both_paths() {
        for n in [0usize, 1, 63, 64, 65, 128, 300] {
            let blocks: Vec<u128> = (0..n as u128)
                .map(|i| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834))
                .collect();
            for count in [0usize, 1, 2, 64] {
                let (mut a, mut b) = (vec![Vec::new(); count], vec![vec![7]; count]);
                bit_planes(&blocks, &mut a);
                portable(&blocks, &mut b);
                for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                    assert_eq!(a.len(), n.div_ceil(64));
                    assert_eq!(a[..], b[1..]);
                    assert!((0..n).all(|k| a[k / 64] >> (k % 64) & 1 == (blocks[k] >> i) as u64 & 1));
                }
            }
        }
    }
}
