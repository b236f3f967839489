//! What several systems share.

pub(crate) mod keys;

use oblivia_nn::{PublicModel, Tensor};
use oblivia_protocol::{Behaviour, Error, Leak, LeakStatement, Loaded, Role, Seat, TrustRow};
use std::any::Any;
use std::sync::Arc;

/// The two seats of a client-server system, with the server's prepared model in its own type.
pub(crate) enum TwoSeats<T> {
    /// The public model and the client's inputs.
    Client(Arc<PublicModel>, Vec<Tensor>),
    /// The server's prepared model and the number of samples.
    Server(Arc<T>, u32),
}

/// Takes a seat apart. The prepared model must come from the same system's `load`.
pub(crate) fn two_seats<T: Any + Send + Sync>(seat: Seat, system: &str) -> Result<TwoSeats<T>, Error> {
    match seat {
        Seat::Client { model, inputs } => {
            let shape = model.graph.input_shape();
            match inputs.iter().find(|x| x.shape() != shape) {
                None => Ok(TwoSeats::Client(model, inputs)),
                Some(x) => {
                    Err(Error::Input(format!("an input has shape {}, the model takes {shape}", x.shape())))
                }
            }
        }
        Seat::Server { loaded, samples } => downcast(loaded, system).map(|l| TwoSeats::Server(l, samples)),
    }
}

fn downcast<T: Any + Send + Sync>(loaded: Loaded, system: &str) -> Result<Arc<T>, Error> {
    loaded
        .downcast::<T>()
        .map_err(|_| Error::Misuse(format!("the model was loaded by another system than `{system}`")))
}

/// What every prediction service reveals by its purpose. Sessions of one client key can be told to be of one client:
/// TLS shows the key, and with the same key come the same evaluation keys. Whatever the plan, a client is given what is
/// published with `model`.
pub(crate) fn inherent_leaks(model: &PublicModel, to_server: &str, published: bool) -> Vec<LeakStatement> {
    let mut leaks = vec![
        statement(Role::Client, Leak::ModelStructure, "operators, shapes and strides of the network"),
        statement(Role::Client, Leak::Outputs, "the network's outputs on its own inputs"),
        statement(
            Role::Server,
            Leak::SampleCount,
            &format!("{to_server}, and which sessions come from the same client key"),
        ),
    ];
    if published {
        let detail = "bounds on activations and norms of weight rows, published with the model";
        leaks.push(statement(Role::Client, Leak::PublishedBounds, detail));
    }
    if model.graph.publishes_zeros() {
        let detail = "which weights are zero, published with the model";
        leaks.push(statement(Role::Client, Leak::Sparsity, detail));
    }
    leaks
}

/// One line of "who learns what".
pub(crate) fn statement(to: Role, leak: Leak, detail: &str) -> LeakStatement {
    LeakStatement { to, leak, detail: detail.to_owned() }
}

/// One row of the trust table.
pub(crate) fn trust(role: Role, behaviour: Behaviour, breaks: &str) -> TrustRow {
    TrustRow { role, behaviour, breaks: breaks.to_owned() }
}
