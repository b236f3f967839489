//! What operations cost, in nanoseconds of one thread.

use oblivia_pack::Schedule;

/// Unit costs of one ring and level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// A transform of one limb.
    ntt: f64,
    /// A multiply-accumulate of one limb, operands streamed.
    mac: f64,
    /// Live limbs, special limbs, digits.
    limbs: f64,
    special: f64,
    digits: f64,
}

impl Units {
    /// At `level` of a chain with `alpha` limbs per digit and `special` special primes.
    pub(super) fn at(log_n: u32, level: usize, alpha: usize, special: usize) -> Self {
        let n = f64::from(1u32 << log_n);
        Self {
            // Measured at n = 8192 on one core with AVX-512 IFMA: 8.5 µs and 0.7 µs.
            ntt: 8_500.0 * n / 8192.0 * f64::from(log_n) / 13.0,
            mac: 700.0 * n / 8192.0,
            limbs: level as f64,
            special: special as f64,
            digits: level.div_ceil(alpha.max(1)) as f64,
        }
    }

    fn all(&self) -> f64 {
        self.limbs + self.special
    }

    /// A rotation with a decomposition of its own.
    pub(super) fn rotation(&self) -> f64 {
        self.all() * ((self.digits + 2.0) * self.ntt + 2.0 * self.digits * self.mac)
    }

    /// A square with relinearisation and rescale.
    pub(super) fn square(&self) -> f64 {
        self.rotation() + 3.0 * self.limbs * self.mac
    }

    /// Sums of scalar products over tap vectors, stacked.
    pub(super) fn taps(&self, taps: usize, maps: usize) -> f64 {
        let products = (taps * maps) as f64 * 2.0 * self.limbs * self.mac;
        products + (maps as f64 - 1.0) * self.rotation() + 2.0 * self.limbs * self.ntt
    }

    /// A matrix product by diagonals (cookbook §4).
    pub(super) fn linear(&self, schedule: &Schedule) -> f64 {
        let babies: f64 = schedule.babies.iter().map(|b| b.iter().filter(|&&b| b != 0).count() as f64).sum();
        let hoisted = schedule.babies.iter().filter(|b| b.iter().any(|&b| b != 0)).count() as f64;
        let (_, others) = schedule.rotations();
        let rotation = self.all() * ((self.digits + 1.0) * self.ntt + 2.0 * self.digits * self.mac);
        hoisted * self.digits * self.all() * self.ntt
            + babies * 2.0 * (self.digits + 1.0) * self.all() * self.mac
            + schedule.plains() as f64 * 2.0 * self.all() * self.mac
            + others as f64 * rotation
            + schedule.outputs.len() as f64 * 2.0 * self.all() * self.ntt
    }
}
