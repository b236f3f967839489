//! Flags of the commands that look at a model: `oblivia inspect` and `plan`.

use super::value::samples;
use super::{StateArgs, WishArgs};
use clap::Args;
use oblivia_net::LinkShape;
use std::path::PathBuf;

pub(super) const INSPECT_JSON: &str = "\
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

pub(super) const PLAN_JSON: &str = "\
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
    /// Plan for this link, rate and round trip, e.g. 100mbit,40ms, not for the one the plan's name stands for,
    /// where a system can.
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
