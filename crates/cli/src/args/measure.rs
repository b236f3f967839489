//! Flags of the commands that show and time this machine at work: `oblivia demo`, `calibrate` and `bench`.

use super::value::threads;
use super::{StateArgs, WishArgs};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use oblivia_net::LinkShape;
use oblivia_protocol::System;

pub(super) const DEMO_JSON: &str = "\
--json prints one object:
  schema   2
  systems  one object per system, leveled and hybrid unless one is named: system, model, and
    images   one object per image: file, label (null without an answer), truth, milliseconds,
             bytes (both ways, online; both of its group where images are predicted together)
    right    how many labels equal the truth
    receipt  as in `oblivia predict --json`";

pub(super) const CALIBRATE_JSON: &str = "\
--json prints one object: schema, file, picoseconds (per unit of work, by name)

Servers that use the same --state-dir and `oblivia plan` weigh plans with it.";

pub(super) const BENCH_JSON: &str = "\
--json prints one object, a row:
  schema, id, system, model, mode, plan, images, threads, link
  warm                      whether the server had the client's keys from a session before
  runs                      how often it was measured; what follows is of the run with the median total
  seconds                   setup, offline, online: totals over the run, from a cold start unless warm
  seconds_of_runs           the totals of all runs, ascending
  images_per_group          images predicted together: 1 but in mode batch, where a group with fewer costs the same
  seconds_per_group_median  online; seconds_per_image_median is the same where images_per_group is 1, else null
  images_per_second         over the online seconds, which encryption, sending and decryption are in
  bytes                     setup, offline, online, each up and down; header and body, before TLS
  rounds                    direction changes, all phases
  ops_per_group             (ops_per_image: the same where images_per_group is 1, else null) rotations, hoisted, ct_mul, pt_mul, scalar_mul, add, relin, rescale, ntt
  key_bytes                 evaluation keys; contained in bytes.setup.up unless warm
  peak_memory_bytes         client and server process (null where the system does not tell)
  accuracy                  float, fixed (null: no fixed-point evaluator), private; null where inputs have no labels
  labels_equal              images whose private label equals that of the network the plan computes: the clear one, or the
                            one in whole numbers or fixed point
  max_output_error, declared_output_error; output_error_from: which network's outputs these are about
  as_declared               whether measured bytes and rounds equal the plan's
  learned                   what client and server learn
  plan_id, cpu, commit      the commit this program was built from, + if its sources were changed; unknown outside git

The test sets are taken from $OBLIVIA_DATA or ../shared/data: mnist; cifar10, whose images are JPEG (lossy); imagenet, of
which there are 100 images, probably training images. Networks that take no images are given numbers spread over their range.";

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Number of shipped test images, up to 200.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) images: u32,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Threads for computing, on each side; 0 is one per core.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads())]
    pub(crate) threads: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What to measure: SYSTEM/NETWORK or SYSTEM/NETWORK/MODE, e.g. leveled/mnist-cryptonets.
    #[arg(value_parser = bench_id)]
    pub(crate) id: BenchId,
    /// Number of test images, up to 100,000; beyond the 10,000 there are they come again. Default: 100, or a group of the
    /// mode if that is more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) images: Option<u32>,
    /// A plan by name.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) plan: Option<String>,
    /// Threads for each side; 0 is one per core.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads())]
    pub(crate) threads: usize,
    /// Pretend the link is slower, and plan for it where a system can, unless a plan is named: rate and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<LinkShape>,
    /// Images that share messages, where a system can choose. Refuse a plan of other groups.
    #[arg(long, value_name = "N")]
    pub(crate) group: Option<u32>,
    /// The fastest plan that moves no more bytes, both ways, where a system can choose.
    #[arg(long, value_name = "N")]
    pub(crate) max_bytes: Option<u64>,
    /// Measure so often, each time a client the server has not seen; the run with the median total is shown.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Measure a client that comes again: the server has its keys from a session before.
    #[arg(long)]
    pub(crate) warm: bool,
    /// Print the row as one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A network a benchmark can run.
struct Network {
    /// In the id of a benchmark.
    name: &'static str,
    /// Below `models`.
    folder: &'static str,
    /// What is added to a label of the test set.
    offset: usize,
}

const fn network(name: &'static str, folder: &'static str) -> Network {
    Network { name, folder, offset: 0 }
}

/// The networks a benchmark can run.
const NETWORKS: [Network; 13] = [
    network("mnist-cryptonets", "mnist-cryptonets"),
    network("tenseal-mnist", "tenseal-mnist"),
    network("cifar-lola", "cifar-lola"),
    network("cifar-quadratic", "cifar-quadratic"),
    network("bm3", "mnist-bm3"),
    network("bm4", "minionn-cifar10"),
    network("resnet20", "resnet20-cifar10"),
    network("relu-64k", "relu-64k"),
    network("relu-2m", "relu-2m"),
    network("squeezenet", "squeezenet-imagenet"),
    network("resnet18", "resnet18-imagenet"),
    network("resnet50", "resnet50-imagenet"),
    Network { offset: 1, ..network("mobilenetv2", "mobilenetv2-imagenet") },
];

/// What to measure.
#[derive(Clone)]
pub(crate) struct BenchId {
    /// As given.
    pub(crate) text: String,
    pub(crate) system: &'static dyn System,
    /// The model, below `models`.
    pub(crate) folder: &'static str,
    /// What is added to a label of the test set.
    pub(crate) offset: usize,
    pub(crate) mode: Option<&'static str>,
}

fn bench_id(text: &str) -> Result<BenchId, String> {
    let parse = || {
        let mut parts = text.split('/');
        let system = oblivia_systems::find(parts.next()?)?;
        let network = parts.next()?;
        let &Network { folder, offset, .. } = NETWORKS.iter().find(|n| n.name == network)?;
        let mode = match parts.next() {
            None => None,
            Some(mode) => Some(*system.modes().iter().find(|m| **m == mode)?),
        };
        parts.next().is_none().then(|| BenchId { text: text.to_owned(), system, folder, offset, mode })
    };
    parse().ok_or_else(|| {
        let pairs = oblivia_systems::SYSTEMS.iter().flat_map(|s| {
            NETWORKS.iter().map(|n| n.name).flat_map(move |n| {
                let modes = s.modes().iter().map(move |m| format!("{}/{n}/{m}", s.id()));
                std::iter::once(format!("{}/{n}", s.id())).chain(modes)
            })
        });
        format!("there is no such benchmark; there are: {}", pairs.collect::<Vec<_>>().join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_is_a_system_a_network_and_perhaps_a_mode() {
        let id = bench_id("leveled/mnist-cryptonets/approximate").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (id.system.id(), id.folder, id.mode),
            ("leveled", "mnist-cryptonets", Some("approximate"))
        );
        for bad in [
            "",
            "/",
            "leveled",
            "leveled/",
            "no/mnist-cryptonets",
            "clear/mnist-cryptonets/no",
            "clear/mnist-cryptonets/float/x",
        ] {
            let why = bench_id(bad).err().unwrap_or_default();
            assert!(why.contains("clear/mnist-cryptonets"), "{bad}: {why}");
        }
    }
}
