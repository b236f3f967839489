//! The command line, typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Private predictions: a server runs its network on data it never sees.
#[derive(Parser, Debug)]
#[command(name = "oblivia", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What is logged on standard error.
    #[arg(long, global = true, value_enum, default_value = "warn")]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
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

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start a server and classify real handwritten digits it never sees.
    Demo(DemoArgs),
    /// Show a model: graph, shapes, cost in the clear, and which systems can run it.
    Inspect(InspectArgs),
    /// Show what a private prediction would cost and who would learn what.
    Plan(PlanArgs),
    /// Offer models for private prediction.
    Serve(ServeArgs),
    /// Predict on images with a model on a server.
    Predict(PredictArgs),
    /// Measure, over loopback TLS with client and server in processes of their own.
    Bench(BenchArgs),
}

#[derive(Args, Debug)]
pub(crate) struct Machine {
    /// Threads for computing; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Where identities are kept.
    #[arg(long, default_value = ".oblivia")]
    pub(crate) state_dir: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct WishArgs {
    /// The system; see `oblivia inspect`.
    #[arg(long, default_value = "leveled")]
    pub(crate) system: String,
    /// A mode of the system.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// A plan by name.
    #[arg(long)]
    pub(crate) plan: Option<String>,
    /// Accept a leak by name; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) accept_leak: Vec<String>,
    /// Refuse a plan that moves more bytes, both ways.
    #[arg(long)]
    pub(crate) max_bytes: Option<u64>,
    /// Give up after this many seconds.
    #[arg(long)]
    pub(crate) max_seconds: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Number of shipped test images.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) images: u32,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Threads for computing; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// An ONNX file, or a folder with model.onnx and model.toml.
    pub(crate) model: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    /// An ONNX file, or a folder with model.onnx and model.toml.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Samples the session would predict.
    #[arg(long, default_value_t = 1)]
    pub(crate) images: u32,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Models: ONNX files, or folders with model.onnx and model.toml.
    #[arg(long = "model", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7443")]
    pub(crate) listen: SocketAddr,
    /// Sessions at a time.
    #[arg(long, default_value_t = 16)]
    pub(crate) max_sessions: usize,
    /// Memory for messages of all sessions together, in MiB.
    #[arg(long, default_value_t = 2048)]
    pub(crate) max_memory: u64,
    /// Largest message, in MiB.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_message: usize,
    /// Samples one session may predict.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) max_samples: u32,
    /// Seconds a peer may be silent.
    #[arg(long, default_value_t = 120.0)]
    pub(crate) idle_seconds: f64,
    /// Admit only the clients whose key hashes stand in this file, one per line.
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
    /// Shut down when standard input ends: for servers started by another program.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(Args, Debug)]
pub(crate) struct PredictArgs {
    /// Images (PNG, JPEG), arrays (npy) or folders of images.
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Address of the server.
    #[arg(long)]
    pub(crate) server: String,
    /// Fingerprint of the server's key, as `oblivia serve` prints it.
    #[arg(long, required_unless_present = "roots")]
    pub(crate) pin: Option<String>,
    /// Certificates of authorities to trust instead of a pin (PEM file).
    #[arg(long, conflicts_with = "pin")]
    pub(crate) roots: Option<PathBuf>,
    /// Name of the model.
    #[arg(long)]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Pretend the link is slower: bandwidth and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<String>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// What to measure, e.g. leveled/mnist-cryptonets.
    pub(crate) id: String,
    /// Number of MNIST test images.
    #[arg(long, default_value_t = 100)]
    pub(crate) images: u32,
    /// A plan by name.
    #[arg(long)]
    pub(crate) plan: Option<String>,
    /// Threads for each side; 0 is one per core.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Pretend the link is slower: bandwidth and round trip, e.g. 100mbit,40ms.
    #[arg(long)]
    pub(crate) link: Option<String>,
    /// Print the row as one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}
