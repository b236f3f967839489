//! What tests of sums and of flooded sums share.

use super::lane::{Everything, Lane, replay};
use super::*;
use crate::HeError;
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, Prg, Secret};
use std::collections::BTreeSet;

pub(super) fn prg(part: u64) -> Prg {
    Prg::new(&[4; 32], "he coefficient tests", &[&part.to_le_bytes()])
}

pub(super) fn word(rng: &mut dyn EntropySource) -> u64 {
    rng.next_u64()
}

fn uniform(rng: &mut Prg, len: usize) -> Vec<u64> {
    (0..len).map(|_| word(rng)).collect()
}

/// `terms` weights at different shifts.
fn kernel(ring: &Ring, terms: usize, rng: &mut Prg, weight: impl Fn(u64) -> i64) -> Kernel {
    let mut shifts = BTreeSet::new();
    while shifts.len() < terms {
        shifts.insert((word(rng) % ring.n() as u64) as u32);
    }
    let list: Vec<_> = shifts.into_iter().map(|s| (s, weight(word(rng)))).collect();
    Kernel::new(ring, &list).unwrap()
}

/// Both parties of a session, and one sum of a layer with random numbers everywhere.
pub(super) struct World {
    pub(super) params: Params,
    pub(super) sk: SecretKey,
    pub(super) pk: PublicKey,
    pub(super) messages: Secret<Vec<Vec<u64>>>,
    pub(super) own: Vec<Vec<u64>>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) outputs: Outputs,
    pub(super) bias: Vec<u64>,
}

impl World {
    /// `terms` weights of magnitude up to 127 in each of `inputs` kernels; every fifth coefficient is a result.
    pub(super) fn new(params: &Params, inputs: usize, terms: usize, seed: u64) -> Self {
        let positions = (0..params.n() as u32).filter(|p| p % 5 == 3).collect();
        Self::of(params, positions, inputs, terms, seed, |word| (word % 255) as i64 - 127)
    }

    /// Two kernels of `terms` weights of magnitude `weight`, signs at random; every 41st coefficient is a result.
    pub(super) fn flooded(k: u32, l: u32, terms: usize, weight: i64, seed: u64) -> Self {
        const N: usize = 4096;
        let positions: Vec<u32> = (0..N as u32).filter(|p| p % 41 == 3).collect();
        let flood =
            Flood { norm1: 2 * terms as u64 * weight.unsigned_abs(), results: positions.len() as u64 };
        let ring = Ring::two_primes(12, flood.prime_bits(N, k, l).unwrap()).unwrap();
        let params = Params::flooded(&ring, k, l, flood).unwrap();
        Self::of(&params, positions, 2, terms, seed, |word| if word & 1 == 0 { weight } else { -weight })
    }

    fn of(
        params: &Params,
        positions: Vec<u32>,
        inputs: usize,
        terms: usize,
        seed: u64,
        weight: impl Fn(u64) -> i64,
    ) -> Self {
        let mut rng = prg(seed);
        let (ring, n) = (params.ring(), params.n());
        let sk = SecretKey::generate(ring, &mut rng);
        let pk = PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut rng);
        let kernels = (0..inputs).map(|_| kernel(ring, terms, &mut rng, &weight)).collect();
        let outputs = Outputs::new(ring, positions).unwrap();
        Self {
            sk,
            pk,
            messages: Secret::new((0..inputs).map(|_| uniform(&mut rng, n)).collect()),
            own: (0..inputs).map(|_| uniform(&mut rng, n)).collect(),
            kernels,
            bias: uniform(&mut rng, outputs.len()),
            outputs,
            params: params.clone(),
        }
    }

    pub(super) fn upload(&self, rng: &mut Prg) -> Upload {
        let randomness = UploadRandomness::draw(&self.params, self.kernels.len(), rng);
        self.sk.encrypt(&self.params, &self.messages, randomness).unwrap()
    }

    pub(super) fn accumulated(&self, method: Method, rng: &mut Prg) -> Result<Accumulated, HeError> {
        let inputs = Inputs::new(&self.upload(rng), &self.own).unwrap();
        let prepare = |k: &Kernel| PreparedKernel::new(self.params.ring(), k.clone(), method).unwrap();
        let kernels: Vec<_> = self.kernels.iter().map(prepare).collect();
        accumulate_one(&inputs, kernels.iter().enumerate().collect(), &self.outputs, &self.bias)
    }

    pub(super) fn draw(&self, seed: u64) -> ReplyRandomness {
        ReplyRandomness::draw(&self.params, self.outputs.len(), &mut prg(!seed))
    }

    pub(super) fn reply(&self, method: Method, seed: u64) -> Reply {
        let sum = self.accumulated(method, &mut prg(seed)).unwrap();
        sum.mask_and_drop(&self.pk, &self.outputs, self.draw(seed)).unwrap()
    }

    pub(super) fn lanes(&self, seed: u64) -> Secret<Vec<Lane>> {
        let products: Vec<_> = self.kernels.iter().enumerate().collect();
        replay(&Everything {
            params: &self.params,
            sk: &self.sk,
            pk: &self.pk,
            messages: self.messages.expose(),
            upload: &UploadRandomness::draw(&self.params, self.kernels.len(), &mut prg(seed)),
            own: &self.own,
            products: &products,
            outputs: &self.outputs,
            bias: &self.bias,
            reply: &self.draw(seed),
        })
        .unwrap()
    }
}

pub(super) fn accumulate_one(
    inputs: &Inputs,
    products: Vec<(usize, &PreparedKernel)>,
    outputs: &Outputs,
    bias: &[u64],
) -> Result<Accumulated, HeError> {
    let mut sums = accumulate(inputs, &[Sum { products, outputs, bias: bias.to_vec() }])?;
    assert_eq!(sums.len(), 1);
    Ok(sums.remove(0))
}
