//! Sums of products on the server.

use super::kernel::PreparedKernel;
use super::params::Params;
use super::ring::{Ring, Split};
use super::upload::Upload;
use crate::HeError;
use oblivia_ring::word::{self, Doubled, Span};
use std::fmt;
use std::sync::OnceLock;

/// Where in an output ciphertext the results are: coefficients, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    n: usize,
    positions: Vec<u32>,
    spans: Vec<Span>,
    lanes: Vec<u32>,
}

impl Outputs {
    /// The coefficients `positions`, strictly ascending.
    ///
    /// # Errors
    /// [`HeError::Shape`].
    pub fn new(ring: &Ring, positions: Vec<u32>) -> Result<Self, HeError> {
        let n = ring.n();
        let inside = positions.last().is_none_or(|&p| (p as usize) < n);
        if !inside || positions.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(HeError::Shape { what: "output coefficients ascend and stay below n" });
        }
        let (spans, lanes) = Span::covering(&positions);
        Ok(Self { n, positions, spans, lanes })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The coefficients.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Coefficients of c0 that [`super::Method::Sparse`] computes to have these: whole vectors.
    pub fn computed(&self) -> usize {
        Span::words(&self.spans)
    }

    /// The entries of `row`, a whole element, at the positions.
    pub(super) fn pick<'a>(&'a self, row: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
        self.positions.iter().map(|&p| row[p as usize])
    }

    pub(super) fn check(&self, ring: &Ring) -> Result<(), HeError> {
        if self.n == ring.n() { Ok(()) } else { Err(HeError::ParamsMismatch { what: "output coefficients" }) }
    }
}

/// The ciphertexts of x: what the client sent with c1 expanded and the server's own share added.
pub struct Inputs {
    params: Params,
    list: Vec<Input>,
}

struct Input {
    c0: Doubled,
    c1: Doubled,
    transformed: OnceLock<[Split; 2]>,
}

impl Input {
    fn transformed(&self, params: &Params) -> &[Split; 2] {
        let forward = |x: &Doubled| params.ring().forward(x.coefficients(), params.q_bits());
        self.transformed.get_or_init(|| [forward(&self.c0), forward(&self.c1)])
    }
}

impl Inputs {
    /// Expands every c1 and adds Δ·`own` to c0: the server's share polynomials, n values each, of which the low k bits
    /// count.
    ///
    /// # Errors
    /// [`HeError::OperandCount`].
    pub fn new(upload: &Upload, own: &[Vec<u64>]) -> Result<Self, HeError> {
        let params = upload.params().clone();
        if own.len() != upload.ciphertexts() || own.iter().any(|x| x.len() != params.n()) {
            let (left, right) = (upload.ciphertexts(), own.len());
            return Err(HeError::OperandCount { op: "addition of the server's share", left, right });
        }
        let delta = params.delta_bits();
        let mut list = Vec::with_capacity(own.len());
        for (index, (c0, own)) in upload.c0.iter().zip(own).enumerate() {
            let c0: Vec<u64> = c0.iter().zip(own).map(|(&c, &x)| c.wrapping_add(x << delta)).collect();
            let c1 = upload.uniform_half(index);
            list.push(Input { c0: Doubled::new(&c0), c1: Doubled::new(&c1), transformed: OnceLock::new() });
        }
        Ok(Self { params, list })
    }

    /// The widths.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Number of ciphertexts.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("ciphertexts", &self.list.len()).finish_non_exhaustive()
    }
}

/// A sum whose phase holds y at its output coefficients, and whose noise tells of the weights: it shows nothing and is
/// good for [`Accumulated::mask_and_drop`] alone.
pub struct Accumulated {
    pub(super) params: Params,
    /// At the outputs alone; low q bits count.
    pub(super) c0: Vec<u64>,
    pub(super) c1: Vec<u64>,
}

impl fmt::Debug for Accumulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulated").field("outputs", &self.c0.len()).finish_non_exhaustive()
    }
}

/// Σ inputs\[i\]·kernel + Δ·bias over the products (i, kernel); `bias` has one number per output, modulo 2^k.
///
/// # Errors
/// [`HeError::ParamsMismatch`]; [`HeError::OperandCount`] for no products, an input that is not there, or a bias of
/// another length; [`HeError::Overflow`] if the weights of the transformed kernels add up to more than [`super::Method::fits`] allows.
pub fn accumulate(
    inputs: &Inputs,
    products: &[(usize, &PreparedKernel)],
    outputs: &Outputs,
    bias: &[u64],
) -> Result<Accumulated, HeError> {
    let params = &inputs.params;
    let (ring, n) = (params.ring(), params.n());
    outputs.check(ring)?;
    if bias.len() != outputs.len() {
        let (left, right) = (bias.len(), outputs.len());
        return Err(HeError::OperandCount { op: "bias of a sum", left, right });
    }
    let mut norm1 = 0u64;
    for (i, k) in products {
        if *i >= inputs.len() || k.n() != n {
            let (left, right) = (*i, inputs.len());
            return Err(HeError::OperandCount { op: "sum of products by kernels", left, right });
        }
        if k.transformed().is_some() {
            norm1 = norm1.saturating_add(k.kernel().norm1());
        }
    }
    let max = params.ring().max_norm1(params.q_bits());
    if norm1 > max {
        return Err(HeError::Overflow { bits: 64 - norm1.leading_zeros(), max: 64 - max.leading_zeros() });
    }
    let mut c1 = vec![0u64; n];
    let mut at_spans = vec![0u64; outputs.computed()];
    let whole = [Span::whole(n)];
    let mut transformed = Vec::new();
    for &(i, k) in products {
        let Some(input) = inputs.list.get(i) else { continue };
        match k.transformed() {
            None => {
                word::accumulate(&input.c1, k.kernel().terms(), &whole, &mut c1);
                word::accumulate(&input.c0, k.kernel().terms(), &outputs.spans, &mut at_spans);
            }
            Some(k) => transformed.push((input.transformed(params), k)),
        }
    }
    let mut c0: Vec<u64> = outputs.lanes.iter().map(|&lane| at_spans[lane as usize]).collect();
    if !transformed.is_empty() {
        let mut whole = vec![0u64; n];
        ring.sum_products(&transformed, [&mut whole, &mut c1]);
        c0.iter_mut().zip(outputs.pick(&whole)).for_each(|(c, x)| *c = c.wrapping_add(x));
    }
    let delta = params.delta_bits();
    c0.iter_mut().zip(bias).for_each(|(c, &b)| *c = c.wrapping_add(b << delta));
    Ok(Accumulated { params: params.clone(), c0, c1 })
}
