#![doc = include_str!("README.md")]

mod ahead;
pub mod aided;
mod choices;
mod client;
pub mod fuzz;
mod keys;
mod last;
mod limits;
mod link;
mod packs;
mod parts;
mod plan;
mod schedule;
mod search;
mod server;
pub mod simulator;
mod stock;
mod tap;
#[cfg(test)]
mod tests;
mod walk;
pub mod watch;

use crate::common::{TwoSeats, two_seats};
use oblivia_base::Digest;
use oblivia_nn::{Graph, Model, Node, PublicModel};
use oblivia_protocol::{
    BoxFuture, Choices, Context, Error, Loaded, Outcome, Plan, Reference, Seat, Support, System, Wish,
};
use rayon::ThreadPool;
use std::sync::Arc;

/// The system: linear layers under encryption, comparisons on shares.
#[derive(Debug, Clone, Copy)]
pub struct Hybrid;

impl System for Hybrid {
    fn id(&self) -> &'static str {
        plan::SYSTEM
    }

    fn summary(&self) -> &'static str {
        "client and server compute together on shares: any trained network with ReLU and max-pool, many short messages"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[plan::MODE, aided::MODE]
    }

    fn plans(&self) -> &'static [&'static str] {
        &plan::PLANS
    }

    fn supports(&self, graph: &Graph, node: &Node) -> Support {
        plan::supports(graph, node)
    }

    fn plan(&self, model: &PublicModel, wish: &Wish) -> Result<Plan, Error> {
        match wish.mode.as_deref() {
            Some(aided::MODE) => aided::search(model, wish),
            _ => search::search(model, wish),
        }
    }

    fn check(&self, model: &PublicModel, choices: &Choices) -> Result<Plan, Error> {
        match choices.mode.as_str() {
            aided::MODE => aided::check(model, choices),
            _ => plan::check(model, choices),
        }
    }

    fn prepared_bytes(&self, plan: &Plan, model: &PublicModel) -> Result<Option<u64>, Error> {
        match plan.choices.mode.as_str() {
            aided::MODE => aided::prepared_bytes(model, &plan.choices).map(Some),
            _ => plan::prepared_bytes(model, &plan.choices).map(Some),
        }
    }

    fn load(&self, plan: &Plan, model: &Model, pool: &ThreadPool) -> Result<Loaded, Error> {
        Ok(match plan.choices.mode.as_str() {
            aided::MODE => Arc::new(aided::server::Prepared::new(plan, model, pool)?),
            _ => Arc::new(server::Prepared::new(plan, model, pool)?),
        })
    }

    fn plans_for_links(&self, mode: &str) -> bool {
        mode != aided::MODE
    }

    fn prepared_name(&self, plan: &Plan) -> Digest {
        match plan.choices.mode.as_str() {
            aided::MODE => plan.digest(),
            // Digits of comparisons and sources of OTs prepare nothing.
            _ => Digest::of("hybrid prepared v1", &plan.model.0.0),
        }
    }

    fn reference(&self, plan: &Plan, model: &Model) -> Result<Option<Reference>, Error> {
        let network = match plan.choices.mode.as_str() {
            aided::MODE => plan::network(&model.public)?,
            _ => {
                plan::decode(&plan.choices)?;
                plan::network(&model.public)?
            }
        };
        server::fixed_model(&network, model).map(|m| Some(Reference::FixedPoint(m)))
    }

    fn run<'a>(
        &'a self,
        plan: &'a Plan,
        seat: Seat,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            if plan.choices.mode == aided::MODE {
                return match two_seats::<aided::server::Prepared>(seat, self.id())? {
                    TwoSeats::Client(model, inputs) => {
                        aided::client::run(&model, inputs, plan, cx, None).await
                    }
                    TwoSeats::Server(prepared, n) => aided::server::run(&prepared, plan, n, cx).await,
                };
            }
            match two_seats::<server::Prepared>(seat, self.id())? {
                TwoSeats::Client(model, inputs) => client::run(&model, inputs, plan, cx, ()).await,
                TwoSeats::Server(prepared, samples) => server::run(&prepared, samples, plan, cx).await,
            }
        })
    }

    fn make_ahead<'a>(
        &'a self,
        plan: &'a Plan,
        seat: Seat,
        samples: u32,
        cx: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            match two_seats::<server::Prepared>(seat, self.id())? {
                TwoSeats::Client(model, _) => {
                    let d = plan::derive(&model, &plan.choices)?;
                    ahead::client(&d, plan, samples.div_ceil(d.choices.images), cx).await
                }
                TwoSeats::Server(prepared, _) => {
                    let d = prepared.base.clone().with(plan::decode(&plan.choices)?)?;
                    ahead::server(&d, plan, samples.div_ceil(d.choices.images), cx).await
                }
            }
        })
    }
}
