//! Where a simulator or a test looks over a party's shoulder.

use oblivia_base::Secret;

/// Told of everything a party draws and holds in a linear layer. Sessions are played with `()`, which forgets it.
pub(super) trait Tap: Send {
    /// The seed of the client's key.
    fn key(&mut self, _: &[u8; 32]) {}
    /// The client's share of the input of layer `node`, and the seed its upload is drawn from.
    fn upload(&mut self, _node: usize, _seed: &[u8; 32], _share: &Secret<Vec<u64>>) {}
    /// The server's, and the seed its replies are drawn from.
    fn reply(&mut self, _node: usize, _seed: &[u8; 32], _share: &Secret<Vec<u64>>) {}
    /// The client's share of the results of layer `node`.
    fn finish(&mut self, _node: usize, _share: &Secret<Vec<u64>>) {}
}

impl Tap for () {}
