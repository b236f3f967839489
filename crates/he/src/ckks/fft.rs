//! A complex fast Fourier transform of power-of-two length in double precision.

use std::f64::consts::PI;

/// e^(−2πi·j/n) as (cos, sin), the argument first reduced to the first octant, where both are most accurate.
pub(super) fn root(j: usize, n: usize) -> (f64, f64) {
    let j = j % n;
    // Eighths of a turn: angle 2πj/n = octant·π/4 + rest.
    let (octant, rest) = (8 * j / n, 8 * j % n);
    let angle = |r: usize| PI / 4.0 * (r as f64 / n as f64);
    let (c, s) = match octant {
        0 => (angle(rest).cos(), angle(rest).sin()),
        1 => (angle(n - rest).sin(), angle(n - rest).cos()),
        2 => (-angle(rest).sin(), angle(rest).cos()),
        3 => (-angle(n - rest).cos(), angle(n - rest).sin()),
        4 => (-angle(rest).cos(), -angle(rest).sin()),
        5 => (-angle(n - rest).sin(), -angle(n - rest).cos()),
        6 => (angle(rest).sin(), -angle(rest).cos()),
        _ => (angle(n - rest).cos(), -angle(n - rest).sin()),
    };
    (c, -s)
}

/// Twiddles for one length.
pub(super) struct Fft {
    len: usize,
    /// Stage with half-length t, t = 2, 4, …: (cos, sin) of e^(−2πi·j/2t), j < t.
    stages: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Fft {
    /// For `len` values, a power of two.
    pub(super) fn new(len: usize) -> Self {
        let mut stages = Vec::new();
        let mut t = 2;
        while t < len {
            stages.push((0..t).map(|j| root(j, 2 * t)).unzip());
            t *= 2;
        }
        Self { len, stages }
    }

    /// Position `i` in bit-reversed order.
    pub(super) fn reversed(&self, i: usize) -> usize {
        if self.len == 1 { 0 } else { i.reverse_bits() >> (usize::BITS - self.len.ilog2()) }
    }

    /// X_k = Σ_j x_j e^(−2πi·jk/len), in place: x in bit-reversed order, X in natural order. Handing over the two
    /// parts swapped gives the transform with the opposite sign.
    pub(super) fn run(&self, re: &mut [f64], im: &mut [f64]) {
        assert!(re.len() == self.len && im.len() == self.len, "transform of another length");
        for part in [&mut *re, &mut *im] {
            for pair in part.as_chunks_mut::<2>().0 {
                let [a, b] = *pair;
                *pair = [a + b, a - b];
            }
        }
        for (cos, sin) in &self.stages {
            let t = cos.len();
            for (re, im) in re.chunks_exact_mut(2 * t).zip(im.chunks_exact_mut(2 * t)) {
                let (re0, re1) = re.split_at_mut(t);
                let (im0, im1) = im.split_at_mut(t);
                let twiddles = cos.iter().zip(sin);
                for (((c, s), (a, b)), (x, y)) in
                    twiddles.zip(re0.iter_mut().zip(im0)).zip(re1.iter_mut().zip(im1))
                {
                    let (u, v) = (*x * c - *y * s, *x * s + *y * c);
                    (*x, *y) = (*a - u, *b - v);
                    (*a, *b) = (*a + u, *b + v);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_the_sum_that_defines_it() {
        for len in [1usize, 2, 4, 8, 32] {
            let fft = Fft::new(len);
            let x: Vec<(f64, f64)> =
                (0..len).map(|i| ((i * i % 7) as f64 - 2.5, (i * 5 % 3) as f64 + 0.25)).collect();
            let (mut re, mut im): (Vec<_>, Vec<_>) = (0..len).map(|i| x[fft.reversed(i)]).unzip();
            fft.run(&mut re, &mut im);
            for k in 0..len {
                let (mut a, mut b) = (0.0, 0.0);
                for (j, &(u, v)) in x.iter().enumerate() {
                    let angle = -2.0 * PI * (j * k) as f64 / len as f64;
                    a += u * angle.cos() - v * angle.sin();
                    b += u * angle.sin() + v * angle.cos();
                }
                assert!((a - re[k]).abs() < 1e-11 && (b - im[k]).abs() < 1e-11, "{len} {k}");
            }
        }
    }

    #[test]
    fn roots_of_unity_are_right_in_every_octant() {
        for j in 0..48 {
            let (c, s) = root(j, 48);
            let angle = -2.0 * PI * j as f64 / 48.0;
            assert!((c - angle.cos()).abs() < 1e-15 && (s - angle.sin()).abs() < 1e-15, "{j}");
        }
    }
}
