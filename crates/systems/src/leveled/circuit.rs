//! What a plan runs: a program of layouts and matrix products, or the circuits of a published plan.

use super::choices::{InputForm, LeveledChoices};
use super::lola::LolaProgram;
use super::network::Network;
use super::program::Program;
use oblivia_nn::{Tensor, Weights};
use oblivia_pack::circuit::lola::Lola;
use oblivia_pack::{Plain, Scale, Slots};
use oblivia_protocol::Error;

/// The circuits of a network.
#[derive(Clone, Debug)]
pub(super) enum Circuit {
    /// By layouts.
    Program(Box<Program>),
    /// LoLa's.
    Lola(Box<LolaProgram>),
}

impl Circuit {
    /// The circuits of `network` as chosen.
    pub(super) fn new(network: Network, choices: &LeveledChoices) -> Result<Self, Error> {
        match &choices.input {
            InputForm::Lola(choice) => {
                if !choices.layers.is_empty() || choices.deferred {
                    let why = "plan `lola` has no layouts and encodes its plaintexts once".to_owned();
                    return Err(Error::InvalidMessage { message: "Offer", why });
                }
                let slots = 1usize << choices.params.log_n;
                let own = LolaProgram::new(network, choice, choices.input_log_scale, slots)?;
                Ok(Self::Lola(Box::new(own)))
            }
            _ => Ok(Self::Program(Box::new(Program::new(network, choices)?))),
        }
    }

    pub(super) fn network(&self) -> &Network {
        match self {
            Self::Program(p) => p.network(),
            Self::Lola(l) => l.network(),
        }
    }

    /// Primes that are used up, and the one that stays.
    pub(super) fn levels(&self) -> usize {
        match self {
            Self::Program(p) => p.levels(),
            Self::Lola(_) => Lola::LEVELS,
        }
    }

    /// Input ciphertexts.
    pub(super) fn input_vectors(&self) -> usize {
        match self {
            Self::Program(p) => p.input_vectors(),
            Self::Lola(l) => l.lola().input_vectors(),
        }
    }

    /// Ciphertexts of the reply.
    pub(super) fn output_vectors(&self) -> usize {
        match self {
            Self::Program(p) => p.output_vectors(),
            Self::Lola(l) => l.lola().output_vectors(),
        }
    }

    pub(super) fn input_scale(&self) -> Scale {
        match self {
            Self::Program(p) => p.input_scale(),
            Self::Lola(l) => l.input_scale(),
        }
    }

    /// Whether slots of the reply that hold no output are zero.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            Self::Program(p) => p.is_clean(),
            // Every slot of a row's vector holds its output.
            Self::Lola(_) => true,
        }
    }

    /// Published bound on |output|.
    pub(super) fn output_bound(&self) -> f64 {
        self.network().layers.last().map_or(1.0, |l| l.norm * l.peak)
    }

    /// Number of plaintexts.
    pub(super) fn plain_count(&self) -> usize {
        match self {
            Self::Program(p) => p.plain_count(),
            Self::Lola(l) => l.lola().plain_count(),
        }
    }

    /// The client's input as normalised slot vectors.
    pub(super) fn encode(&self, x: &Tensor) -> Vec<Vec<f64>> {
        match self {
            Self::Program(p) => p.encode(x),
            Self::Lola(l) => l.encode(x),
        }
    }

    /// The outputs from the slots of the reply.
    pub(super) fn decode(&self, reply: &[Vec<f64>]) -> Vec<f64> {
        match self {
            Self::Program(p) => p.decode(reply.first().map(Vec::as_slice).unwrap_or_default()),
            Self::Lola(l) => l.decode(reply),
        }
    }

    /// Every plaintext in order of use, normalised.
    pub(super) fn plains(&self, weights: &Weights) -> Vec<Plain> {
        match self {
            Self::Program(p) => p.plains(weights),
            Self::Lola(l) => l.plains(weights),
        }
    }

    /// Runs the network on its input vectors.
    pub(super) fn run<S: Slots>(
        &self,
        s: &mut S,
        xs: &[S::Ct],
        plains: &[S::Pt],
    ) -> Result<Vec<S::Ct>, S::Error> {
        match self {
            Self::Program(p) => p.run(s, xs, plains),
            Self::Lola(l) => l.run(s, xs, plains),
        }
    }

    /// The layers in words.
    pub(super) fn describe(&self) -> Vec<String> {
        match self {
            Self::Program(p) => p.describe(),
            Self::Lola(l) => l.describe(),
        }
    }
}
