//! What operations cost, in nanoseconds of one thread.

use oblivia_pack::Schedule;

/// Unit costs of one ring and level, per limb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// A transform.
    ntt: f64,
    /// A multiply-accumulate whose operands are in cache.
    mac: f64,
    /// A multiply-accumulate that streams a row of a key or plaintext from memory.
    stream: f64,
    /// Reordering a row by an automorphism.
    permute: f64,
    /// Live limbs, special limbs, digits.
    limbs: f64,
    special: f64,
    digits: f64,
    slots: f64,
}

/// What the cost of keys is spread over.
const SAMPLES_PER_KEY: f64 = 100.0;

impl Units {
    /// At `level` of a chain with `alpha` limbs per digit and `special` special primes.
    pub(super) fn at(log_n: u32, level: usize, alpha: usize, special: usize) -> Self {
        let n = f64::from(1u32 << log_n) / 8192.0;
        Self {
            // Measured at n = 8192 on one core with AVX-512 IFMA.
            ntt: 8_500.0 * n * f64::from(log_n) / 13.0,
            mac: 900.0 * n,
            stream: 2_600.0 * n,
            permute: 1_500.0 * n,
            limbs: level as f64,
            special: special as f64,
            digits: level.div_ceil(alpha.max(1)) as f64,
            slots: f64::from(1u32 << log_n),
        }
    }

    fn all(&self) -> f64 {
        self.limbs + self.special
    }

    /// Nanoseconds per byte of a gigabit link.
    const LINK: f64 = 8.0;

    /// An input ciphertext: made, sent, expanded.
    pub(super) fn input(&self) -> f64 {
        self.limbs * (4.0 * self.ntt + 8.0 * self.stream) + self.bytes(1.0) * Self::LINK
    }

    /// The key of a rotation, made and sent once and used for [`SAMPLES_PER_KEY`] samples.
    pub(super) fn key(&self) -> f64 {
        self.bytes(self.digits) * (1.0 + self.special / self.limbs) * Self::LINK / SAMPLES_PER_KEY
    }

    /// Bytes of `rows` seeded elements over all data limbs, 30 bits a residue.
    fn bytes(&self, rows: f64) -> f64 {
        rows * self.limbs * self.slots * 30.0 / 8.0
    }

    /// The sum of products with a key, and reordering its two halves.
    fn switch(&self) -> f64 {
        self.all() * 2.0 * (self.digits * self.stream + self.permute)
    }

    /// A rotation with a decomposition of its own.
    pub(super) fn rotation(&self) -> f64 {
        self.all() * (self.digits + 2.0) * self.ntt + self.switch()
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
        let rotation = self.all() * (self.digits + 1.0) * self.ntt + self.switch();
        hoisted * self.digits * self.all() * self.ntt
            + babies * (self.switch() + 2.0 * self.limbs * self.mac)
            + schedule.plains() as f64 * self.all() * (self.stream + 2.0 * self.mac)
            + others as f64 * rotation
            + schedule.outputs.len() as f64 * 2.0 * self.all() * self.ntt
    }
}
