//! Negacyclic products modulo a power of two: an element of Z_2^52\[X\]/(X^n + 1) times a sparse element with small signed
//! coefficients, as scalar multiplications and additions.
//!
//! Words hold *any* 64 bits of which the low 52 count: results are equal modulo 2^52 on every path, hence modulo every
//! smaller power of two, and a caller masks once at the end. No function branches on or indexes by the words of an
//! element; shifts and weights are those of the party that computes, and the time depends on how many there are.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::kernel::Path;

/// Bits of a word that count.
pub const WORD_BITS: u32 = 52;

/// Words of one vector.
pub const LANES: usize = 8;

/// An element x, laid out for reading X^e·x at any offset: −x, then x, then padding that is never meaningful.
#[derive(Clone)]
pub struct Doubled(Vec<u64>);

impl Doubled {
    /// From coefficients, the constant one first.
    pub fn new(x: &[u64]) -> Self {
        let mut words = Vec::with_capacity(2 * x.len() + LANES);
        words.extend(x.iter().map(|x| x.wrapping_neg()));
        words.extend_from_slice(x);
        words.resize(2 * x.len() + LANES, 0);
        Self(words)
    }

    /// The degree n.
    pub fn n(&self) -> usize {
        (self.0.len() - LANES) / 2
    }

    /// The coefficients of x.
    pub fn coefficients(&self) -> &[u64] {
        &self.0[self.n()..2 * self.n()]
    }
}

impl zeroize::Zeroize for Doubled {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Doubled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doubled(..)")
    }
}

/// One term w·X^e of a sparse element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// e, below n.
    pub shift: u32,
    /// w.
    pub weight: i32,
}

/// `blocks` times [`LANES`] consecutive coefficients of a product, from `start` on. `start` is below n; lanes beyond n
/// are computed and mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first coefficient.
    pub start: u32,
    /// How many vectors.
    pub blocks: u32,
}

impl Span {
    /// All coefficients of an element of degree n, a multiple of [`LANES`].
    pub fn whole(n: usize) -> Self {
        Self { start: 0, blocks: (n / LANES) as u32 }
    }

    /// The least spans that hold these coefficients, which ascend, and for each coefficient the lane it is in, counted
    /// over all spans in order.
    pub fn covering(positions: &[u32]) -> (Vec<Self>, Vec<u32>) {
        let mut spans: Vec<Self> = Vec::new();
        let (mut lanes, mut before) = (Vec::with_capacity(positions.len()), 0);
        for &p in positions {
            match spans.last_mut() {
                // Inside, or close enough for one more vector.
                Some(s) if p < s.start + (s.blocks + 1) * LANES as u32 => {
                    if p >= s.start + s.blocks * LANES as u32 {
                        s.blocks += 1;
                    }
                }
                last => {
                    before += last.map_or(0, |s| s.blocks * LANES as u32);
                    spans.push(Self { start: p, blocks: 1 });
                }
            }
            let start = spans.last().map_or(0, |s| s.start);
            lanes.push(before + p - start);
        }
        (spans, lanes)
    }

    /// Words that sums over `spans` take.
    pub fn words(spans: &[Self]) -> usize {
        spans.iter().map(|s| s.blocks as usize * LANES).sum()
    }
}

/// acc ← acc + the coefficients `spans` of x·Σ w·X^e, modulo 2^52; `acc` holds the spans one after the other,
/// [`Span::words`] of them. Panics on a shift of n or more, a span beyond n, or an `acc` of another length.
pub fn accumulate(x: &Doubled, terms: &[Term], spans: &[Span], acc: &mut [u64]) {
    let n = x.n();
    assert!(terms.iter().all(|t| (t.shift as usize) < n), "shift beyond the degree");
    let inside = |s: &Span| s.blocks > 0 && (s.start as usize) + s.blocks as usize * LANES < n + LANES;
    assert!(spans.iter().all(inside), "span beyond the degree");
    assert_eq!(acc.len(), Span::words(spans), "accumulator of another length");
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx512Ifma {
        // SAFETY: this path is active only on processors with the features that the kernel asks for; the conditions on
        // shifts, spans and lengths were checked above.
        return unsafe { avx512::accumulate(&x.0, n, terms, spans, acc) };
    }
    #[cfg(target_arch = "x86_64")]
    if Path::active() == Path::Avx2 {
        // SAFETY: this path is active only on processors with the features that the kernel asks for.
        return unsafe { avx2(&x.0, n, terms, spans, acc) };
    }
    portable(&x.0, n, terms, spans, acc);
}

/// The portable code compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn avx2(x: &[u64], n: usize, terms: &[Term], spans: &[Span], acc: &mut [u64]) {
    portable(x, n, terms, spans, acc);
}

#[inline(always)]
fn portable(x: &[u64], n: usize, terms: &[Term], spans: &[Span], acc: &mut [u64]) {
    let mut rest = acc;
    for span in spans {
        let (own, more) = rest.split_at_mut(span.blocks as usize * LANES);
        rest = more;
        // Pieces that stay in registers or at least in the nearest cache while all terms pass.
        for (i, piece) in own.chunks_mut(8 * LANES).enumerate() {
            let start = n + span.start as usize + i * 8 * LANES;
            for t in terms {
                let from = start - t.shift as usize;
                let w = i64::from(t.weight) as u64;
                let x = &x[from..from + piece.len()];
                for (a, &x) in piece.iter_mut().zip(x) {
                    *a = a.wrapping_add(w.wrapping_mul(x));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use oblivia_base::Prg;
    use rand_core::Rng;

    const MASK: u64 = (1 << WORD_BITS) - 1;

    fn schoolbook(x: &[u64], terms: &[Term]) -> Vec<u64> {
        let n = x.len();
        let mut out = vec![0u64; n];
        for t in terms {
            for (i, &x) in x.iter().enumerate() {
                let p = x.wrapping_mul(i64::from(t.weight) as u64);
                let j = i + t.shift as usize;
                if j < n {
                    out[j] = out[j].wrapping_add(p);
                } else {
                    out[j - n] = out[j - n].wrapping_sub(p);
                }
            }
        }
        out
    }

    fn random(rng: &mut Prg, n: usize, terms: usize) -> (Vec<u64>, Vec<Term>) {
        let x = (0..n).map(|_| rng.next_u64()).collect();
        let mut small = vec![0i64; terms];
        sample::gaussian(rng, &mut small);
        let term = |w: i64| Term { shift: (rng.next_u64() % n as u64) as u32, weight: (w * 37) as i32 };
        (x, small.into_iter().map(term).collect())
    }

    #[test]
    fn every_path_agrees_with_the_schoolbook_product_modulo_2_52() {
        let mut rng = Prg::new(&[3; 32], "word tests", &[]);
        for (n, count) in [(8, 3), (64, 7), (256, 40), (2048, 25)] {
            let (x, terms) = random(&mut rng, n, count);
            let expected = schoolbook(&x, &terms);
            let positions: Vec<u32> = (0..n as u32).filter(|p| p % 23 < 9 || *p as usize == n - 1).collect();
            let (spans, lanes) = Span::covering(&positions);
            for &path in Path::available() {
                assert!(path.select());
                let doubled = Doubled::new(&x);
                assert_eq!(doubled.coefficients(), x);
                let mut acc = vec![5; n];
                accumulate(&doubled, &terms, &[Span::whole(n)], &mut acc);
                for (a, e) in acc.iter().zip(&expected) {
                    assert_eq!(a & MASK, e.wrapping_add(5) & MASK, "{path:?} {n}");
                }
                let mut acc = vec![7; Span::words(&spans)];
                accumulate(&doubled, &terms, &spans, &mut acc);
                for (&p, &lane) in positions.iter().zip(&lanes) {
                    let e = expected[p as usize].wrapping_add(7);
                    assert_eq!(acc[lane as usize] & MASK, e & MASK, "{path:?} {n} {p}");
                }
            }
        }
    }

    #[test]
    fn spans_cover_positions_without_overlap() {
        let (spans, lanes) = Span::covering(&[0, 1, 7, 8, 30, 31, 40, 54]);
        let span = |start, blocks| Span { start, blocks };
        assert_eq!(spans, [span(0, 2), span(30, 2), span(54, 1)]);
        assert_eq!(lanes, [0, 1, 7, 8, 16, 17, 26, 32]);
    }

    #[test]
    #[should_panic(expected = "span beyond the degree")]
    fn a_span_past_the_padding_is_refused() {
        let x = Doubled::new(&[1; 64]);
        accumulate(&x, &[], &[Span { start: 63, blocks: 2 }], &mut [0; 16]);
    }

    #[test]
    #[should_panic(expected = "shift beyond the degree")]
    fn a_shift_past_the_degree_is_refused() {
        let x = Doubled::new(&[1; 64]);
        accumulate(&x, &[Term { shift: 64, weight: 1 }], &[Span::whole(64)], &mut [0; 64]);
    }
}
