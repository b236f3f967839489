//! Flags of the commands of a client: `oblivia predict`, `prepare` and `keys`.

use super::value::{host_and_port, pin, samples};
use super::{Machine, StateArgs, WishArgs};
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand};
use oblivia_base::Digest;
use oblivia_net::LinkShape;
use oblivia_protocol::session::MAX_SAMPLES;
use std::path::PathBuf;

pub(super) const PREDICT_JSON: &str = "\
--json prints one object:
  schema   1
  images   one object per input: file, label, outputs (numbers), error, seconds (of its group);
           without an answer
           label and outputs are null and error says why, else error is null
  receipt  schema, model, plan (as in `oblivia plan --json`), plan_id, samples, keys (how: sent,
           reused, none; sent_bytes), ahead (how: none, used or made; groups: groups of images, mostly of one,
           that used a pack, or packs made), agreement (bytes and rounds of agreeing on the plan), traffic (measured:
           setup, offline, online, each up_bytes,
           down_bytes, rounds), ops (operations of this side), seconds, threads, assurance; where
           the server has budgets allowance (budget: which leaves least, images, left)

State directory: identity/client.pem holds this client's key and certificate, made on the first run;
keys/SERVER/ the secret keys for a server, see `oblivia keys`; packs/ what `oblivia prepare` made.";

pub(super) const PREPARE_JSON: &str = "\
A pack is what one image, with --group a group of them, needs of the phase before it; the server keeps its half
(`oblivia serve --packs`). `oblivia predict` with the same --state-dir, server, model and plan uses one per image or
group, once, as long as there are any.

--json prints one object:
  schema   1
  packs    packs of this server, model and plan that are there now
  receipt  as in `oblivia predict --json`, ahead.how being \"made\"

State directory: packs/client/ holds them, encrypted under the key beside them. They are used once: do not bring back an
older copy of that folder at both sides; at one side it does no harm.";

pub(super) const KEYS_JSON: &str = "\
`keys list --json` prints one object:
  schema  1
  keys    one object per key: file, server (fingerprint), system, client (fingerprint), params and
          request (ids), written (seconds since 1970), error (why it is not usable, or null)

Whoever reads a secret key can decrypt what was sent under it. One is kept per server, parameters and
key request, so that a server that still has the evaluation keys is not sent them again.";

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

/// A session with a server: with whom, for what, how.
#[derive(Args)]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    #[command(flatten)]
    pub(crate) wish: WishArgs,
    /// Pretend the link is slower, and plan for it where a system can, unless a plan is named: rate and round trip, e.g. 100mbit,40ms.
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
    pub(crate) session: SessionArgs,
    /// Afterwards make ahead what is missing so that the next N images find it, in whole groups, where the plan has such packs.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_SAMPLES)))]
    pub(crate) keep_prepared: u32,
    /// Use a secret key made for this session; the kept one is neither used nor replaced.
    #[arg(long)]
    pub(crate) fresh_keys: bool,
}

#[derive(Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// Images to prepare for; whole groups with --group.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = samples())]
    pub(crate) images: u32,
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
