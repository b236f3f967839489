//! The command line, typed: a value that parses is usable, so what is wrong with a flag is a usage error.

mod quantise;

pub(crate) use quantise::QuantiseArgs;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, RangedU64ValueParser};
use clap::builder::{TypedValueParser, ValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use oblivia_base::Digest;
use oblivia_net::LinkShape;
use oblivia_protocol::{Leak, System, session::MAX_SAMPLES};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const CODES: &str = "\
Exit codes: 0 done, 2 usage, 3 input, 4 refused by policy, 5 peer, 6 I/O or resources, 70 bug.
Messages go to standard error, results to standard output.";

/// Private predictions: a server runs its network on data it never sees.
#[derive(Parser)]
#[command(name = "oblivia", version, propagate_version = true, after_help = CODES)]
pub(crate) struct Cli {
    /// What is logged on standard error: error, warn, info or debug.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "warn",
        hide_possible_values = true,
        display_order = 900
    )]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is logged.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Log {
    /// Failures.
    Error,
    /// What an operator should look at.
    Warn,
    /// Sessions.
    Info,
    /// Messages.
    Debug,
}

impl Log {
    pub(crate) fn level(self) -> tracing::Level {
        match self {
            Self::Error => tracing::Level::ERROR,
            Self::Warn => tracing::Level::WARN,
            Self::Info => tracing::Level::INFO,
            Self::Debug => tracing::Level::DEBUG,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a server and classify real handwritten digits it never sees.
    #[command(after_long_help = DEMO_JSON)]
    Demo(DemoArgs),
    /// Show a model: graph, shapes, cost in the clear, and which systems can run it.
    #[command(after_long_help = INSPECT_JSON)]
    Inspect(InspectArgs),
    /// Show what a private prediction would cost and who would learn what.
    #[command(after_long_help = PLAN_JSON)]
    Plan(PlanArgs),
    /// Offer models for private prediction.
    #[command(after_long_help = SERVE_JSON)]
    Serve(ServeArgs),
    /// Predict on images with a model on a server.
    #[command(after_long_help = PREDICT_JSON)]
    Predict(PredictArgs),
    /// Make ahead, with a server, what later predictions need before they see their images.
    #[command(after_long_help = PREPARE_JSON)]
    Prepare(PrepareArgs),
    /// Time this machine, so that plans are weighed with its own costs.
    #[command(after_long_help = CALIBRATE_JSON)]
    Calibrate(CalibrateArgs),
    /// Bring a model to fixed point, for systems that compute on shares, and show what that costs in accuracy.
    #[command(after_long_help = quantise::JSON)]
    Quantise(QuantiseArgs),
    /// Show or forget the secret keys this machine keeps.
    #[command(after_long_help = KEYS_JSON)]
    Keys(KeysArgs),
    /// Measure, over loopback TLS with client and server in processes of their own.
    #[command(after_long_help = BENCH_JSON)]
    Bench(BenchArgs),
}

const DEMO_JSON: &str = "\
--json prints one object:
  schema   2
  systems  one object per system, leveled and hybrid unless one is named: system, model, and
    images   one object per image: file, label (null without an answer), truth, milliseconds,
             bytes (both ways, online; both of its group where images are predicted together)
    right    how many labels equal the truth
    receipt  as in `oblivia predict --json`";

const INSPECT_JSON: &str = "\
--json prints one object:
  schema   1
  model    name
  input    shape; for an image also width, height, channels
  output   shape
  labels   number of labels
  nodes    one object per node: name, op, inputs (names), shape, macs, params, bound (or null)
  total    macs, params
  systems  one object per system: system, verdict (yes, rewrite, no), plan (name or null), why (sentences)
  notes    what the model file leaves open";

const PLAN_JSON: &str = "\
--json prints one object:
  schema   1
  model    name
  plan_id  identifies the plan; equal on both sides of a session
  images   as given
  traffic  setup, offline, online for all images: up_bytes, down_bytes, rounds; without the three
           messages that agree on the plan
  plan     choices (system, mode, plan), model (digest), cost (setup, setup_reused where the server
           still has the client's keys, group (images predicted together), and per group offline,
           online, ops, and ahead (null, or setup of sessions that use packs for some or all images or
           make them, and pack_bytes)), key_bytes, session_memory_bytes (keys on the server), work_memory_bytes (of the
           server, beside them), client_memory_bytes, security_bits, parameters, predicted_us (one group on
           one thread), error (units_2_32: bound
           in 2^-32, assumption, measured: whether it was seen and is no bound), leaks (to, leak, detail), trust (role, behaviour, breaks), steps";

const SERVE_JSON: &str = "\
--json prints one line when the server is ready:
  schema       1
  listening    address:port
  fingerprint  of the server's key, for --pin
  models       names

The log (--log info) has a line per session: client, model, system, samples, counted (images a budget counts,
where there is one), bytes, keys (sent, reused, none), key_bytes sent, packs used or made (packs_of_session: how many, one for a group of images where the
client asked for groups), and how full the key cache is (keys_kept, key_cache_bytes, key_cache_max_bytes).

State directory: identity/server.pem holds the server's key and certificate, made on the first run;
budgets/ what clients have used of their budgets, if there are any.";

const CALIBRATE_JSON: &str = "\
--json prints one object: schema, file, picoseconds (per unit of work, by name)

Servers that use the same --state-dir and `oblivia plan` weigh plans with it.";

const KEYS_JSON: &str = "\
`keys list --json` prints one object:
  schema  1
  keys    one object per key: file, server (fingerprint), system, client (fingerprint), params and
          request (ids), written (seconds since 1970), error (why it is not usable, or null)

Whoever reads a secret key can decrypt what was sent under it. One is kept per server, parameters and
key request, so that a server that still has the evaluation keys is not sent them again.";

const PREDICT_JSON: &str = "\
--json prints one object:
  schema   1
  images   one object per input: file, label, outputs (numbers), error, seconds (of its group);
           without an answer
           label and outputs are null and error says why, else error is null
  receipt  schema, model, plan (as in `oblivia plan --json`), plan_id, samples, keys (how: sent,
           reused, none; sent_bytes), ahead (how: none, used or made; groups: groups of images, mostly of one,
           that used a pack, or packs made), agreement (bytes and rounds of agreeing on the plan), traffic (measured: setup, offline, online, each up_bytes,
           down_bytes, rounds), ops (operations of this side), seconds, threads, assurance; where
           the server has budgets allowance (budget: which leaves least, images, left)

State directory: identity/client.pem holds this client's key and certificate, made on the first run;
keys/SERVER/ the secret keys for a server, see `oblivia keys`; packs/ what `oblivia prepare` made.";

const PREPARE_JSON: &str = "\
A pack is what one image, with --group a group of them, needs of the phase before it; the server keeps its half (`oblivia serve
--packs`). `oblivia predict` with the same --state-dir, server, model and plan uses one per image or group, once, as long as there
are any.

--json prints one object:
  schema   1
  packs    packs of this server, model and plan that are there now
  receipt  as in `oblivia predict --json`, ahead.how being \"made\"

State directory: packs/client/ holds them, encrypted under the key beside them. They are used once: do not bring back an
older copy of that folder at both sides; at one side it does no harm.";

const BENCH_JSON: &str = "\
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
  accuracy                  float, fixed (null: no fixed-point evaluator), private
  labels_equal              images whose private label equals that of the network the plan computes: the clear one, or the
                            one in whole numbers or fixed point
  max_output_error, declared_output_error; output_error_from: which network's outputs these are about
  as_declared               whether measured bytes and rounds equal the plan's
  learned                   what client and server learn
  plan_id, cpu, commit      the commit of the sources, + if they were changed

The test sets are taken from $OBLIVIA_DATA or ../shared/data: mnist; cifar10, whose images are JPEG (lossy); imagenet, of
which there are 100 images, probably training images. Networks that take no images are given numbers spread over their range.";

#[derive(Args)]
pub(crate) struct Machine {
    /// Threads for computing; 0 is one per core.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads())]
    pub(crate) threads: usize,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct StateArgs {
    /// Where identities and secret keys are kept.
    #[arg(long, value_name = "DIR", default_value = ".oblivia")]
    pub(crate) state_dir: PathBuf,
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
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Show which keys are kept for which servers.
    List(ListArgs),
    /// Delete keys: the next session makes new ones and sends them. And packs that `prepare` made.
    Forget(ForgetArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("which").required(true)))]
pub(crate) struct ForgetArgs {
    /// Those for the server of this fingerprint.
    #[arg(long, value_name = "FINGERPRINT", value_parser = pin, group = "which")]
    pub(crate) server: Option<Digest>,
    /// All of them.
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

#[derive(Args, Clone)]
pub(crate) struct WishArgs {
    /// The system, leveled if not said; `oblivia inspect` says which can run a model.
    #[arg(long, value_parser = systems())]
    system: Option<&'static dyn System>,
    /// A mode of the system.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) mode: Option<String>,
    /// A plan by name.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) plan: Option<String>,
    /// Accept that this is revealed; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = leaks())]
    pub(crate) accept_leak: Vec<Leak>,
    /// Images that share messages, where a system can choose: `hybrid` takes a group of them through the network at the same
    /// time, which costs memory and saves waiting.
    #[arg(long, value_name = "N")]
    pub(crate) group: Option<u32>,
    /// Have a plan that moves no more bytes, both ways, where a system can choose; refuse others.
    #[arg(long, value_name = "N")]
    pub(crate) max_bytes: Option<u64>,
    /// Refuse a plan that takes more memory of this side, in MiB, inputs and answers not counted; a client allows 2048 if
    /// not told.
    #[arg(long, value_name = "MIB")]
    pub(crate) max_memory: Option<u64>,
    /// Give up after this many seconds. Without it a server is given up that is silent for 120 seconds, or that shows
    /// itself at work on one answer for 3600.
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) max_seconds: Option<Duration>,
}

impl WishArgs {
    /// The system that was asked for, or the one that stands for none.
    pub(crate) fn system(&self) -> &'static dyn System {
        self.system.unwrap_or(&oblivia_systems::leveled::Leveled)
    }

    /// Whether a system, a mode or a plan of one was asked for.
    pub(crate) fn names_one(&self) -> bool {
        self.system.is_some() || self.mode.is_some() || self.plan.is_some()
    }
}

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
pub(crate) struct InspectArgs {
    /// An ONNX file, or a folder with model.onnx and model.toml.
    pub(crate) model: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    /// An ONNX file, or a folder with model.onnx and model.toml.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Plan for this link, rate and round trip, e.g. 100mbit,40ms, not for the one the plan's name stands for.
    #[arg(long)]
    pub(crate) link: Option<LinkShape>,
    /// Images the session would predict.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = samples())]
    pub(crate) images: u32,
    /// Compare all plans of the system, those that there are not for this model named below with the reason.
    #[arg(long, conflicts_with = "plan")]
    pub(crate) compare: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// A model: an ONNX file, or a folder with model.onnx and model.toml; may be given several times.
    #[arg(long = "model", value_name = "PATH", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// Sessions at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub(crate) max_sessions: usize,
    /// Sessions at a time of one client key.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub(crate) max_sessions_per_client: usize,
    /// Sessions at a time from one address (IPv4 address, IPv6 network of 64 bits); clients behind one proxy share it.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub(crate) max_sessions_per_address: usize,
    /// Memory in MiB, once for keys, messages and work of all sessions together, and once more for the encoded weights of
    /// all plans together: those used longest ago that no session runs with are dropped for others, and encoded again when
    /// asked for. What finds no room is turned away.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub(crate) max_memory: u64,
    /// Memory for evaluation keys of clients that may come again, in MiB, on top of --max-memory; half of it
    /// at most for one client; 0 keeps none.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) key_cache: u64,
    /// Disk for what clients make ahead of images with `oblivia prepare`, in MiB below --state-dir, half of it at most for one
    /// client; 0 keeps none.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub(crate) packs: u64,
    /// Largest message, in MiB, up to 1024.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) max_message: usize,
    /// Images one session may predict.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = samples())]
    pub(crate) max_samples: u32,
    /// Seconds a client may be silent.
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) idle_seconds: Duration,
    /// Bytes per second a message must keep up with, beyond the seconds of --idle-seconds; 0 for any rate.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub(crate) min_rate: u64,
    /// Seconds a session may take in all.
    #[arg(long, value_name = "S", default_value = "86400", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) max_session_seconds: Duration,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    /// Admit only the clients whose fingerprints stand in this file, one per line; # begins a comment. Behind a fingerprint
    /// may stand images=N and images-per-day=N, a budget of its own; on lines of their own NAME = N with the names of the
    /// four budgets above.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Serve plans by which clients learn this, though they can rebuild the model from it; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = owners_leaks())]
    pub(crate) accept_leak: Vec<Leak>,
    /// Shut down when standard input ends: for servers started by another program.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// Query budgets: whoever has enough outputs of a model can rebuild it.
#[derive(Args)]
pub(crate) struct BudgetArgs {
    /// Images one client key may have predicted by each model, ever; counted in the state directory. Whole groups count in
    /// modes that predict many images at once.
    #[arg(long, value_name = "N")]
    pub(crate) client_images: Option<u64>,
    /// The same per day (UTC).
    #[arg(long, value_name = "N")]
    pub(crate) client_images_per_day: Option<u64>,
    /// Images all clients together may have predicted by each model, ever: without --policy a new key is a new client, and
    /// nothing else limits who makes many.
    #[arg(long, value_name = "N")]
    pub(crate) model_images: Option<u64>,
    /// The same per day (UTC).
    #[arg(long, value_name = "N")]
    pub(crate) model_images_per_day: Option<u64>,
}

#[derive(Args)]
pub(crate) struct PeerArgs {
    /// Address and port of the server.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) server: String,
    /// Fingerprint of the server's key, as `oblivia serve` prints it.
    #[arg(long, value_name = "FINGERPRINT", required_unless_present = "roots", value_parser = pin)]
    pub(crate) pin: Option<Digest>,
    /// Certificates of authorities to trust instead of a pin (PEM).
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    pub(crate) roots: Option<PathBuf>,
    /// Name of the model on the server.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) model: String,
}

#[derive(Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Images to prepare for; whole groups with --group.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = samples())]
    pub(crate) images: u32,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Pretend the link is slower, and plan for it unless a plan is named: rate and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<LinkShape>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(Args)]
pub(crate) struct PredictArgs {
    /// Images (PNG, JPEG), arrays (npy), many images in one file (idx3-ubyte, as MNIST has them) or folders of them.
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Afterwards make ahead what is missing so that the next N images find it, in whole groups, where the plan has such packs.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_SAMPLES)))]
    pub(crate) keep_prepared: u32,
    /// Use a secret key made for this session; the kept one is neither used nor replaced.
    #[arg(long)]
    pub(crate) fresh_keys: bool,
    /// Pretend the link is slower, and plan for it unless a plan is named: rate and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<LinkShape>,
    #[command(flatten)]
    pub(crate) machine: Machine,
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
    /// Pretend the link is slower, and plan for it unless a plan is named: rate and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<LinkShape>,
    /// Images that share messages, where a system can choose.
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

fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=1024)
}

fn samples() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(MAX_SAMPLES))
}

fn systems() -> ValueParser {
    let names = oblivia_systems::SYSTEMS.iter().map(|s| PossibleValue::new(s.id()).help(s.summary()));
    ValueParser::new(
        PossibleValuesParser::new(names)
            .try_map(|id| oblivia_systems::find(&id).ok_or("this build has no such system")),
    )
}

fn leaks() -> ValueParser {
    leaks_that(Leak::needs_acceptance)
}

fn owners_leaks() -> ValueParser {
    leaks_that(Leak::gives_model_away)
}

fn leaks_that(are: fn(Leak) -> bool) -> ValueParser {
    let names = Leak::ALL.into_iter().filter(|l| are(*l)).map(Leak::name);
    ValueParser::new(
        PossibleValuesParser::new(names).try_map(|n| Leak::from_name(&n).ok_or("there is no such leak")),
    )
}

/// A positive, finite number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let wait = number.filter(|d| !d.is_zero() && d.as_secs() < 1 << 32);
    wait.ok_or_else(|| "a positive number of seconds is expected, as in 30 or 0.5".to_owned())
}

fn pin(text: &str) -> Result<Digest, oblivia_net::Error> {
    oblivia_net::parse_fingerprint(text.trim())
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| {
        "write ADDRESS:PORT, as in 127.0.0.1:7443 or [::1]:7443; port 0 takes a free one".to_owned()
    })
}

fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, p)| p.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => {
            Err("write HOST:PORT, as in localhost:7443; `oblivia serve` prints it when it starts".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "nan", "inf", "1e300", "1e10", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_to_connect_to_has_a_host_and_a_port() {
        for good in ["localhost:7443", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(host_and_port(good), Ok(good.to_owned()));
        }
        for bad in ["", "localhost", ":7443", "localhost:", "localhost:0", "localhost:65536", "localhost:x"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

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
