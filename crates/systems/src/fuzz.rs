//! Harness for fuzzers: what a client does with whatever a server offers.

use crate::find;
use oblivia_base::codec::Decode;
use oblivia_nn::PublicModel;
use oblivia_protocol::session::Offer;
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{Choices, HEADER_BYTES, Plan};

/// Decodes an offer and derives its plan, as a client does before it has agreed to anything. The time and memory
/// this takes must not grow with the numbers in the offer.
pub fn offer(bytes: &[u8]) -> bool {
    oblivia_protocol::fuzz::offer(bytes);
    Offer::from_bytes(bytes).is_ok_and(|offer| derived(&offer.model, &offer.choices))
}

/// The message in which a client offers keys it sent before.
pub fn keys_offer(bytes: &[u8]) -> bool {
    crate::common::keys::fuzz_offer(bytes)
}

/// Whether a plan follows from `choices`; if so it follows again, and every message of it can be carried.
///
/// # Panics
/// When it cannot, or another plan follows the second time.
pub(crate) fn derived(model: &PublicModel, choices: &Choices) -> bool {
    let Some(system) = find(&choices.system) else { return false };
    let Ok(plan) = system.check(model, choices) else { return false };
    let again = system.check(model, choices).map(|p| p.digest());
    assert!(again.is_ok_and(|digest| digest == plan.digest()), "two plans of the same choices");
    let Plan { cost, key_bytes, error, .. } = &plan;
    assert!(*key_bytes <= MAX_BODY_BYTES as u64);
    // Of a group in several messages, the system bounds each.
    let online = if cost.group == 1 { [cost.online.up_bytes, cost.online.down_bytes] } else { [0; 2] };
    for one_message in [HEADER_BYTES + key_bytes, online[0], online[1]] {
        assert!(one_message <= HEADER_BYTES + MAX_BODY_BYTES as u64, "no link carries {one_message} bytes");
    }
    assert!(error.value().is_finite() && error.units_2_32 < u64::MAX, "an error bound that holds nothing");
    assert_eq!(plan.choices, *choices);
    true
}
