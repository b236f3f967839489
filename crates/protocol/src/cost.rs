//! What a run costs: bytes, rounds and homomorphic operations, declared by a plan and measured by a run.

use crate::keys::KeyUse;
pub use oblivia_base::OpCounts;
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
        self.up_bytes = self.up_bytes.saturating_add(o.up_bytes);
        self.down_bytes = self.down_bytes.saturating_add(o.down_bytes);
        self.rounds = self.rounds.saturating_add(o.rounds);
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
        [self.setup, self.offline, self.online]
            .iter()
            .fold(0u64, |sum, t| sum.saturating_add(t.up_bytes).saturating_add(t.down_bytes))
    }
}

/// What a plan declares: traffic of the system's messages and operations on the server.
///
/// The messages that agree on the plan (hello, offer, accept) are the session's and are added by
/// [`crate::session::agreement_traffic`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Cost {
    /// Samples that are predicted together, 1 or more: what follows is per group of so many. A group with fewer samples
    /// costs the same.
    pub group: u32,
    /// Once per session, with keys sent.
    pub setup: Traffic,
    /// Once per session where the server still has the client's keys; where there are none, as `setup`.
    pub setup_reused: Traffic,
    /// Per group, ahead of the input.
    pub offline: Traffic,
    /// Per group.
    pub online: Traffic,
    /// Operations on the server, per group.
    pub ops: OpCounts,
    /// Where what is made ahead of a group can be kept for a later session.
    pub ahead: Option<AheadCost>,
}

/// What is different where offline material is made in one session and used in another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct AheadCost {
    /// Setup of a session that looks for packs and then makes what some of its groups lack.
    pub setup_some: Traffic,
    /// Setup of a session all of whose groups have their pack. No group has offline traffic then.
    pub setup_all: Traffic,
    /// Setup of a session that makes packs and predicts nothing; offline traffic per pack comes on top.
    pub setup_make: Traffic,
    /// Bytes of a pack, at either side.
    pub pack_bytes: u64,
}

/// Where the offline material of a session came from, or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum AheadUse {
    /// Made in the session that used it, or there is none.
    #[default]
    None,
    /// Packs were looked for: so many groups used one, whose offline cost an earlier session has paid.
    Used {
        /// Groups that used one.
        groups: u64,
    },
    /// Made and kept; nothing was predicted.
    Made {
        /// Packs.
        groups: u64,
    },
}

impl Default for Cost {
    /// Nothing, sample by sample.
    fn default() -> Self {
        Self {
            group: 1,
            setup: Traffic::default(),
            setup_reused: Traffic::default(),
            offline: Traffic::default(),
            online: Traffic::default(),
            ops: OpCounts::default(),
            ahead: None,
        }
    }
}

impl Cost {
    /// Groups that `samples` samples take.
    pub fn groups(&self, samples: u64) -> u64 {
        samples.div_ceil(u64::from(self.group.max(1)))
    }

    /// The system's traffic for `samples` samples, keys sent and nothing made ahead of the session.
    pub fn traffic(&self, samples: u64) -> PhaseTraffic {
        self.traffic_with(KeyUse::Sent, AheadUse::None, samples)
    }

    /// The system's traffic for `samples` samples, by how the server came by the keys and where offline material came from.
    pub fn traffic_with(&self, keys: KeyUse, ahead: AheadUse, samples: u64) -> PhaseTraffic {
        let groups = self.groups(samples);
        let setup = if keys == KeyUse::Reused { self.setup_reused } else { self.setup };
        let online = self.online.times(groups);
        match (ahead, &self.ahead) {
            (AheadUse::None, _) | (_, None) => {
                PhaseTraffic { setup, offline: self.offline.times(groups), online }
            }
            (AheadUse::Used { groups: used }, Some(of)) => PhaseTraffic {
                setup: if used >= groups { of.setup_all } else { of.setup_some },
                offline: self.offline.times(groups.saturating_sub(used)),
                online,
            },
            (AheadUse::Made { groups }, Some(of)) => PhaseTraffic {
                setup: of.setup_make,
                offline: self.offline.times(groups),
                online: Traffic::default(),
            },
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

/// All but the group and what is ahead, which a plan's digest takes beside it where they are not the usual.
impl Encode for Cost {
    fn encode(&self, w: &mut Writer) {
        for t in [self.setup, self.setup_reused, self.offline, self.online] {
            t.encode(w);
        }
        for v in self.ops.fields() {
            w.u64(v);
        }
    }
}

impl Encode for AheadCost {
    fn encode(&self, w: &mut Writer) {
        for t in [self.setup_some, self.setup_all, self.setup_make] {
            t.encode(w);
        }
        w.u64(self.pack_bytes);
    }
}
