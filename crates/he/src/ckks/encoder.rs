use super::fft::{Fft, root};
use crate::HeError;
use crate::params::Params;
use crate::plaintext::{check_id, check_scale, transformed};
use crate::{CompactPlaintext, ExtendedPlaintext, Plaintext};
use oblivia_base::Secret;
use oblivia_ring::{Basis, RingKind};
use std::fmt;
use zeroize::Zeroize;

/// Turns vectors of slots into plaintext polynomials and back.
///
/// Slot j is the value at ζ^(5^j). Conjugate-invariant ring: n real slots, by cosine transforms computed as one
/// complex transform of length n/2 (Makhoul, *A fast cosine transform in one and two dimensions*, 1980).
/// Standard ring: n/2 complex slots, by a twisted transform of length n/2.
///
/// Errors of double precision stay below one half as long as scale·|value| is below about 2^45.
pub struct Encoder {
    params: Params,
    fft: Fft,
    /// Where the two parts of each transform input come from (encoding), in transform order. In the standard ring
    /// both entries name the same slot.
    slots: Vec<(u32, u32)>,
    /// Conjugate-invariant: e^(−2πi·m/n), m ≤ n/2. Standard: e^(−2πi·m/2n), m < n/2.
    twist: Vec<(f64, f64)>,
    /// Conjugate-invariant: e^(−2πi·m/4n), m ≤ n/2.
    quarter: Vec<(f64, f64)>,
}

impl Encoder {
    /// The encoder of `params`.
    pub fn new(params: &Params) -> Self {
        let (n, h, order) = (params.n(), params.n() / 2, params.shape().order() as usize);
        let fft = Fft::new(h);
        let mut slot_of = vec![0u32; params.slots()];
        let mut power = 1;
        for j in 0..params.slots() {
            let k = match params.shape().kind() {
                RingKind::ConjugateInvariant => (power.min(order - power) - 1) / 2,
                RingKind::Standard => (power - 1) / 4,
            };
            slot_of[k] = j as u32;
            power = power * 5 % order;
        }
        match params.shape().kind() {
            RingKind::ConjugateInvariant => {
                // Makhoul's order: even samples forwards, then odd ones backwards.
                let sample = |m: usize| if m < h { 2 * m } else { 2 * (n - 1 - m) + 1 };
                let slots = (0..h)
                    .map(|i| 2 * fft.reversed(i))
                    .map(|m| (slot_of[sample(m)], slot_of[sample(m + 1)]))
                    .collect();
                let twist = (0..=h).map(|m| root(m, n)).collect();
                let quarter = (0..=h).map(|m| root(m, 4 * n)).collect();
                Self { params: params.clone(), fft, slots, twist, quarter }
            }
            RingKind::Standard => {
                let slots = (0..h).map(|i| slot_of[fft.reversed(i)]).map(|s| (s, s)).collect();
                let twist = (0..h).map(|m| root(m, 2 * n)).collect();
                Self { params: params.clone(), fft, slots, twist, quarter: Vec::new() }
            }
        }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The plaintext of real `values` (missing ones are 0) at `level` with `scale`.
    ///
    /// # Errors
    /// [`HeError::TooManyValues`], [`HeError::Scale`], [`HeError::Level`], or [`HeError::Overflow`] for values that
    /// are not finite or do not fit the modulus or 62 bits.
    pub fn encode(&self, values: &[f64], level: usize, scale: f64) -> Result<Plaintext, HeError> {
        let basis = &self.params.level("encode", level)?.q;
        self.plaintext(&self.coefficients(values, &[], scale)?, basis, level, scale)
    }

    /// As [`Encoder::encode`], known modulo the special primes too: for products before a division by P.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_extended(
        &self,
        values: &[f64],
        level: usize,
        scale: f64,
    ) -> Result<ExtendedPlaintext, HeError> {
        self.params.level("encode", level)?;
        let coefficients = self.coefficients(values, &[], scale)?;
        self.fits(&coefficients, level)?;
        ExtendedPlaintext::new(&self.params, &coefficients, level, scale)
    }

    /// As [`Encoder::encode`] or, if so said, [`Encoder::encode_extended`], its transforms left for later.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_compact(
        &self,
        values: &[f64],
        level: usize,
        scale: f64,
        extended: bool,
    ) -> Result<CompactPlaintext, HeError> {
        self.params.level("encode", level)?;
        let coefficients = self.coefficients(values, &[], scale)?;
        self.fits(&coefficients, level)?;
        Ok(CompactPlaintext::new(coefficients, extended, level, scale, self.params.id()))
    }

    /// The plaintext of complex values `re` + i·`im` (missing ones are 0). In the conjugate-invariant ring `im`
    /// must be empty.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_complex(
        &self,
        re: &[f64],
        im: &[f64],
        level: usize,
        scale: f64,
    ) -> Result<Plaintext, HeError> {
        let basis = &self.params.level("encode", level)?.q;
        self.plaintext(&self.coefficients(re, im, scale)?, basis, level, scale)
    }

    fn plaintext(
        &self,
        coefficients: &[i64],
        basis: &Basis,
        level: usize,
        scale: f64,
    ) -> Result<Plaintext, HeError> {
        self.fits(coefficients, level)?;
        let poly = transformed(coefficients, basis);
        Ok(Plaintext { poly, level, scale, id: self.params.id() })
    }

    /// Refuses coefficients that do not fit the modulus of `level`, which must exist.
    pub(super) fn fits(&self, coefficients: &[i64], level: usize) -> Result<(), HeError> {
        let largest = coefficients.iter().map(|c| c.unsigned_abs()).max().unwrap_or(0);
        let q = &self.params.level_data(level).q;
        let modulus = q.moduli().map(|m| m.value() as f64).product::<f64>();
        if 2.0 * largest as f64 >= modulus {
            let bits = 65 - largest.leading_zeros();
            return Err(HeError::Overflow { bits, max: modulus.log2() as u32 });
        }
        Ok(())
    }

    /// The n integer coefficients round(scale·inverse embedding) of slots `re` + i·`im`.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn coefficients(&self, re: &[f64], im: &[f64], scale: f64) -> Result<Vec<i64>, HeError> {
        check_scale("encode", scale)?;
        let real = self.params.shape().kind() == RingKind::ConjugateInvariant;
        for (part, slots) in [(re, self.params.slots()), (im, if real { 0 } else { self.params.slots() })] {
            if part.len() > slots {
                return Err(HeError::TooManyValues { found: part.len(), slots });
            }
        }
        let slot = |v: &[f64], j: u32| v.get(j as usize).copied().unwrap_or(0.0);
        let (mut x, mut y): (Vec<f64>, Vec<f64>) = self
            .slots
            .iter()
            .map(|&(i, j)| (slot(re, i), if real { slot(re, j) } else { slot(im, j) }))
            .unzip();
        self.fft.run(&mut x, &mut y);
        let mut out = vec![0.0; self.params.n()];
        match self.params.shape().kind() {
            RingKind::ConjugateInvariant => self.cosine_coefficients(&x, &y, scale, &mut out),
            RingKind::Standard => {
                let unit = 1.0 / x.len() as f64;
                let (low, high) = out.split_at_mut(x.len());
                for (((&x, &y), &(c, s)), (low, high)) in
                    x.iter().zip(&y).zip(&self.twist).zip(low.iter_mut().zip(high))
                {
                    *low = (x * c - y * s) * unit * scale;
                    *high = (x * s + y * c) * unit * scale;
                }
            }
        }
        round(&out)
    }

    /// From Z_m, the transform of z_k = v_2k + i·v_{2k+1}, to a_m = Re W_m/n and a_{n−m} = −Im W_m/n, where
    /// W_m = e^(−πim/2n)·V_m and V is the transform of v.
    fn cosine_coefficients(&self, x: &[f64], y: &[f64], scale: f64, out: &mut [f64]) {
        let (h, n) = (x.len(), 2 * x.len());
        let unit = 1.0 / n as f64;
        for m in 0..=h {
            let (zr, zi) = (x[m % h], y[m % h]);
            let (wr, wi) = (x[(h - m) % h], -y[(h - m) % h]);
            let (er, ei) = ((zr + wr) * 0.5, (zi + wi) * 0.5);
            // (Z_m − conj Z_{h−m})/2i
            let (or, oi) = ((zi - wi) * 0.5, (wr - zr) * 0.5);
            let (c, s) = self.twist[m];
            let (vr, vi) = (er + or * c - oi * s, ei + or * s + oi * c);
            let (c, s) = self.quarter[m];
            out[m] = (vr * c - vi * s) * unit * scale;
            if m > 0 && m < h {
                out[n - m] = -(vr * s + vi * c) * unit * scale;
            }
        }
    }

    /// The slots of a plaintext: their real parts.
    ///
    /// # Errors
    /// As [`Encoder::decode_complex`].
    pub fn decode(&self, pt: &Plaintext) -> Result<Vec<f64>, HeError> {
        Ok(self.decode_complex(pt)?.0)
    }

    /// The slots of a plaintext, real and imaginary parts; the latter is empty in the conjugate-invariant ring.
    ///
    /// Coefficients must be below half the product of the first limbs that together stay below 2^126.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`].
    pub fn decode_complex(&self, pt: &Plaintext) -> Result<(Vec<f64>, Vec<f64>), HeError> {
        check_id(&self.params.id(), &pt.id, "plaintext")?;
        let mut poly = pt.poly.clone();
        let (mut product, mut limbs) = (1.0, 0);
        for m in poly.basis().moduli() {
            product *= m.value() as f64;
            limbs += usize::from(product < 2f64.powi(125));
        }
        poly.keep_limbs(limbs);
        let mut integers = vec![0i128; self.params.n()];
        poly.into_coeff().lift_centred_i128(&mut integers)?;
        let a: Vec<f64> = integers.iter().map(|&a| a as f64 / pt.scale).collect();
        Ok(self.embed(&a))
    }

    /// The largest absolute value of a slot of a secret element; intermediate values are wiped, and the time does
    /// not depend on the coefficients.
    pub(crate) fn largest_slot(&self, coefficients: &[i64]) -> f64 {
        let a = Secret::new(coefficients.iter().map(|&a| a as f64).collect::<Vec<_>>());
        let (re, im) = self.embed(a.expose());
        let (re, im) = (Secret::new(re), Secret::new(im));
        let square = |j: usize| {
            let im = im.expose().get(j).copied().unwrap_or(0.0);
            re.expose()[j] * re.expose()[j] + im * im
        };
        (0..re.expose().len()).map(square).fold(0.0, f64::max).sqrt()
    }

    /// The slots of real coefficients `a`.
    fn embed(&self, a: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let h = a.len() / 2;
        let n = a.len();
        let (mut x, mut y) = (vec![0.0; h], vec![0.0; h]);
        match self.params.shape().kind() {
            RingKind::ConjugateInvariant => {
                // V_m = n·e^(πim/2n)·(a_m − i·a_{n−m}), with a_n := 0; Z_m from V_m and V_{h−m}.
                let v = |m: usize| {
                    let (c, s) = self.quarter[m];
                    let (p, q) = (a[m], if m == 0 { 0.0 } else { -a[n - m] });
                    (p * c + q * s, q * c - p * s)
                };
                for (i, (x, y)) in x.iter_mut().zip(&mut y).enumerate() {
                    let m = self.fft.reversed(i);
                    let ((vr, vi), (wr, wi)) = (v(m), v(h - m));
                    let wi = -wi;
                    let (er, ei) = (vr + wr, vi + wi);
                    let (dr, di) = (vr - wr, vi - wi);
                    // i·e^(2πim/n)·(V_m − conj V_{h−m})
                    let (c, s) = self.twist[m];
                    let (or, oi) = (dr * c + di * s, di * c - dr * s);
                    // n/2 of the definition over the 1/h of the inverse transform: nothing is left to scale.
                    *x = er - oi;
                    *y = ei + or;
                }
                self.fft.run(&mut y, &mut x);
                let mut re = vec![0.0; n];
                for (k, &(i, j)) in (0..h).map(|k| (k, &self.slots[self.fft.reversed(k)])) {
                    re[i as usize] = x[k];
                    re[j as usize] = y[k];
                }
                x.zeroize();
                y.zeroize();
                (re, Vec::new())
            }
            RingKind::Standard => {
                for (i, (x, y)) in x.iter_mut().zip(&mut y).enumerate() {
                    let m = self.fft.reversed(i);
                    let (c, s) = self.twist[m];
                    *x = a[m] * c + a[m + h] * s;
                    *y = a[m + h] * c - a[m] * s;
                }
                self.fft.run(&mut y, &mut x);
                let (mut re, mut im) = (vec![0.0; h], vec![0.0; h]);
                for k in 0..h {
                    let slot = self.slots[self.fft.reversed(k)].0 as usize;
                    (re[slot], im[slot]) = (x[k], y[k]);
                }
                x.zeroize();
                y.zeroize();
                (re, im)
            }
        }
    }
}

/// Nearest integers, ties to even.
fn round(x: &[f64]) -> Result<Vec<i64>, HeError> {
    /// 1.5·2^52: adding it rounds |x| < 2^51 to an integer kept in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    if x.iter().any(|v| !v.is_finite()) {
        return Err(HeError::Overflow { bits: 0, max: 63 });
    }
    let largest = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest < 2f64.powi(51) {
        return Ok(x.iter().map(|v| (v + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i64).collect());
    }
    if largest < 2f64.powi(62) {
        return Ok(x.iter().map(|v| v.round_ties_even() as i64).collect());
    }
    Err(HeError::Overflow { bits: largest.log2() as u32 + 2, max: 63 })
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("params", &self.params).finish_non_exhaustive()
    }
}
