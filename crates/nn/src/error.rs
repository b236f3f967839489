use crate::Shape;
use oblivia_base::Blame;
use thiserror::Error;

/// What can be wrong with a graph, a model or an evaluation.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NnError {
    /// A node does not fit its inputs.
    #[error("node `{node}` ({op}): {why}")]
    BadNode {
        /// Name of the node.
        node: String,
        /// Name of the operator.
        op: &'static str,
        /// What does not fit.
        why: String,
    },
    /// A wire is used before any node makes it.
    #[error("node `{node}` reads wire {wire}, which nothing before it makes")]
    DanglingWire {
        /// Name of the node.
        node: String,
        /// The wire.
        wire: u32,
    },
    /// A weight is missing or has another shape than the graph says.
    #[error("weight `{name}`: {why}")]
    BadWeight {
        /// Name of the weight.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A tensor has another shape than expected.
    #[error("{what} has shape {found}, expected {expected}")]
    ShapeMismatch {
        /// Which tensor.
        what: String,
        /// The shape it should have.
        expected: Shape,
        /// The shape it has.
        found: Shape,
    },
    /// A size is zero, overflows or is above the limit.
    #[error("{what}: {found} is outside 1..={max}")]
    BadSize {
        /// Which size.
        what: String,
        /// The size found.
        found: u64,
        /// The largest size accepted.
        max: u64,
    },
    /// The published part of a model contradicts itself.
    #[error("{what}: {why}")]
    BadModel {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A value is NaN or infinite.
    #[error("{what} contains a value that is not finite")]
    NotFinite {
        /// Which tensor.
        what: String,
    },
}

impl NnError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotFinite { .. } => Blame::NumericBound,
            _ => Blame::Input,
        }
    }
}
