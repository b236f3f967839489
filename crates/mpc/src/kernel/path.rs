use std::sync::atomic::{AtomicU8, Ordering};

/// Which implementation of the kernels runs. Results are equal bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// Any machine: AES of the `aes` crate, carry-less products from integer products.
    Portable,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VAES, VPCLMULQDQ, GFNI and BMI2 (Ice Lake, Zen 4 and later).
    Vaes,
}

/// 0: not chosen yet; else the path plus one.
static ACTIVE: AtomicU8 = AtomicU8::new(0);

impl Path {
    /// The paths this machine can run, slowest first.
    pub fn available() -> &'static [Path] {
        const ALL: [Path; 2] = [Path::Portable, Path::Vaes];
        if has_vaes() { &ALL } else { &ALL[..1] }
    }

    /// The path in use: the fastest available, unless [`Path::select`] chose another.
    #[inline]
    pub fn active() -> Path {
        match ACTIVE.load(Ordering::Relaxed) {
            1 => Path::Portable,
            2 => Path::Vaes,
            _ => Self::detect(),
        }
    }

    #[cold]
    fn detect() -> Path {
        let path = Self::available().last().copied().unwrap_or(Path::Portable);
        path.store();
        path
    }

    /// Makes this the path of the whole process, for tests and benchmarks; `false`, and no change, if the machine
    /// cannot run it. Safe at any time: all paths give the same results.
    pub fn select(self) -> bool {
        let possible = Self::available().contains(&self);
        if possible {
            self.store();
        }
        possible
    }

    fn store(self) {
        ACTIVE.store(self as u8 + 1, Ordering::Relaxed);
    }
}

#[cfg(target_arch = "x86_64")]
fn has_vaes() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f")
        && has!("avx512bw")
        && has!("avx512dq")
        && has!("avx512vl")
        && has!("aes")
        && has!("vaes")
        && has!("pclmulqdq")
        && has!("vpclmulqdq")
        && has!("gfni")
        && has!("bmi2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_vaes() -> bool {
    false
}
