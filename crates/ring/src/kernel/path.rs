use std::sync::atomic::{AtomicU8, Ordering};

/// Which implementation of the kernels runs. Results are equal bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Path {
    /// Plain Rust, any machine. The compiler vectorises it for the baseline of the target.
    Portable,
    /// x86-64 with AVX2 and BMI2: the portable code compiled for them, for the kernels that gain from it.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW, VL, IFMA, VBMI and VBMI2 (Ice Lake, Zen 4 and later).
    Avx512Ifma,
}

/// 0: not chosen yet; else the path plus one.
static ACTIVE: AtomicU8 = AtomicU8::new(0);

impl Path {
    /// The paths this machine can run, slowest first.
    pub fn available() -> &'static [Path] {
        const ALL: [Path; 3] = [Path::Portable, Path::Avx2, Path::Avx512Ifma];
        match (has_avx2(), has_avx512_ifma()) {
            (true, true) => &ALL,
            (true, false) => &ALL[..2],
            (false, _) => &ALL[..1],
        }
    }

    /// The path in use: the fastest available, unless [`Path::select`] chose another.
    #[inline]
    pub fn active() -> Path {
        match ACTIVE.load(Ordering::Relaxed) {
            1 => Path::Portable,
            2 => Path::Avx2,
            3 => Path::Avx512Ifma,
            _ => Self::detect(),
        }
    }

    #[cold]
    fn detect() -> Path {
        let path = Self::available().last().copied().unwrap_or(Path::Portable);
        path.store();
        path
    }

    /// Makes this the path of the whole process, for tests and benchmarks; `false`, and no change, if the
    /// machine cannot run it. Safe at any time: all paths give the same results.
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
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_ifma() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f")
        && has!("avx512dq")
        && has!("avx512bw")
        && has!("avx512vl")
        && has!("avx512ifma")
        && has!("avx512vbmi")
        && has!("avx512vbmi2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512_ifma() -> bool {
    false
}
