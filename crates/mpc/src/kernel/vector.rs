//! AVX-512 with VAES, VPCLMULQDQ and GFNI: four blocks per vector, [`FLIGHT`] vectors at a time, so that the latency of a
//! round is hidden.
//!
//! Every function is entered through the functions of [`super`], which pick this path only where the processor has the
//! features.
#![allow(
    clippy::needless_range_loop,
    reason = "loops over arrays of vectors that the compiler must unroll whole"
)]

use super::portable;
use oblivia_base::Secret;
use std::arch::asm;
use std::arch::x86_64::*;

/// Vectors in flight: as many as hide the latency of a round, and no more, so that the next ones begin while these end. On
/// Zen 4 a silent round takes 2 to 10 % longer with eight, and the extension 5 % less.
const FLIGHT: usize = 4;
/// Blocks in flight.
const CHUNK: usize = 4 * FLIGHT;
type V = __m512i;
type RoundKeys = [u128; 11];
/// Declares functions compiled for the features of this path.
macro_rules! kernels {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident $(<$(const $n:ident: $nty:ty),+>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {
        $($(#[$meta])*
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,aes,vaes,pclmulqdq,vpclmulqdq,gfni,bmi2")]
        $vis fn $name $(<$(const $n: $nty),+>)? ($($arg: $ty),*) $(-> $ret)? $body)*
    };
}

mod extension;
mod lpn;
mod tree;

pub(super) use extension::{add_and_scale, inner_of_rows, sum_streams, transpose};
pub(super) use lpn::lpn;
pub(super) use tree::{apply, grow, grow_around};

kernels! {
    fn load(a: &[u128; 4]) -> V {
        // SAFETY: four blocks are readable; the load asks for no alignment.
        unsafe { _mm512_loadu_si512(a.as_ptr().cast()) }
    }

    fn store(a: &mut [u128; 4], v: V) {
        // SAFETY: four blocks are writable; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(a.as_mut_ptr().cast(), v) }
    }

    /// The same vector, but computed here: after what is above, before what is below. The compiler would put the rounds of
    /// one vector in a row otherwise, each of which waits for the one before.
    fn in_order(v: V) -> V {
        let mut v = v;
        // SAFETY: there is no instruction.
        unsafe { asm!("/* {0} */", inout(zmm_reg) v, options(nostack, preserves_flags)) };
        v
    }

    fn load_block(a: u128) -> __m128i {
        _mm_set_epi64x((a >> 64) as i64, a as i64)
    }

    fn block(v: __m128i) -> u128 {
        u128::from(_mm_cvtsi128_si64(v) as u64) | u128::from(_mm_extract_epi64::<1>(v) as u64) << 64
    }

    fn broadcast(a: u128) -> V {
        _mm512_broadcast_i32x4(load_block(a))
    }

    /// The sum of the four blocks.
    fn fold(v: V) -> u128 {
        let half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
        block(_mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)))
    }

    fn next_round_key(key: __m128i, assist: __m128i) -> __m128i {
        let word = _mm_shuffle_epi32::<0xff>(assist);
        let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
        let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
        _mm_xor_si128(key, word)
    }

    /// The key schedule of AES-128 (FIPS 197, section 5.2).
    pub(super) fn round_keys(key: u128) -> RoundKeys {
        let mut k = load_block(key);
        let mut out = [key; 11];
        macro_rules! rounds {
            ($($round:literal $constant:literal),*) => {
                $(k = next_round_key(k, _mm_aeskeygenassist_si128::<$constant>(k)); out[$round] = block(k);)*
            };
        }
        rounds!(1 0x01, 2 0x02, 3 0x04, 4 0x08, 5 0x10, 6 0x20, 7 0x40, 8 0x80, 9 0x1b, 10 0x36);
        out
    }

    fn spread(keys: &RoundKeys) -> [V; 11] {
        let mut out = [_mm512_setzero_si512(); 11];
        for (v, k) in out.iter_mut().zip(keys) {
            *v = broadcast(*k);
        }
        out
    }

    fn encrypt<const N: usize>(k: &[V; 11], x: &mut [V; N]) {
        for v in x.iter_mut() {
            *v = _mm512_xor_si512(*v, k[0]);
        }
        for key in &k[1..10] {
            for v in x.iter_mut() {
                *v = in_order(_mm512_aesenc_epi128(*v, *key));
            }
        }
        for v in x.iter_mut() {
            *v = _mm512_aesenclast_epi128(*v, k[10]);
        }
    }

    /// The vectors of a whole chunk.
    fn load_chunk(chunk: &[u128; CHUNK]) -> [V; FLIGHT] {
        let mut out = [_mm512_setzero_si512(); FLIGHT];
        for (v, four) in out.iter_mut().zip(chunk.as_chunks::<4>().0) {
            *v = load(four);
        }
        out
    }

    fn store_chunk(chunk: &mut [u128; CHUNK], x: &[V; FLIGHT]) {
        for (four, v) in chunk.as_chunks_mut::<4>().0.iter_mut().zip(x) {
            store(four, *v);
        }
    }

    /// Counters nonce ‖ start, … , start + 3.
    fn counters(nonce: u64, start: u64) -> V {
        let nonce = nonce as i64;
        _mm512_add_epi64(
            _mm512_set_epi64(nonce, 3, nonce, 2, nonce, 1, nonce, 0),
            _mm512_maskz_set1_epi64(0b0101_0101, start as i64),
        )
    }

    pub(super) fn counter(keys: &RoundKeys, nonce: u64, start: u64, out: &mut [u128]) {
        let k = spread(keys);
        let four = _mm512_maskz_set1_epi64(0b0101_0101, 4);
        let mut next = counters(nonce, start);
        let (chunks, rest) = out.as_chunks_mut::<CHUNK>();
        let mut last = [0; CHUNK];
        let tail = if rest.is_empty() { None } else { Some(&mut last) };
        for chunk in chunks.iter_mut().chain(tail) {
            let mut x = [next; FLIGHT];
            for v in x.iter_mut() {
                *v = next;
                next = _mm512_add_epi64(next, four);
            }
            encrypt(&k, &mut x);
            store_chunk(chunk, &x);
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// Hashes of the inputs, of which input i has the tweak tweak + (at + i)·stride.
    fn tccr_chunk(k: &[V; 11], tweak: V, at: u64, stride: V, offset: V, inputs: &[u128; CHUNK], out: &mut [u128; CHUNK]) {
        let mut x = load_chunk(inputs);
        for v in x.iter_mut() {
            *v = _mm512_xor_si512(*v, offset);
        }
        encrypt(k, &mut x);
        let mut y = x;
        let mut index = counters(0, at);
        for v in y.iter_mut() {
            *v = _mm512_xor_si512(*v, _mm512_add_epi64(tweak, _mm512_mul_epu32(index, stride)));
            index = _mm512_add_epi64(index, _mm512_maskz_set1_epi64(0b0101_0101, 4));
        }
        encrypt(k, &mut y);
        for (y, x) in y.iter_mut().zip(&x) {
            *y = _mm512_xor_si512(*y, *x);
        }
        store_chunk(out, &y);
    }

    pub(super) fn tccr(keys: &RoundKeys, tweak: u128, stride: u32, offset: u128, inputs: &[u128], out: &mut [u128]) {
        let k = spread(keys);
        let (tweak, stride, offset) = (broadcast(tweak), _mm512_set1_epi64(i64::from(stride)), broadcast(offset));
        let mut at = 0;
        let ((inputs, rest), (out, rest_out)) = (inputs.as_chunks::<CHUNK>(), out.as_chunks_mut::<CHUNK>());
        for (inputs, out) in inputs.iter().zip(out) {
            tccr_chunk(&k, tweak, at, stride, offset, inputs, out);
            at += CHUNK as u64;
        }
        if !rest.is_empty() {
            let (mut last, mut hashes) = (Secret::new([0; CHUNK]), [0; CHUNK]);
            last.expose_mut()[..rest.len()].copy_from_slice(rest);
            tccr_chunk(&k, tweak, at, stride, offset, last.expose(), &mut hashes);
            rest_out.copy_from_slice(&hashes[..rest.len()]);
        }
    }

    fn mmo_chunk(k: &[V; 11], offset: V, inputs: &[u128; CHUNK], out: &mut [u128; CHUNK]) {
        let mut x = load_chunk(inputs);
        for v in x.iter_mut() {
            *v = _mm512_xor_si512(*v, offset);
        }
        let mut y = x;
        encrypt(k, &mut y);
        for (y, x) in y.iter_mut().zip(&x) {
            *y = _mm512_xor_si512(*y, *x);
        }
        store_chunk(out, &y);
    }

    pub(super) fn mmo(keys: &RoundKeys, offset: u128, inputs: &[u128], out: &mut [u128]) {
        let (k, offset) = (spread(keys), broadcast(offset));
        let ((inputs, rest), (out, rest_out)) = (inputs.as_chunks::<CHUNK>(), out.as_chunks_mut::<CHUNK>());
        for (inputs, out) in inputs.iter().zip(out) {
            mmo_chunk(&k, offset, inputs, out);
        }
        if !rest.is_empty() {
            let (mut last, mut hashes) = (Secret::new([0; CHUNK]), [0; CHUNK]);
            last.expose_mut()[..rest.len()].copy_from_slice(rest);
            mmo_chunk(&k, offset, last.expose(), &mut hashes);
            rest_out.copy_from_slice(&hashes[..rest.len()]);
        }
    }

    /// Adds the low, middle and high parts of the lane-wise products to `sum`.
    fn multiply_add(sum: &mut [V; 3], a: V, b: V) {
        let [low, middle, high] = sum;
        *low = _mm512_xor_si512(*low, _mm512_clmulepi64_epi128::<0x00>(a, b));
        *high = _mm512_xor_si512(*high, _mm512_clmulepi64_epi128::<0x11>(a, b));
        let cross = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x01>(a, b), _mm512_clmulepi64_epi128::<0x10>(a, b));
        *middle = _mm512_xor_si512(*middle, cross);
    }

    /// low + middle·x^64 + high·x^128 modulo x^128 + x^7 + x^2 + x + 1.
    fn reduce(low: u128, middle: u128, high: u128) -> u128 {
        let (low, high) = (low ^ middle << 64, high ^ middle >> 64);
        let poly = _mm_set_epi64x(0, 0x87);
        let high = load_block(high);
        let (near, far) = (_mm_clmulepi64_si128::<0x00>(high, poly), _mm_clmulepi64_si128::<0x01>(high, poly));
        let far_high = _mm_clmulepi64_si128::<0x01>(far, poly);
        low ^ block(near) ^ block(_mm_slli_si128::<8>(far)) ^ block(far_high)
    }

    pub(super) fn inner(a: &[u128], b: &[u128]) -> u128 {
        let n = a.len().min(b.len());
        let (a, b) = (&a[..n], &b[..n]);
        let mut sum = [_mm512_setzero_si512(); 3];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
        for (a, b) in a.iter().zip(b) {
            multiply_add(&mut sum, load(a), load(b));
        }
        if !a_rest.is_empty() {
            let (mut a, mut b) = ([0; 4], [0; 4]);
            a[..a_rest.len()].copy_from_slice(a_rest);
            b[..b_rest.len()].copy_from_slice(b_rest);
            multiply_add(&mut sum, load(&a), load(&b));
        }
        let [low, middle, high] = sum;
        reduce(fold(low), fold(middle), fold(high))
    }

    /// Lane-wise products, reduced.
    fn times_lanes(a: V, b: V) -> V {
        let mut sum = [_mm512_setzero_si512(); 3];
        multiply_add(&mut sum, a, b);
        reduce_lanes(sum)
    }

    /// low + middle·x^64 + high·x^128 in each lane, reduced.
    fn reduce_lanes(sum: [V; 3]) -> V {
        let [low, middle, high] = sum;
        let low = _mm512_xor_si512(low, _mm512_bslli_epi128::<8>(middle));
        let high = _mm512_xor_si512(high, _mm512_bsrli_epi128::<8>(middle));
        // high·(x^7 + x^2 + x + 1), whose top seven bits go round once more.
        let poly = _mm512_set_epi64(0, 0x87, 0, 0x87, 0, 0x87, 0, 0x87);
        let near = _mm512_clmulepi64_epi128::<0x00>(high, poly);
        let far = _mm512_clmulepi64_epi128::<0x01>(high, poly);
        let over = _mm512_clmulepi64_epi128::<0x01>(far, poly);
        _mm512_ternarylogic_epi64::<0x96>(_mm512_xor_si512(low, near), _mm512_bslli_epi128::<8>(far), over)
    }

    pub(super) fn raise(bases: &[u128], exponents: &[u32], bits: u32, out: &mut [u128]) {
        const LANES: usize = 4 * 4;
        let lanes = bases.chunks(LANES).zip(exponents.chunks(LANES)).zip(out.chunks_mut(LANES));
        for ((some_bases, some_exponents), out) in lanes {
            let (mut bases, mut exponents) = ([0; LANES], [0u64; LANES]);
            bases[..some_bases.len()].copy_from_slice(some_bases);
            for (e, of) in exponents.iter_mut().zip(some_exponents) {
                *e = u64::from(*of);
            }
            let one = broadcast(1);
            let mut powers = [one; LANES / 4];
            for bit in (0..bits).rev() {
                let quads = bases.as_chunks::<4>().0.iter().zip(exponents.as_chunks::<4>().0);
                for (p, (base, e)) in powers.iter_mut().zip(quads) {
                    let [a, b, c, d] = e.map(|e| ((e >> bit & 1) as i64).wrapping_neg());
                    let mask = _mm512_set_epi64(d, d, c, c, b, b, a, a);
                    // The base where the bit is 1, else 1.
                    let factor = _mm512_ternarylogic_epi64::<0xca>(mask, load(base), one);
                    *p = times_lanes(times_lanes(*p, *p), factor);
                }
            }
            let mut all = [0; LANES];
            for (four, p) in all.as_chunks_mut::<4>().0.iter_mut().zip(&powers) {
                store(four, *p);
            }
            out.copy_from_slice(&all[..out.len()]);
        }
    }

    /// The powers of `c` from the first, as many as `out`, a multiple of four, has room for.
    pub(super) fn powers(c: u128, out: &mut [u128]) {
        let square = inner(&[c], &[c]);
        let cube = inner(&[square], &[c]);
        let fourth = inner(&[square], &[square]);
        let Some(first) = out.first_chunk_mut() else { return };
        *first = [c, square, cube, fourth];
        // The powers up to n times the n-th, side by side, are as many more.
        let mut known = 4;
        while known < out.len() {
            let step = broadcast(out[known - 1]);
            let (low, high) = out.split_at_mut(known);
            for (low, high) in low.as_chunks::<4>().0.iter().zip(high.as_chunks_mut::<4>().0) {
                store(high, times_lanes(load(low), step));
            }
            known *= 2;
        }
    }

    pub(super) fn polynomial(c: u128, blocks: &[u128]) -> u128 {
        const SPAN: usize = 128;
        let mut all = [0; SPAN];
        powers(c, &mut all);
        let mut sum = 0;
        for span in blocks.chunks(SPAN).rev() {
            sum = inner(&[sum], &[all[SPAN - 1]]) ^ inner(&all, span);
        }
        sum
    }

    pub(super) fn pair_up(zero: &[u128], one: &[u128], out: &mut [[u64; 2]]) {
        let n = out.len().min(zero.len()).min(one.len()) / 4 * 4;
        let (out, out_rest) = out.split_at_mut(n);
        let pairs = out.as_chunks_mut::<4>().0.iter_mut();
        for ((out, zero), one) in pairs.zip(zero.as_chunks::<4>().0).zip(one.as_chunks::<4>().0) {
            let both = _mm512_unpacklo_epi64(load(zero), load(one));
            // SAFETY: four pairs, 64 bytes, are writable; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), both) };
        }
        portable::pair_up(&zero[n..], &one[n..], out_rest);
    }

    /// The low halves of eight blocks.
    fn low_halves(a: &[[u128; 4]; 2]) -> V {
        _mm512_permutex2var_epi64(load(&a[0]), _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), load(&a[1]))
    }

    pub(super) fn low_words(blocks: &[u128], out: &mut [u64]) {
        let n = out.len().min(blocks.len()) / 8 * 8;
        let (out, out_rest) = out.split_at_mut(n);
        let blocks_of_four = blocks[..n].as_chunks::<4>().0.as_chunks::<2>().0;
        for (out, eight) in out.as_chunks_mut::<8>().0.iter_mut().zip(blocks_of_four) {
            // SAFETY: eight words are writable; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), low_halves(eight)) };
        }
        portable::low_words(&blocks[n..], out_rest);
    }

    pub(super) fn low_bits(blocks: &[u128], out: &mut [u8]) {
        let n = out.len().min(blocks.len()) / 8 * 8;
        let (out, out_rest) = out.split_at_mut(n);
        let blocks_of_four = blocks[..n].as_chunks::<4>().0.as_chunks::<2>().0;
        for (out, eight) in out.as_chunks_mut::<8>().0.iter_mut().zip(blocks_of_four) {
            let bits = _mm512_and_si512(low_halves(eight), _mm512_set1_epi64(1));
            *out = _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(bits)).to_le_bytes();
        }
        portable::low_bits(&blocks[n..], out_rest);
    }
}
