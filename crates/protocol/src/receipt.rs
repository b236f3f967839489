//! What happened, for people and for machines.

use crate::allowance::Allowance;
use crate::cost::{AheadUse, OpCounts, PhaseTraffic, Traffic};
use crate::keys::KeyUse;
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

/// The evaluation keys of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct KeyReceipt {
    /// Sent, reused, or none.
    pub how: KeyUse,
    /// Bytes of keys sent in this session.
    pub sent_bytes: u64,
}

impl KeyReceipt {
    /// Of a session under `plan`.
    pub fn of(plan: &Plan, how: KeyUse) -> Self {
        Self { how, sent_bytes: if how == KeyUse::Sent { plan.key_bytes } else { 0 } }
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
    /// How the server came by the client's evaluation keys, and what that moved.
    pub keys: KeyReceipt,
    /// Where what is made ahead of images came from, or went.
    pub ahead: AheadUse,
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
    /// What is left of the client's tightest budget, where the server has budgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowance: Option<Allowance>,
    /// How far the word of the other side is trusted, e.g. "semi-honest server, TLS 1.3 pinned".
    pub assurance: String,
}

impl Receipt {
    /// The current shape.
    pub const SCHEMA: u32 = 1;

    /// The traffic the plan declared for keys and packs as they were used, agreement included.
    pub fn declared(&self) -> PhaseTraffic {
        let mut t = self.plan.cost.traffic_with(self.keys.how, self.ahead, self.samples);
        t.setup += self.agreement;
        t
    }

    /// Whether measured traffic equals declared traffic.
    pub fn as_declared(&self) -> bool {
        self.declared() == self.traffic
    }
}
