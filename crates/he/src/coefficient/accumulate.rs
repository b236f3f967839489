//! Sums of products on the server.

use super::kernel::{Method, PreparedKernel};
use super::params::Params;
use super::residues;
use super::ring::{Ring, Split, Sums};
use super::upload::Upload;
use crate::HeError;
use oblivia_ring::word::{self, Doubled, Span};
use oblivia_ring::{Ntt, Poly};
use rayon::prelude::*;
use std::fmt;
use std::sync::OnceLock;
use zeroize::{Zeroize, Zeroizing};

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

enum Input {
    Word(WordInput),
    /// c0 and c1 modulo two primes.
    Primes([Poly<Ntt>; 2]),
}

struct WordInput {
    c0: Doubled,
    c1: Doubled,
    transformed: OnceLock<[Split; 2]>,
}

/// c0 beside what the client sent gives the server's share.
impl Drop for Input {
    fn drop(&mut self) {
        match self {
            Self::Word(input) => {
                input.c0.zeroize();
                if let Some([c0, _]) = input.transformed.get_mut() {
                    c0.zeroize();
                }
            }
            Self::Primes([c0, _]) => c0.zeroize(),
        }
    }
}

impl WordInput {
    fn transformed(&self, params: &Params) -> &[Split; 2] {
        let forward = |x: &Doubled| params.ring().forward(x.coefficients(), params.q_bits());
        self.transformed.get_or_init(|| [forward(&self.c0), forward(&self.c1)])
    }
}

impl Inputs {
    /// Expands every c1 and adds Δ·`own` to c0: the server's share polynomials, n values each, of which the low k bits
    /// count. On the threads of the current pool.
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
        let expand = |(index, (c0, own)): (usize, (&Vec<u64>, &Vec<u64>))| {
            if let Some(primes) = params.ring().primes() {
                let c1 = residues::upload_a(&params, upload.seed(), index);
                return Input::Primes([residues::input(&params, primes, c0, own), c1]);
            }
            let c0: Vec<u64> = c0.iter().zip(own).map(|(&c, &x)| c.wrapping_add(x << delta)).collect();
            let c0 = Zeroizing::new(c0);
            let c1 = upload.uniform_half(index);
            let (c0, c1) = (Doubled::new(&c0), Doubled::new(&c1));
            Input::Word(WordInput { c0, c1, transformed: OnceLock::new() })
        };
        let list = upload.c0.par_iter().zip(own).enumerate().map(expand).collect();
        Ok(Self { params: upload.params().clone(), list })
    }

    /// The widths.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Number of ciphertexts.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    fn word(&self, index: usize) -> Result<&WordInput, HeError> {
        match self.list.get(index) {
            Some(Input::Word(input)) => Ok(input),
            _ => Err(HeError::ParamsMismatch { what: "input" }),
        }
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
    /// At the outputs alone; low q bits count. Modulo two primes the row of all values.
    pub(super) c0: Vec<u64>,
    pub(super) c1: Vec<u64>,
    /// What is still to be added to c0, modulo two primes.
    pub(super) bias: Vec<u64>,
}

impl fmt::Debug for Accumulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulated").field("params", &self.params).finish_non_exhaustive()
    }
}

/// One sum: Σ inputs\[i\]·kernel + Δ·bias over the products (i, kernel).
#[derive(Clone)]
pub struct Sum<'a> {
    /// Input ciphertexts and kernels.
    pub products: Vec<(usize, &'a PreparedKernel)>,
    /// Where the results are.
    pub outputs: &'a Outputs,
    /// A number per output, modulo 2^k.
    pub bias: Vec<u64>,
}

impl fmt::Debug for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = (self.products.len(), self.outputs.len());
        f.debug_struct("Sum").field("products", &sizes.0).field("outputs", &sizes.1).finish_non_exhaustive()
    }
}

impl Sum<'_> {
    fn check(&self, inputs: &Inputs) -> Result<(), HeError> {
        let ring = inputs.params.ring();
        self.outputs.check(ring)?;
        if self.bias.len() != self.outputs.len() {
            let (left, right) = (self.bias.len(), self.outputs.len());
            return Err(HeError::OperandCount { op: "bias of a sum", left, right });
        }
        let mut norm1 = 0u64;
        for (i, k) in &self.products {
            if k.transformed().is_none_or(|k| k.basis() != ring.basis()) && ring.primes().is_some() {
                return Err(HeError::ParamsMismatch { what: "kernel" });
            }
            if *i >= inputs.len() || k.n() != ring.n() {
                let (left, right) = (*i, inputs.len());
                return Err(HeError::OperandCount { op: "sum of products by kernels", left, right });
            }
            if k.method() != Method::Sparse {
                norm1 = norm1.saturating_add(k.kernel().norm1());
            }
        }
        let declared = inputs.params.flood().map(|flood| flood.norm1);
        let max = declared.unwrap_or_else(|| ring.max_norm1(inputs.params.q_bits()));
        if norm1 > max {
            let bits = u64::BITS - norm1.leading_zeros();
            return Err(HeError::Overflow { bits, max: u64::BITS - max.leading_zeros() });
        }
        Ok(())
    }
}

/// Kernels that are transformed at the same time: with the sums they stay near the processor.
const ON_USE: usize = 64;

/// Adds the products by kernels that are not kept transformed.
fn add_on_use(ring: &Ring, lists: &[Vec<(&[Split; 2], &PreparedKernel)>], sums: &mut [Option<Sums>]) {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let step = (ON_USE / lists.len().max(1)).max(1);
    let mut room: Vec<Poly<Ntt>> = Vec::new();
    for from in (0..longest).step_by(step) {
        let parts = || lists.iter().map(|list| &list[from.min(list.len())..(from + step).min(list.len())]);
        let kernels = parts().map(<[_]>::len).sum();
        if room.len() < kernels {
            room.resize_with(kernels, || Poly::zero(ring.basis()));
        }
        for ((_, k), room) in parts().flatten().zip(&mut room) {
            ring.forward_terms(k.kernel().terms(), room);
        }
        let mut transformed = room.iter();
        let with = |part: &[(_, _)]| part.iter().zip(&mut transformed).map(|((x, _), k)| (*x, k)).collect();
        let parts: Vec<Vec<(&[Split; 2], &Poly<Ntt>)>> = parts().map(with).collect();
        for (sum, part) in sums.iter_mut().zip(ring.sum_products(&parts)) {
            match (sum, part) {
                (Some(sum), Some(part)) => sum.add(&part),
                (sum, Some(part)) => *sum = Some(part),
                (_, None) => {}
            }
        }
    }
}

/// Several sums over the same inputs, each input read once for all of them: a few at a time are faster than one by one.
/// On the current thread, but for transforms of inputs that are not there yet.
///
/// # Errors
/// [`HeError::ParamsMismatch`]; [`HeError::OperandCount`] for an input that is not there or a bias of another length;
/// [`HeError::Overflow`] if the weights of the transformed kernels of one sum add up to more than
/// [`super::Method::fits`] allows, or all of them to more than the layer's flood is for.
pub fn accumulate(inputs: &Inputs, sums: &[Sum<'_>]) -> Result<Vec<Accumulated>, HeError> {
    let params = &inputs.params;
    let (ring, n, delta) = (params.ring(), params.n(), params.delta_bits());
    sums.iter().try_for_each(|sum| sum.check(inputs))?;
    if ring.primes().is_some() {
        return accumulate_residues(inputs, sums);
    }
    let whole = [Span::whole(n)];
    let mut c1s: Vec<_> = sums.iter().map(|_| vec![0u64; n]).collect();
    let mut at_spans: Vec<_> = sums.iter().map(|sum| vec![0u64; sum.outputs.computed()]).collect();
    let mut lists: Vec<Vec<_>> = sums.iter().map(|_| Vec::new()).collect();
    let mut on_use: Vec<Vec<_>> = sums.iter().map(|_| Vec::new()).collect();
    let mut sparse = Vec::new();
    for (s, sum) in sums.iter().enumerate() {
        for &(i, k) in &sum.products {
            match (k.transformed(), k.method()) {
                (Some(k), _) => lists[s].push((inputs.word(i)?.transformed(params), k)),
                (None, Method::Sparse) => sparse.push((inputs.word(i)?, i, s, k.kernel().terms())),
                (None, _) => on_use[s].push((inputs.word(i)?.transformed(params), k)),
            }
        }
    }
    sparse.sort_by_key(|&(_, i, ..)| i);
    for (input, _, s, terms) in sparse {
        word::accumulate(&input.c1, terms, &whole, &mut c1s[s]);
        word::accumulate(&input.c0, terms, &sums[s].outputs.spans, &mut at_spans[s]);
    }
    let mut transformed = ring.sum_products(&lists);
    add_on_use(ring, &on_use, &mut transformed);
    let halves = at_spans.into_iter().zip(c1s);
    let mut out = Vec::with_capacity(sums.len());
    for ((sum, transformed), (at_spans, mut c1)) in sums.iter().zip(transformed).zip(halves) {
        let mut c0: Vec<u64> = sum.outputs.lanes.iter().map(|&lane| at_spans[lane as usize]).collect();
        if let Some(transformed) = transformed {
            let mut whole = vec![0u64; n];
            ring.add_sums(transformed, [&mut whole, &mut c1]);
            c0.iter_mut().zip(sum.outputs.pick(&whole)).for_each(|(c, x)| *c = c.wrapping_add(x));
        }
        c0.iter_mut().zip(&sum.bias).for_each(|(c, &b)| *c = c.wrapping_add(b << delta));
        out.push(Accumulated { params: params.clone(), c0, c1, bias: Vec::new() });
    }
    Ok(out)
}

/// [`accumulate`] modulo two primes; sums are checked.
fn accumulate_residues(inputs: &Inputs, sums: &[Sum<'_>]) -> Result<Vec<Accumulated>, HeError> {
    let mut lists = Vec::with_capacity(sums.len());
    for sum in sums {
        let pair = |&(i, k): &(usize, _)| match (inputs.list.get(i), PreparedKernel::transformed(k)) {
            (Some(Input::Primes(halves)), Some(k)) => Ok((halves, k)),
            _ => Err(HeError::ParamsMismatch { what: "kernel" }),
        };
        lists.push(sum.products.iter().map(pair).collect::<Result<Vec<_>, _>>()?);
    }
    let rows = residues::sums(inputs.params.ring(), &lists);
    let done = rows.into_iter().zip(sums);
    Ok(done
        .map(|([c0, c1], sum)| Accumulated { params: inputs.params.clone(), c0, c1, bias: sum.bias.clone() })
        .collect())
}
