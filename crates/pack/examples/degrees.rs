//! Linear layers at n = 2048 modulo a power of two and at n = 4096 modulo two primes, side by side, on one thread:
//! `cargo run --release -p oblivia-pack --example degrees [FILTER]`.
//!
//! Bytes are those of one image, up and down; at 4096 with the least two primes there are (54 bits, no flood) and with those
//! that drown the noise of the layer. Milliseconds are the least of several runs, taken in turn, of encryption, evaluation
//! and decryption; kernels are prepared before.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement of known shapes")]

use oblivia_base::{Digest, Prg, Secret};
use oblivia_he::coefficient::{Params, PublicKey, Ring, SecretKey};
use oblivia_pack::coefficient::{
    ConvShape, FloodedPlan, LinearClient, LinearServer, LinearShape, Packing, Widths,
};
use std::time::{Duration, Instant};

const K_BITS: u32 = 26;
const SHARE_BITS: u32 = 18;
const RUNS: usize = 5;

fn conv(channels: usize, size: usize, outputs: usize, kernel: usize, stride: usize) -> LinearShape {
    let pads = [kernel / 2 * usize::from(kernel == 3); 4];
    let [size, kernel, stride] = [[size; 2], [kernel; 2], [stride; 2]];
    LinearShape::Conv(ConvShape { channels, size, outputs, kernel, stride, pads, groups: 1 })
}

fn shapes() -> Vec<(&'static str, LinearShape)> {
    let dense = |inputs, outputs| LinearShape::Dense { inputs, outputs };
    vec![
        ("bm3 conv 5x5 1-16 28", conv(1, 28, 16, 5, 1)),
        ("bm3 conv 5x5 16-16 12", conv(16, 12, 16, 5, 1)),
        ("bm3 dense 256-100", dense(256, 100)),
        ("bm3 dense 100-10 (last)", dense(100, 10)),
        ("bm4 conv 3x3 3-64 32", conv(3, 32, 64, 3, 1)),
        ("bm4 conv 3x3 64-64 32", conv(64, 32, 64, 3, 1)),
        ("bm4 conv 3x3 64-64 16", conv(64, 16, 64, 3, 1)),
        ("bm4 conv 1x1 64-16 8", conv(64, 8, 16, 1, 1)),
        ("bm4 dense 1024-10 (last)", dense(1024, 10)),
        ("resnet20 conv 3x3 16-16 32", conv(16, 32, 16, 3, 1)),
        ("resnet20 conv 3x3 16-32 32/2", conv(16, 32, 32, 3, 2)),
        ("resnet20 conv 3x3 32-32 16", conv(32, 16, 32, 3, 1)),
        ("resnet20 conv 3x3 64-64 8", conv(64, 8, 64, 3, 1)),
        ("resnet20 dense 64-10 (last)", dense(64, 10)),
        ("squeezenet conv 7x7 3-96 224/2", conv(3, 224, 96, 7, 2)),
        ("squeezenet conv 1x1 96-16 54", conv(96, 54, 16, 1, 1)),
        ("squeezenet conv 3x3 16-64 54", conv(16, 54, 64, 3, 1)),
        ("squeezenet conv 3x3 64-256 13", conv(64, 13, 256, 3, 1)),
        ("squeezenet conv 1x1 512-1000 13", conv(512, 13, 1000, 1, 1)),
        ("resnet18 dense 512-1000 (last)", dense(512, 1000)),
    ]
}

struct World {
    client: LinearClient,
    server: LinearServer,
    sk: SecretKey,
    pk: PublicKey,
    best: Duration,
}

impl World {
    fn new(packing: &Packing, params: &Params) -> Self {
        let shape = *packing.shape();
        let mut rng = Prg::new(&[1; 32], "degrees", &[]);
        let weights: Vec<i64> = (0..shape.weights() as i64).map(|i| i * 37 % 81 - 40).collect();
        let sk = SecretKey::generate(params.ring(), &mut rng);
        Self {
            pk: PublicKey::generate(&sk, &[1; 32], &Digest([2; 32]), &mut rng),
            sk,
            client: LinearClient::new(packing, params).unwrap(),
            server: LinearServer::new(packing, params, &weights, &vec![3; shape.channels_out()], None)
                .unwrap(),
            best: Duration::MAX,
        }
    }

    fn run(&mut self) {
        let mut rng = Prg::new(&[2; 32], "degrees", &[]);
        let share =
            Secret::new((0..self.server.packing().shape().input_len() as u64).map(|i| i * i).collect());
        let start = Instant::now();
        let upload = self.client.encrypt(&self.sk, &share, &mut rng).unwrap();
        let randomness = self.server.draw(&mut rng);
        let replies = self.server.evaluate(&upload, &share, &self.pk, randomness).unwrap();
        self.client.finish(&self.sk, &replies).unwrap();
        self.best = self.best.min(start.elapsed());
    }
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let ring = Ring::new(11).unwrap();
    println!("k = {K_BITS}, L = {SHARE_BITS}, weights up to 40; KB up + down = total, ms");
    for (name, shape) in shapes().into_iter().filter(|(name, _)| name.contains(&filter)) {
        let channels = shape.channels_out();
        let row = (shape.weights() / channels) as u64;
        let (packing, params) =
            Packing::choose(&ring, &shape, K_BITS, SHARE_BITS, &vec![row * 1600; channels]).unwrap();
        let down_bits = Params::flooded_reply_bits(SHARE_BITS);
        let least = Widths { n: 4096, up_bits: 54, down_bits };
        let least = Packing::plan(&shape, &least).unwrap().counts(&least);
        let (norms, results) = (vec![row * 40; channels], shape.output_len() as u64);
        let plan = FloodedPlan::choose(4096, &shape, K_BITS, SHARE_BITS, &norms, results);
        let plan = plan.ok().map(|plan| {
            let params = plan.params(&Ring::two_primes(12, plan.prime_bits).unwrap()).unwrap();
            (plan.packing, params)
        });
        let show = |up: u64, down: u64| format!("{} + {} = {}", up / 1000, down / 1000, (up + down) / 1000);
        let of = |packing: &Packing, params: &Params| {
            let counts = packing.counts(&Widths::of(params));
            format!("q {} {}", params.q_bits(), show(counts.up_bytes, counts.down_bytes))
        };
        let mut worlds = vec![World::new(&packing, &params)];
        worlds.extend(plan.as_ref().map(|(packing, params)| World::new(packing, params)));
        for _ in 0..RUNS {
            worlds.iter_mut().for_each(|w| pool.install(|| w.run()));
        }
        let times: Vec<String> =
            worlds.iter().map(|w| format!("{:.2}", w.best.as_secs_f64() * 1e3)).collect();
        println!(
            "{name}: 2048 {}; 4096 q 54 {}; flooded {}; ms {}",
            of(&packing, &params),
            show(least.up_bytes, least.down_bytes),
            plan.as_ref().map_or("-".into(), |(packing, params)| of(packing, params)),
            times.join(" / ")
        );
    }
}
