//! Coefficient packing against direct integer arithmetic, in the clear and through the encryption.

#![expect(clippy::unwrap_used, reason = "helpers of the tests unwrap too")]

use oblivia_base::codec::{Reader, Writer};
use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::coefficient::{Method, Params, ParamsLiteral, PublicKey, Ring, SecretKey, UploadRandomness};
use oblivia_pack::coefficient::{
    Block, ConvShape, FloodedPlan, LinearClient, LinearServer, LinearShape, Packing, Widths,
};
use proptest::prelude::*;

/// A generator of test values that says nothing about the ones under test.
struct Values(u64);

impl Values {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58476d1ce4e5b9) >> 12
    }
    fn within(&mut self, bound: i64) -> i64 {
        (self.next() % (2 * bound as u64 + 1)) as i64 - bound
    }
    fn list(&mut self, len: usize, bound: i64) -> Vec<i64> {
        (0..len).map(|_| self.within(bound)).collect()
    }
}

/// The layer by its definition.
fn direct(shape: &LinearShape, x: &[i64], w: &[i64]) -> Vec<i64> {
    match *shape {
        LinearShape::Dense { inputs, outputs } => {
            (0..outputs).map(|o| (0..inputs).map(|i| w[o * inputs + i] * x[i]).sum()).collect()
        }
        LinearShape::MatMul { rows, inner, columns } => (0..rows * columns)
            .map(|rc| (0..inner).map(|i| x[rc / columns * inner + i] * w[i * columns + rc % columns]).sum())
            .collect(),
        LinearShape::Conv(c) => {
            let [oh, ow] = c.out().unwrap();
            let [h, wd] = c.size.map(|s| s as i64);
            let per_group = c.channels / c.groups;
            let mut y = Vec::new();
            for m in 0..c.outputs {
                let group = m / (c.outputs / c.groups);
                for i in 0..oh {
                    for j in 0..ow {
                        let mut sum = 0;
                        for ch in 0..per_group {
                            for u in 0..c.kernel[0] {
                                for v in 0..c.kernel[1] {
                                    let row = (i * c.stride[0] + u) as i64 - c.pads[0] as i64;
                                    let col = (j * c.stride[1] + v) as i64 - c.pads[1] as i64;
                                    if (0..h).contains(&row) && (0..wd).contains(&col) {
                                        let at = ((group * per_group + ch) as i64 * h + row) * wd + col;
                                        let k = ((m * per_group + ch) * c.kernel[0] + u) * c.kernel[1] + v;
                                        sum += w[k] * x[at as usize];
                                    }
                                }
                            }
                        }
                        y.push(sum);
                    }
                }
            }
            y
        }
    }
}

/// The layer through the packing: products of elements of n coefficients in the clear.
fn packed(packing: &Packing, x: &[i64], w: &[i64]) -> Vec<i64> {
    let n = packing.n();
    let x: Vec<u64> = x.iter().map(|&x| x as u64).collect();
    let inputs = packing.scatter(&x).unwrap();
    let mut y = vec![None; packing.shape().output_len()];
    for reply in 0..packing.replies() {
        let mut sum = vec![0u64; n];
        for (input, kernel) in packing.products(reply) {
            let terms = packing.kernel(kernel, w).unwrap();
            assert!(terms.windows(2).all(|t| t[0].0 < t[1].0));
            for (shift, weight) in terms {
                for (i, &x) in inputs[input].iter().enumerate() {
                    let (at, p) = (i + shift as usize, x.wrapping_mul(weight as u64));
                    let p = if at < n { p } else { p.wrapping_neg() };
                    sum[at % n] = sum[at % n].wrapping_add(p);
                }
            }
        }
        let layout = packing.reply(reply);
        assert_eq!(layout.positions.len(), packing.reply_len(reply));
        assert!(layout.positions.windows(2).all(|p| p[0] < p[1]));
        for (&p, &e) in layout.positions.iter().zip(&layout.elements) {
            assert_eq!(y[e as usize].replace(sum[p as usize] as i64), None, "an output twice");
        }
    }
    y.into_iter().map(|y| y.unwrap()).collect()
}

fn conv(
    [channels, h, w]: [usize; 3],
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    groups: usize,
) -> LinearShape {
    LinearShape::Conv(ConvShape { channels, size: [h, w], outputs, kernel, stride, pads, groups })
}

fn agrees(packing: &Packing, values: &mut Values) {
    let shape = packing.shape();
    let (x, w) = (values.list(shape.input_len(), 100), values.list(shape.weights(), 9));
    assert_eq!(packed(packing, &x, &w), direct(shape, &x, &w), "{:?} {:?}", shape, packing.block());
}

fn widths(n: usize) -> Widths {
    Widths { n, up_bits: 44, down_bits: [21, 28] }
}

#[test]
fn convolutions_of_every_kind_match_direct_arithmetic() {
    let cases = [
        (conv([3, 8, 8], 4, [3, 3], [1, 1], [1; 4], 1), 256),
        (conv([3, 8, 8], 5, [3, 3], [1, 1], [1; 4], 1), 512),
        (conv([4, 9, 7], 3, [3, 3], [2, 2], [1; 4], 1), 256),
        (conv([2, 12, 12], 3, [5, 5], [2, 2], [2; 4], 1), 256),
        (conv([5, 6, 6], 7, [1, 1], [1, 1], [0; 4], 1), 256),
        (conv([4, 10, 10], 4, [1, 1], [2, 2], [0; 4], 1), 128),
        (conv([3, 11, 11], 4, [7, 7], [2, 2], [3; 4], 1), 512),
        (conv([3, 14, 14], 2, [7, 7], [2, 2], [3, 3, 2, 2], 1), 128),
        (conv([6, 5, 5], 8, [3, 3], [1, 1], [0; 4], 1), 256),
        (conv([2, 8, 8], 3, [3, 3], [2, 2], [0, 0, 1, 1], 1), 256),
        (conv([2, 9, 4], 3, [2, 3], [1, 2], [1, 0, 2, 1], 1), 64),
        (conv([2, 6, 6], 2, [2, 2], [3, 3], [0; 4], 1), 64),
        // Depthwise and grouped, small and large images.
        (conv([8, 8, 8], 8, [3, 3], [1, 1], [1; 4], 8), 512),
        (conv([9, 4, 4], 18, [3, 3], [1, 1], [1; 4], 9), 512),
        (conv([6, 16, 16], 6, [3, 3], [2, 2], [1; 4], 6), 128),
        (conv([8, 5, 5], 12, [3, 3], [1, 1], [1; 4], 2), 256),
        (conv([12, 3, 3], 6, [1, 1], [1, 1], [0; 4], 3), 128),
    ];
    let mut values = Values(1);
    for (shape, n) in cases {
        let packing = Packing::plan(&shape, &widths(n)).unwrap();
        agrees(&packing, &mut values);
    }
}

#[test]
fn tiles_and_partial_blocks_match_direct_arithmetic() {
    let mut values = Values(2);
    let shape = conv([5, 9, 7], 7, [3, 3], [1, 1], [1; 4], 1);
    for tile in [[1, 1], [2, 5], [4, 3], [9, 7]] {
        for (channels, outputs) in [(1, 1), (2, 1), (2, 3), (3, 2), (5, 2), (1, 7)] {
            let block = Block { tile, groups: 1, channels, outputs };
            if let Ok(packing) = Packing::with_block(&shape, 1024, block) {
                agrees(&packing, &mut values);
            }
        }
    }
    let depthwise = conv([7, 6, 6], 14, [3, 3], [1, 1], [1; 4], 7);
    for (groups, outputs) in [(1, 1), (1, 2), (2, 3), (3, 5), (7, 2), (7, 14)] {
        let block = Block { tile: [3, 2], groups, channels: groups, outputs };
        agrees(&Packing::with_block(&depthwise, 2048, block).unwrap(), &mut values);
    }
}

#[test]
fn matrices_match_direct_arithmetic() {
    let mut values = Values(3);
    for (inputs, outputs, n) in [(10, 6, 64), (33, 3, 128), (256, 100, 2048), (7, 50, 64), (1, 1, 8)] {
        agrees(&Packing::plan(&LinearShape::Dense { inputs, outputs }, &widths(n)).unwrap(), &mut values);
    }
    for (rows, inner, columns, n) in [(3, 5, 4, 64), (17, 6, 9, 128), (1, 40, 3, 64), (30, 1, 1, 16)] {
        let shape = LinearShape::MatMul { rows, inner, columns };
        agrees(&Packing::plan(&shape, &widths(n)).unwrap(), &mut values);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_shapes_match_direct_arithmetic(
        per_group in 1usize..4, groups in 1usize..4, more in 1usize..4,
        size in (1usize..10, 1usize..10), kernel in (1usize..5, 1usize..5), stride in (1usize..4, 1usize..4),
        pads in (0usize..3, 0usize..3, 0usize..3, 0usize..3), log_n in 5u32..9, seed: u64,
    ) {
        let shape = conv(
            [per_group * groups, size.0, size.1], more * groups, [kernel.0, kernel.1], [stride.0, stride.1],
            [pads.0, pads.1, pads.2, pads.3], groups,
        );
        if let Ok(packing) = Packing::plan(&shape, &widths(1 << log_n)) {
            agrees(&packing, &mut Values(seed));
        }
    }
}

#[test]
fn shapes_and_blocks_that_do_not_fit_are_refused() {
    let plan = |shape, n| Packing::plan(&shape, &widths(n));
    assert!(plan(conv([1, 8, 8], 1, [5, 5], [1, 1], [0; 4], 1), 16).is_err());
    assert!(plan(conv([1, 4, 4], 1, [5, 5], [1, 1], [0; 4], 1), 64).is_err());
    assert!(plan(conv([3, 4, 4], 2, [1, 1], [1, 1], [0; 4], 2), 64).is_err());
    assert!(plan(conv([2, 4, 4], 2, [1, 1], [0, 1], [0; 4], 2), 64).is_err());
    assert!(plan(conv([2, 4, 4], 0, [1, 1], [1, 1], [0; 4], 1), 64).is_err());
    let shape = conv([2, 4, 4], 2, [3, 3], [1, 1], [1; 4], 1);
    let block = Block { tile: [4, 4], groups: 1, channels: 2, outputs: 2 };
    assert!(Packing::with_block(&shape, 144, block).is_ok());
    for (n, block) in [
        (143, block),
        (256, Block { tile: [5, 4], ..block }),
        (256, Block { channels: 3, ..block }),
        (256, Block { outputs: 3, ..block }),
        (256, Block { groups: 2, ..block }),
        (256, Block { outputs: 0, ..block }),
    ] {
        assert!(Packing::with_block(&shape, n, block).is_err(), "{block:?}");
    }
}

// ------------------------------------------------------------------- encrypted

fn params(q_bits: u32, k_bits: u32, share_bits: u32) -> Params {
    let ring = Ring::new(11).unwrap();
    let s = q_bits - share_bits;
    let drop_bits = [s - 5, s - 12];
    Params::new(&ring, ParamsLiteral { log_n: 11, q_bits, k_bits, share_bits, drop_bits }).unwrap()
}

/// Runs a layer on shares through all messages as bytes; what the shares add up to, centred, and y.
fn run(
    shape: &LinearShape,
    params: &Params,
    bound: i64,
    method: Option<Method>,
    seed: u64,
) -> Vec<(i64, i64)> {
    let mut values = Values(seed);
    let packing = Packing::plan(shape, &Widths::of(params)).unwrap();
    let x = values.list(shape.input_len(), bound);
    let w = values.list(shape.weights(), 127);
    let bias = values.list(shape.channels_out(), 1 << 12);
    let y: Vec<i64> = {
        let per_channel = direct(shape, &x, &w);
        per_channel.iter().enumerate().map(|(i, y)| y + bias[packing.channel_of(i)]).collect()
    };
    let largest = y.iter().map(|y| y.abs()).max().unwrap();
    assert!(largest < (1 << (params.k_bits() - 1)) - (1 << params.shift_bits()), "y of {largest}");
    // Shares modulo 2^k, with what a sender may leave above.
    let theirs: Vec<u64> = x.iter().map(|_| values.next()).collect();
    let own: Vec<u64> = x.iter().zip(&theirs).map(|(&x, &t)| (x as u64).wrapping_sub(t)).collect();

    let mut client_rng = Prg::new(&[7; 32], "pack tests client", &[&seed.to_le_bytes()]);
    let mut server_rng = Prg::new(&[8; 32], "pack tests server", &[&seed.to_le_bytes()]);
    let (nonce, transcript) = ([9; 32], Digest::of("pack tests", b"session"));
    let sk = SecretKey::generate(params.ring(), &mut client_rng);
    let bytes_of = |encode: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new();
        encode(&mut w);
        w.into_bytes()
    };
    let pk = PublicKey::generate(&sk, &nonce, &transcript, &mut client_rng);
    let pk = bytes_of(&|w| pk.encode(w));
    let pk = PublicKey::decode(params.ring(), &nonce, &transcript, &mut Reader::new(&pk)).unwrap();

    let client = LinearClient::new(&packing, params).unwrap();
    let server = LinearServer::new(&packing, params, &w, &bias, method).unwrap();
    let (theirs, own) = (Secret::new(theirs), Secret::new(own));
    let draw = |rng: &mut Prg| UploadRandomness::draw(params, packing.inputs(), rng);
    let upload = client.encrypt(&sk, &theirs, &mut Prg::new(&[6; 32], "pack tests upload", &[])).unwrap();
    let upload = bytes_of(&|w| upload.encode(w));
    let counts = packing.counts(&Widths::of(params));
    assert_eq!(upload.len() as u64, counts.up_bytes);
    let mut r = Reader::new(&upload);
    let upload = server.decode_upload(&mut r).unwrap();
    r.finish().unwrap();

    let mut again = Prg::new(&[8; 32], "pack tests server", &[&seed.to_le_bytes()]);
    let randomness = server.draw(&mut server_rng);
    let share = server.share(&randomness).unwrap();
    let replies = server.evaluate(&upload, &own, &pk, randomness).unwrap();
    let replies = bytes_of(&|w| server.encode_replies(&replies, w));
    assert_eq!(replies.len() as u64, counts.down_bytes);
    let mut r = Reader::new(&replies);
    let replies = client.decode_replies(&mut r).unwrap();
    r.finish().unwrap();
    let result = client.finish(&sk, &replies).unwrap();

    // A simulator that draws the same randomness sees the same shares.
    let upload = draw(&mut Prg::new(&[6; 32], "pack tests upload", &[]));
    let lanes = server.replay(&sk, &pk, &theirs, &own, &upload, &server.draw(&mut again)).unwrap();
    let parts = result.expose().iter().zip(share.expose()).zip(&y);
    for (lane, ((&client, &server), &y)) in lanes.expose().iter().zip(parts) {
        assert_eq!((lane.client, lane.server, lane.y), (client, server, y));
    }

    let l = params.share_bits();
    let sums = result.expose().iter().zip(share.expose()).map(|(&a, &b)| {
        assert!(a >> l == 0 && b >> l == 0);
        (a.wrapping_add(b) << (64 - l)) as i64 >> (64 - l)
    });
    sums.zip(y).collect()
}

#[test]
fn shares_of_a_layer_add_up_to_the_quotient_rounded_up_or_down() {
    let shapes = [
        conv([16, 12, 12], 16, [5, 5], [1, 1], [0; 4], 1),
        conv([3, 15, 15], 4, [3, 3], [2, 2], [1; 4], 1),
        conv([12, 7, 7], 12, [3, 3], [1, 1], [1; 4], 12),
        conv([20, 9, 9], 6, [1, 1], [1, 1], [0; 4], 1),
        LinearShape::Dense { inputs: 256, outputs: 100 },
        LinearShape::MatMul { rows: 11, inner: 24, columns: 10 },
    ];
    // (q, k, L), with s >= 22 and q >= max(L + 22, k).
    for (q, k, l) in [(44, 26, 18), (42, 26, 20), (38, 24, 16), (52, 30, 24)] {
        let params = params(q, k, l);
        let f = params.shift_bits();
        let (mut all, mut others) = (0, 0);
        for (i, shape) in shapes.iter().enumerate() {
            for method in [Method::Sparse, Method::Transform, Method::TransformOnUse] {
                let results = run(shape, &params, 80, Some(method), 100 + i as u64);
                assert_eq!(results.len(), shape.output_len());
                for (z, y) in results {
                    // |z − y/2^f| < 1 + |e|/2^s, |e| <= 2^(s−4).
                    let off = (z << f) - y;
                    assert!(off.abs() < (1 << f) + (1 << f >> 4), "{shape:?} {method:?}: {z} for {y}/2^{f}");
                    all += 1;
                    others += u32::from(z != y >> f && z != (y >> f) + 1);
                }
            }
        }
        // Half of the quotients within |e|/Δ of a whole number may go past it, 2^-14.6 of all at these cuts.
        assert!(all > 5000 && others <= 4, "{others} of {all}");
    }
}

#[test]
fn widths_and_packing_are_chosen_together() {
    let ring = Ring::new(11).unwrap();
    let shape = LinearShape::Dense { inputs: 512, outputs: 64 };
    let choose = |squares: u64| Packing::choose(&ring, &shape, 28, 18, &[squares; 64]);
    let (packing, params) = choose(512 * 100).unwrap();
    assert_eq!(params.q_bits(), 40);
    let most = packing.block().outputs as u64;
    assert!(most > 1);
    // Weights of all outputs of a ciphertext are in the noise of each.
    assert_eq!(packing.sum_squares(&[10; 64]).unwrap(), 10 * most);
    let mut uneven = [1; 64];
    uneven[0] = 100;
    assert_eq!(packing.sum_squares(&uneven).unwrap(), 100 + most - 1);
    let (_, params) = choose(512 * 127 * 127).unwrap();
    assert_eq!(params.q_bits(), 41);
    assert!(choose(1 << 60).is_err());
    assert!(Packing::choose(&ring, &shape, 28, 18, &[1; 63]).is_err());
    for (z, y) in run(&shape, &params, 60, None, 77) {
        assert!(((z << 10) - y).abs() < (1 << 10) + (1 << 6));
    }
}

#[test]
fn weights_too_large_for_the_transform_are_multiplied_one_by_one() {
    let params = params(52, 44, 30);
    let shape = LinearShape::Dense { inputs: 512, outputs: 32 };
    let packing = Packing::plan(&shape, &Widths::of(&params)).unwrap();
    let server = |w: i64, method| {
        LinearServer::new(&packing, &params, &vec![w; shape.weights()], &[0; 32], method).unwrap()
    };
    assert_eq!(server(127, None).method(), Method::Transform);
    assert_eq!(server(1 << 20, None).method(), Method::Sparse);
    let bytes = LinearServer::prepared_bytes(&packing, &params);
    let kernels = packing.kernels() as u64;
    assert!(
        (kernels * 8 * 2048..kernels * 9 * 2048 + 16 * shape.weights() as u64).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn all_methods_give_the_same_replies() {
    let params = params(44, 26, 18);
    // The second has more products in a sum than are transformed together.
    for shape in
        [conv([5, 9, 9], 7, [3, 3], [1, 1], [1; 4], 1), conv([160, 16, 16], 6, [3, 3], [1, 1], [1; 4], 1)]
    {
        let methods = [Method::Sparse, Method::Transform, Method::TransformOnUse];
        let [a, b, c] = methods.map(|m| run(&shape, &params, 60, Some(m), 5));
        assert!(a == b && a == c);
    }
}

#[test]
fn flooded_layers_add_up_to_the_quotient_rounded_up_or_down_and_take_no_more_weight_than_was_planned() {
    let shapes = [
        conv([16, 12, 12], 16, [5, 5], [1, 1], [0; 4], 1),
        conv([3, 15, 15], 4, [3, 3], [2, 2], [1; 4], 1),
        conv([12, 7, 7], 12, [3, 3], [1, 1], [1; 4], 12),
        LinearShape::Dense { inputs: 256, outputs: 100 },
        LinearShape::MatMul { rows: 11, inner: 24, columns: 10 },
    ];
    for (i, shape) in shapes.iter().enumerate() {
        let (k, l) = [(26, 18), (38, 16)][i % 2];
        let channels = shape.channels_out();
        let norm = 127 * (shape.weights() / channels) as u64;
        let norms = vec![norm; channels];
        let plan = FloodedPlan::choose(4096, shape, k, l, &norms, shape.output_len() as u64).unwrap();
        let channels_of_reply = plan.packing.block().outputs as u64;
        assert_eq!(plan.flood.norm1, norm * channels_of_reply);
        let params = plan.params(&Ring::two_primes(12, plan.prime_bits).unwrap()).unwrap();
        assert!(plan.params(&Ring::two_primes(12, plan.prime_bits - 1).unwrap()).is_err());
        for (z, y) in run(shape, &params, 80, None, 200 + i as u64) {
            let f = params.shift_bits();
            assert!(((z << f) - y).abs() < (1 << f) + (1 << f >> 4), "{shape:?}: {z} for {y}/2^{f}");
        }
        let server = |w: i64, method| {
            LinearServer::new(&plan.packing, &params, &vec![w; shape.weights()], &vec![0; channels], method)
        };
        assert_eq!(server(127, None).unwrap().method(), Method::Transform);
        assert!(server(128, None).is_err() && server(127, Some(Method::Sparse)).is_err());
    }
    let shape = LinearShape::Dense { inputs: 512, outputs: 10 };
    assert!(FloodedPlan::choose(4096, &shape, 26, 18, &[1 << 50; 10], 10).is_err());
    assert!(FloodedPlan::choose(4096, &shape, 26, 18, &[1 << 10; 9], 10).is_err());
}
