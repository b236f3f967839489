//! Flags of `oblivia serve`.

use super::Machine;
use super::value::{listen, owners_leaks, samples, seconds};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use oblivia_protocol::Leak;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const SERVE_JSON: &str = "\
--json prints one line when the server is ready:
  schema       1
  listening    address:port
  fingerprint  of the server's key, for --pin
  models       names

The log (--log info) has a line per session: client, model, system, samples, counted (images a budget counts,
where there is one), bytes, keys (sent, reused, none), key_bytes sent, packs used or made (packs_of_session:
how many, one for a group of images where the client asked for groups), and how full the key cache is (keys_kept, key_cache_bytes, key_cache_max_bytes).

State directory: identity/server.pem holds the server's key and certificate, made on the first run;
budgets/ what clients have used of their budgets, if there are any.";

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
