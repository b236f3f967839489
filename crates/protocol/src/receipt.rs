//! What happened, for people and for machines.

use crate::cost::{OpCounts, PhaseTraffic, Traffic};
use crate::plan::Plan;
use serde::Serialize;

/// Seconds by phase, as the watcher measured them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Seconds {
    /// Connecting, agreeing, keys.
    pub setup: f64,
    /// Ahead of the inputs.
    pub offline: f64,
    /// With the inputs.
    pub online: f64,
}

impl Seconds {
    /// All phases.
    pub fn total(&self) -> f64 {
        self.setup + self.offline + self.online
    }
}

/// The record of one session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Receipt {
    /// Version of this record's shape.
    pub schema: u32,
    /// Name of the model.
    pub model: String,
    /// The plan.
    pub plan: Plan,
    /// Identifies the plan.
    pub plan_id: String,
    /// Samples predicted.
    pub samples: u64,
    /// Traffic of agreeing, as declared.
    pub agreement: Traffic,
    /// Everything that was really sent, agreement included.
    pub traffic: PhaseTraffic,
    /// Operations this role did.
    pub ops: OpCounts,
    /// Time.
    pub seconds: Seconds,
    /// Threads used for computing.
    pub threads: usize,
    /// How far the word of the other side is trusted, e.g. "semi-honest server, TLS 1.3 pinned".
    pub assurance: String,
}

impl Receipt {
    /// The current shape.
    pub const SCHEMA: u32 = 1;

    /// The traffic the plan declared, agreement included.
    pub fn declared(&self) -> PhaseTraffic {
        let mut t = self.plan.cost.traffic(self.samples);
        t.setup += self.agreement;
        t
    }

    /// Whether measured traffic equals declared traffic.
    pub fn as_declared(&self) -> bool {
        self.declared() == self.traffic
    }
}
