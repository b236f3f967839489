//! Correlated OTs dealt by one trusted hand: no security, for tests and as the reference the protocols are held to.
//!
//! [`clear`] has the twins of the protocols on shares, [`dealer`] random OTs without correlated ones, [`pair`] both parties
//! in one thread.

pub mod clear;
pub mod dealer;
pub mod pair;

use crate::{CotReceiver, CotSender, Label};
use oblivia_base::Secret;
use oblivia_base::seed::EntropySource;

fn block(rng: &mut dyn EntropySource) -> u128 {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// Both ends of `n` COTs of one direction, with a fresh Δ and uniform choices.
pub fn cots(label: &Label, n: usize, rng: &mut dyn EntropySource) -> (CotSender, CotReceiver) {
    let delta = block(rng) | 1;
    let tags: Vec<u128> = (0..n).map(|_| block(rng)).collect();
    let keys = tags.iter().map(|t| t ^ ((t & 1).wrapping_neg() & delta)).collect();
    let (mut sender, mut receiver) = (CotSender::new(label, Secret::new(delta)), CotReceiver::new(label));
    sender.add_held(Secret::new(keys));
    receiver.add_held(Secret::new(tags));
    (sender, receiver)
}
