//! What a run costs: bytes, rounds and homomorphic operations, declared by a plan and measured by a run.

use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use serde::Serialize;
use std::ops::AddAssign;

/// A part of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// Hello, public model, plan, keys: once per session.
    #[default]
    Setup,
    /// Independent of the input; may run ahead.
    Offline,
    /// Depends on the input.
    Online,
}

/// Traffic of one phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Traffic {
    /// Bytes from the client, header and body before TLS.
    pub up_bytes: u64,
    /// Bytes to the client, header and body before TLS.
    pub down_bytes: u64,
    /// Direction changes.
    pub rounds: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, o: Self) {
        self.up_bytes += o.up_bytes;
        self.down_bytes += o.down_bytes;
        self.rounds += o.rounds;
    }
}

impl Traffic {
    /// The traffic since an earlier reading of the same meter.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            up_bytes: self.up_bytes.saturating_sub(earlier.up_bytes),
            down_bytes: self.down_bytes.saturating_sub(earlier.down_bytes),
            rounds: self.rounds.saturating_sub(earlier.rounds),
        }
    }

    /// `times` times this traffic, saturating.
    pub fn times(self, times: u64) -> Self {
        Self {
            up_bytes: self.up_bytes.saturating_mul(times),
            down_bytes: self.down_bytes.saturating_mul(times),
            rounds: self.rounds.saturating_mul(times),
        }
    }
}

/// Traffic of all phases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PhaseTraffic {
    /// Once per session.
    pub setup: Traffic,
    /// Ahead of the input.
    pub offline: Traffic,
    /// With the input.
    pub online: Traffic,
}

impl PhaseTraffic {
    /// The traffic of one phase, for writing.
    pub fn phase_mut(&mut self, phase: Phase) -> &mut Traffic {
        match phase {
            Phase::Setup => &mut self.setup,
            Phase::Offline => &mut self.offline,
            Phase::Online => &mut self.online,
        }
    }

    /// Bytes of all phases, both ways, saturating.
    pub fn total_bytes(&self) -> u64 {
        let phases = [self.setup, self.offline, self.online];
        phases.iter().flat_map(|t| [t.up_bytes, t.down_bytes]).fold(0, u64::saturating_add)
    }
}

/// Homomorphic operations, as counted by circuits before they run and by evaluators while they run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OpCounts {
    /// Slot rotations with their own decomposition.
    pub rotations: u64,
    /// Slot rotations that share a decomposition (hoisted).
    pub hoisted: u64,
    /// Ciphertext × ciphertext products, squares included.
    pub ct_mul: u64,
    /// Plaintext × ciphertext products.
    pub pt_mul: u64,
    /// Integer scalar × ciphertext products.
    pub scalar_mul: u64,
    /// Ciphertext and plaintext additions.
    pub add: u64,
    /// Relinearisations.
    pub relin: u64,
    /// Rescales.
    pub rescale: u64,
    /// Number-theoretic transforms of one limb, both directions.
    pub ntt: u64,
}

impl OpCounts {
    /// Homomorphic operations in the sense of the literature: rotations (hoisted too), products and
    /// additions; relinearisations and rescales belong to the products.
    pub fn homomorphic(&self) -> u64 {
        self.rotations + self.hoisted + self.ct_mul + self.pt_mul + self.scalar_mul + self.add
    }

    fn fields(&self) -> [u64; 9] {
        let Self { rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt } = *self;
        [rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt]
    }

    /// `times` times these counts, saturating.
    pub fn times(self, times: u64) -> Self {
        let [rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt] =
            self.fields().map(|v| v.saturating_mul(times));
        Self { rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt }
    }
}

impl AddAssign for OpCounts {
    fn add_assign(&mut self, o: Self) {
        self.rotations += o.rotations;
        self.hoisted += o.hoisted;
        self.ct_mul += o.ct_mul;
        self.pt_mul += o.pt_mul;
        self.scalar_mul += o.scalar_mul;
        self.add += o.add;
        self.relin += o.relin;
        self.rescale += o.rescale;
        self.ntt += o.ntt;
    }
}

/// What a plan declares: traffic of the system's messages and operations on the server.
///
/// The messages that agree on the plan (hello, offer, accept, done) are the session's and are added by
/// [`crate::session::agreement_traffic`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Cost {
    /// Once per session: keys.
    pub setup: Traffic,
    /// Per sample, ahead of the input.
    pub offline: Traffic,
    /// Per sample.
    pub online: Traffic,
    /// Operations on the server, per sample.
    pub ops: OpCounts,
}

impl Cost {
    /// The system's traffic for `samples` samples.
    pub fn traffic(&self, samples: u64) -> PhaseTraffic {
        PhaseTraffic {
            setup: self.setup,
            offline: self.offline.times(samples),
            online: self.online.times(samples),
        }
    }
}

impl Encode for Traffic {
    fn encode(&self, w: &mut Writer) {
        for v in [self.up_bytes, self.down_bytes, self.rounds] {
            w.u64(v);
        }
    }
}

impl Decode for Traffic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { up_bytes: r.u64("bytes up")?, down_bytes: r.u64("bytes down")?, rounds: r.u64("rounds")? })
    }
}

impl Encode for Cost {
    fn encode(&self, w: &mut Writer) {
        for t in [self.setup, self.offline, self.online] {
            t.encode(w);
        }
        for v in self.ops.fields() {
            w.u64(v);
        }
    }
}
