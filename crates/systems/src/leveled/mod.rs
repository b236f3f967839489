#![doc = include_str!("README.md")]

mod batch;
mod choices;
mod circuit;
mod client;
mod exact;
pub mod fuzz;
mod layouts;
mod levels;
mod lola;
mod memory;
mod messages;
mod mlp;
mod network;
mod noise;
mod parameters;
mod plan;
mod program;
#[cfg(test)]
mod random_tests;
mod search;
mod server;
#[cfg(test)]
mod tests;
mod units;
mod workloads;
#[cfg(test)]
mod zeros_tests;

use crate::common::{TwoSeats, two_seats};
use oblivia_base::seed::EntropySource;
use oblivia_nn::{Graph, Model, Node, PublicModel};
use oblivia_protocol::{
    BoxFuture, Choices, Context, Error, Loaded, Outcome, Plan, Reference, Seat, Support, System, Wish,
    Workload,
};
use rayon::ThreadPool;
use std::sync::Arc;

/// The system: one encrypted upload, one encrypted reply.
#[derive(Debug, Clone, Copy)]
pub struct Leveled;

impl System for Leveled {
    fn id(&self) -> &'static str {
        plan::SYSTEM
    }

    fn summary(&self) -> &'static str {
        "the server computes on ciphertexts it cannot open: one upload, one reply per image"
    }

    fn modes(&self) -> &'static [&'static str] {
        &plan::MODES
    }

    fn plans(&self) -> &'static [&'static str] {
        &search::PLANS
    }

    fn workloads(&self, rng: &mut dyn EntropySource) -> Vec<Workload> {
        workloads::all(rng)
    }

    fn supports(&self, _: &Graph, node: &Node) -> Support {
        network::supports(node)
    }

    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        plan::search(model, wish)
    }

    fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
        plan::check(model, choices)
    }

    fn prepared_bytes(&self, plan: &Plan, model: &PublicModel) -> Result<Option<u64>, Error> {
        let bytes = match plan.choices.mode.as_str() {
            mode if exact::is_mode(mode) => exact::prepared_bytes(model, &plan.choices)?,
            batch::BATCH => batch::prepared_bytes(model, &plan.choices)?,
            _ => memory::prepared_bytes(model, &plan.choices)?,
        };
        Ok(Some(bytes))
    }

    fn load(&self, plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Loaded, Error> {
        Ok(match plan.choices.mode.as_str() {
            batch::BATCH => Arc::new(batch::server::Prepared::new(plan, model, pool)?),
            mode if exact::is_mode(mode) => Arc::new(exact::server::Prepared::new(plan, model, pool)?),
            _ => Arc::new(server::Prepared::new(plan, model, pool)?),
        })
    }

    fn reference(&self, plan: &Plan, model: &Model) -> Result<Option<Reference>, Error> {
        match exact::is_mode(&plan.choices.mode) {
            true => exact::server::integers(plan, model).map(|m| Some(Reference::Integers(m))),
            false => Ok(None),
        }
    }

    fn run<'a>(
        &'a self,
        plan: &'a Plan,
        seat: Seat,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            if exact::is_mode(&plan.choices.mode) {
                return match two_seats::<exact::server::Prepared>(seat, self.id())? {
                    TwoSeats::Client(model, inputs) => exact::client::run(&model, inputs, plan, cx).await,
                    TwoSeats::Server(prepared, n) => exact::server::run(&prepared, plan, n, cx).await,
                };
            }
            if plan.choices.mode == batch::BATCH {
                return match two_seats::<batch::server::Prepared>(seat, self.id())? {
                    TwoSeats::Client(model, inputs) => batch::client::run(&model, inputs, plan, cx).await,
                    TwoSeats::Server(prepared, n) => batch::server::run(&prepared, plan, n, cx).await,
                };
            }
            match two_seats::<server::Prepared>(seat, self.id())? {
                TwoSeats::Client(model, inputs) => client::run(&model, inputs, plan, cx).await,
                TwoSeats::Server(prepared, samples) => server::run(&prepared, plan, samples, cx).await,
            }
        })
    }
}
