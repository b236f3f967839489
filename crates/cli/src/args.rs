//! The command line, typed: a value that parses is usable, so what is wrong with a flag is a usage error.

mod client;
mod measure;
mod model;
mod quantise;
mod serve;
mod value;

pub(crate) use client::{ForgetArgs, KeysArgs, KeysCommand, PredictArgs, PrepareArgs, SessionArgs};
pub(crate) use measure::{BenchArgs, CalibrateArgs, DemoArgs};
pub(crate) use model::{InspectArgs, PlanArgs};
pub(crate) use quantise::QuantiseArgs;
pub(crate) use serve::{BudgetArgs, ServeArgs};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use oblivia_protocol::{Leak, System};
use std::path::PathBuf;
use std::time::Duration;
use value::{leaks, seconds, systems, threads};

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
    #[command(after_long_help = measure::DEMO_JSON)]
    Demo(DemoArgs),
    /// Show a model: graph, shapes, cost in the clear, and which systems can run it.
    #[command(after_long_help = model::INSPECT_JSON)]
    Inspect(InspectArgs),
    /// Show what a private prediction would cost and who would learn what.
    #[command(after_long_help = model::PLAN_JSON)]
    Plan(PlanArgs),
    /// Offer models for private prediction.
    #[command(after_long_help = serve::SERVE_JSON)]
    Serve(ServeArgs),
    /// Predict on images with a model on a server.
    #[command(after_long_help = client::PREDICT_JSON)]
    Predict(PredictArgs),
    /// Make ahead, with a server, what later predictions need before they see their images.
    #[command(after_long_help = client::PREPARE_JSON)]
    Prepare(PrepareArgs),
    /// Time this machine, so that plans are weighed with its own costs.
    #[command(after_long_help = measure::CALIBRATE_JSON)]
    Calibrate(CalibrateArgs),
    /// Bring a model to fixed point, for systems that compute on shares, and show what that costs in accuracy.
    #[command(after_long_help = quantise::JSON)]
    Quantise(QuantiseArgs),
    /// Show or forget the secret keys this machine keeps.
    #[command(after_long_help = client::KEYS_JSON)]
    Keys(KeysArgs),
    /// Measure, over loopback TLS with client and server in processes of their own.
    #[command(after_long_help = measure::BENCH_JSON)]
    Bench(BenchArgs),
}

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
    /// time, which costs memory and saves waiting. Refuse a plan of other groups.
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
