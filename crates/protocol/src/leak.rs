//! What a party learns beyond its own data: declared by the plan, accepted by the user, asserted by tests.

use crate::Role;
use oblivia_base::codec::{Encode, Writer};
use serde::Serialize;
use std::fmt;

/// Names of leaks, as used with `--accept-leak`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Leak {
    /// The input itself.
    Input,
    /// Values inside the network, in clear.
    IntermediateActivations,
    /// Values inside the network, multiplied by a blinding factor.
    BlindedActivations,
    /// Results of arithmetic nobody checked.
    UnverifiedArithmetic,
    /// The matrix of inner products of the first activations.
    GramOfFirstActivation,
    /// Sums over parts of a layer's inputs, beside its outputs.
    PartialSums,
    /// The network's structure: operators, shapes, strides.
    ModelStructure,
    /// Bounds on wires, measured on training data and published with the model.
    PublishedBounds,
    /// Which weights are zero, published with the model.
    Sparsity,
    /// The model's outputs on the client's own inputs.
    Outputs,
    /// How many samples are predicted, and when.
    SampleCount,
}

impl Leak {
    /// Every leak that has a name.
    pub const ALL: [Self; 11] = [
        Self::Input,
        Self::IntermediateActivations,
        Self::BlindedActivations,
        Self::UnverifiedArithmetic,
        Self::GramOfFirstActivation,
        Self::PartialSums,
        Self::ModelStructure,
        Self::PublishedBounds,
        Self::Sparsity,
        Self::Outputs,
        Self::SampleCount,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::IntermediateActivations => "intermediate-activations",
            Self::BlindedActivations => "blinded-activations",
            Self::UnverifiedArithmetic => "unverified-arithmetic",
            Self::GramOfFirstActivation => "gram-of-first-activation",
            Self::PartialSums => "partial-sums",
            Self::ModelStructure => "model-structure",
            Self::PublishedBounds => "published-bounds",
            Self::Sparsity => "sparsity",
            Self::Outputs => "outputs",
            Self::SampleCount => "sample-count",
        }
    }

    /// The leak of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.name() == name)
    }

    /// Whether a user must accept it by name. What every prediction service reveals by its purpose need not
    /// be, nor what the model's owner chose to publish.
    pub fn needs_acceptance(self) -> bool {
        match self {
            Self::Input
            | Self::IntermediateActivations
            | Self::BlindedActivations
            | Self::UnverifiedArithmetic
            | Self::GramOfFirstActivation
            | Self::PartialSums => true,
            Self::ModelStructure
            | Self::PublishedBounds
            | Self::Sparsity
            | Self::Outputs
            | Self::SampleCount => false,
        }
    }
}

impl Leak {
    /// Whether the model's owner must accept it by name too: whoever learns it can rebuild the model.
    pub fn gives_model_away(self) -> bool {
        matches!(self, Self::IntermediateActivations | Self::BlindedActivations)
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of "who learns what".
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeakStatement {
    /// Who learns it.
    pub to: Role,
    /// What.
    pub leak: Leak,
    /// In words.
    pub detail: String,
}

impl Encode for LeakStatement {
    /// Who and what; not the words.
    fn encode(&self, w: &mut Writer) {
        self.to.encode(w);
        w.str(self.leak.name());
    }
}

/// How a party may behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Follows the protocol and looks at everything it sees.
    SemiHonest,
    /// Does anything.
    Malicious,
}

/// One row of the trust table: what breaks if `role` behaves like that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrustRow {
    /// The party.
    pub role: Role,
    /// Its behaviour.
    pub behaviour: Behaviour,
    /// What breaks; empty if nothing does.
    pub breaks: String,
}

impl Encode for TrustRow {
    /// Who, how, and whether anything breaks; not the words.
    fn encode(&self, w: &mut Writer) {
        self.role.encode(w);
        w.bool(self.behaviour == Behaviour::Malicious);
        w.bool(!self.breaks.is_empty());
    }
}
