//! Declared cost equals measured cost.

use crate::Pair;
use oblivia_protocol::{AheadUse, OpCounts};

/// Checks bytes, rounds and operations of a finished session on both sides.
pub fn check(pair: &Pair) {
    let r = &pair.client.receipt;
    assert_eq!(r.traffic, r.declared(), "the client measured what the plan declared");
    assert_eq!(pair.server.traffic, r.declared(), "the server measured what the plan declared");
    if let AheadUse::Made { .. } = r.ahead {
        assert_eq!((pair.server.ops, pair.client.samples.len()), (OpCounts::default(), 0));
        assert!(r.as_declared() && pair.server.ahead == r.ahead);
        return;
    }
    assert_eq!(pair.server.ahead, r.ahead, "both sides used the same packs");
    assert_eq!(
        pair.server.ops,
        r.plan.cost.ops.times(r.plan.cost.groups(r.samples)),
        "operations as declared"
    );
    assert!(r.as_declared());
    assert_eq!(pair.client.samples.len() as u64, r.plan.cost.groups(r.samples), "a record for every group");
    let per_sample: u64 = pair.client.samples.iter().map(|s| s.traffic.up_bytes + s.traffic.down_bytes).sum();
    assert_eq!(per_sample, r.traffic.online.up_bytes + r.traffic.online.down_bytes);
    assert_eq!(pair.client.receipt.plan.digest(), pair.server.plan.digest());
}
