//! What the tests share.
#![allow(dead_code, reason = "each test binary uses a part: no expectation holds in all of them")]
#![expect(clippy::unwrap_used, reason = "test support: a failed unwrap is a failed test")]

use oblivia_base::Prg;
use oblivia_he::bfv::{Context, ContextLiteral};
use oblivia_he::ckks::{Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_he::{
    Ciphertext, EvaluationKeys, KeyRequest, Moduli, Params, ParamsLiteral, RingKind, SecretKey,
};
use oblivia_nn::{Conv, Graph, Op, Shape};
use oblivia_pack::{Chain, CkksPlain, Plain, PlainUse};
use std::sync::Arc;

/// 24 bits that differ much from one `i` to the next.
pub(crate) fn scattered(seed: u64, i: usize) -> u64 {
    let x = (seed ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x >> 40
}

/// A generator for test values, small and varied.
pub(crate) fn value(seed: u64, i: usize) -> f64 {
    (scattered(seed, i) as f64 / (1u64 << 24) as f64) * 2.0 - 1.0
}

/// Exact slots: dimension 8192, four primes, t of `t_bits`.
pub(crate) fn exact(t_bits: u32) -> Context {
    let params = ParamsLiteral {
        kind: RingKind::Standard,
        log_n: 13,
        q: Moduli::Bits(vec![42; 4]),
        p: Moduli::Bits(vec![46]),
        alpha: 1,
        levels: Vec::new(),
    };
    Context::all(&ContextLiteral { params, t: Moduli::Bits(vec![t_bits]) }).unwrap().remove(0)
}

/// The modulus chain of `context` for one of its two rows of slots.
pub(crate) fn row_chain(context: &Context) -> Chain {
    Chain { slots: context.slots() / 2, ..chain(context.params()) }
}

/// Largest difference.
pub(crate) fn max_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// A convolution with square kernel, the shape of its input and that of its output.
pub(crate) fn conv(
    [channels, height, width]: [usize; 3],
    maps: usize,
    kernel: usize,
    stride: usize,
    pads: [usize; 4],
    groups: usize,
) -> (Conv, Shape, Shape) {
    let input = Shape::new([channels, height, width]).unwrap();
    let mut g = Graph::new("x", input.clone());
    let weight = g.weight("w", Shape::new([maps, channels / groups, kernel, kernel]).unwrap()).unwrap();
    let conv = Conv {
        out_channels: maps,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pads,
        groups,
        weight,
        bias: None,
    };
    let out = g.push("conv", Op::Conv(conv.clone()), &[g.input()]).unwrap();
    let output = g.fact(out).unwrap().shape.clone();
    (conv, input, output)
}

/// The definition of a convolution: `weight(m, (c·k + y)·k + x)`, channels counted within a group.
pub(crate) fn plain_conv(
    conv: &Conv,
    input: &Shape,
    output: &Shape,
    x: &[f64],
    weight: impl Fn(usize, usize) -> f64,
    bias: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let ((channels, h, w), (maps, oh, ow)) = (input.chw().unwrap(), output.chw().unwrap());
    let (own, k) = (channels / conv.groups, conv.kernel[0]);
    let mut out = Vec::new();
    for m in 0..maps {
        let group = m / (maps / conv.groups);
        for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
            let mut sum = bias(m);
            for (c, (ky, kx)) in (0..own).flat_map(|c| (0..k * k).map(move |t| (c, (t / k, t % k)))) {
                let a = (i * conv.stride[0] + ky) as i64 - conv.pads[0] as i64;
                let b = (j * conv.stride[1] + kx) as i64 - conv.pads[1] as i64;
                if (0..h as i64).contains(&a) && (0..w as i64).contains(&b) {
                    let v = x[((group * own + c) * h + a as usize) * w + b as usize];
                    sum += weight(m, (c * k + ky) * k + kx) * v;
                }
            }
            out.push(sum);
        }
    }
    out
}

/// Both ends of a small conjugate-invariant ring that protects nothing: 2^`log_n` slots.
pub(crate) struct Ends {
    pub(crate) params: Params,
    sk: SecretKey,
    pub(crate) encoder: Encoder,
    encryptor: Encryptor,
    pub(crate) evaluator: Evaluator,
    rng: Prg,
}

/// Primes of a small ring: `levels` of them, and the special one.
pub(crate) fn small(log_n: u32, levels: usize) -> Params {
    let mut q = vec![38];
    q.resize(levels, 28);
    Params::insecure_unchecked(&ParamsLiteral {
        kind: RingKind::ConjugateInvariant,
        log_n,
        q: Moduli::Bits(q),
        p: Moduli::Bits(vec![42]),
        alpha: 1,
        levels: Vec::new(),
    })
    .unwrap()
}

/// The modulus chain of `params` as a counter wants it.
pub(crate) fn chain(params: &Params) -> Chain {
    Chain::of(params).unwrap()
}

impl Ends {
    pub(crate) fn new(params: &Params, request: &KeyRequest) -> Self {
        let mut rng = Prg::new(&[3; 32], "pack tests", &[]);
        let sk = SecretKey::generate(params, &mut rng);
        let keys = EvaluationKeys::generate(&sk, request, b"", &mut rng).unwrap();
        Self {
            params: params.clone(),
            sk,
            encoder: Encoder::new(params),
            encryptor: Encryptor::new(params),
            evaluator: Evaluator::new(Arc::new(keys)),
            rng,
        }
    }

    pub(crate) fn encrypt(&mut self, values: &[f64], level: usize, scale: f64) -> Ciphertext {
        let pt = self.encoder.encode(values, level, scale).unwrap();
        self.encryptor.encrypt_symmetric(&self.sk, &pt, &mut self.rng).unwrap()
    }

    pub(crate) fn decrypt(&self, ct: &Ciphertext) -> Vec<f64> {
        self.encoder.decode(&Decryptor::new(&self.sk).decrypt(ct).unwrap()).unwrap()
    }

    pub(crate) fn prepare(&self, plains: &[Plain], uses: &[PlainUse]) -> Vec<CkksPlain> {
        assert_eq!(plains.len(), uses.len());
        plains.iter().zip(uses).map(|(p, &u)| CkksPlain::prepare(&self.encoder, p, u).unwrap()).collect()
    }
}
