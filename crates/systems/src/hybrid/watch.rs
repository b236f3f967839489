//! A client that keeps what layers show it: what a mode gives away is for tests to say, not for words.

use super::tap::Tap;
use super::{aided, client};
use oblivia_base::Secret;
use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::{Context, Error, Outcome, Plan};

/// Told of a convolution or dense layer, by its node in the network in fixed point, for every sample in turn: the sums it
/// made (mode `client-aided`), or the client's share of its results (mode `shared`), row-major.
pub type Seen<'a> = &'a mut (dyn FnMut(usize, &[i64]) + Send + Sync);

/// Plays the client of either mode to the end, as an honest client does in every message.
///
/// # Errors
/// As a session.
pub async fn client(
    model: &PublicModel,
    inputs: Vec<Tensor>,
    plan: &Plan,
    cx: &mut Context<'_>,
    seen: Seen<'_>,
) -> Result<Outcome, Error> {
    match plan.choices.mode.as_str() {
        aided::MODE => aided::client::run(model, inputs, plan, cx, Some(seen)).await,
        _ => client::run(model, inputs, plan, cx, Shares(seen)).await,
    }
}

/// Shares of results.
struct Shares<'a>(Seen<'a>);

impl Tap for Shares<'_> {
    fn finish(&mut self, node: usize, share: &Secret<Vec<u64>>) {
        let share = Secret::new(share.expose().iter().map(|&v| v as i64).collect::<Vec<_>>());
        (self.0)(node, share.expose());
    }
}
