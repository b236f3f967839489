use oblivia_base::Blame;
use oblivia_nn::NnError;
use thiserror::Error;

/// Why a model could not be read.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file is not what the ONNX format allows.
    #[error("not a valid ONNX file: {why} at byte {at}; it may be truncated or damaged, copy it again")]
    Corrupt {
        /// Offset in the file.
        at: usize,
        /// What is wrong there.
        why: String,
    },
    /// Something is above Oblivia's limit.
    #[error("{what}: {found} is more than the {max} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The size found.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// The model as a whole does not make sense or is not for inference on single samples.
    #[error("the model {why}")]
    BadModel {
        /// What is wrong and what to do.
        why: String,
    },
    /// A constant tensor cannot be read.
    #[error("tensor `{name}`: {why}")]
    BadTensor {
        /// Name in the file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A node breaks the rules of its operator.
    #[error("node `{node}` ({operator}): {why}")]
    BadNode {
        /// Name in the file.
        node: String,
        /// The operator.
        operator: String,
        /// What is wrong.
        why: String,
    },
    /// Operators Oblivia does not know.
    #[error("the model uses operators that Oblivia does not do: {operators}; `{known}` are known")]
    UnsupportedOperators {
        /// Each operator with its number of uses and the first node that has it.
        operators: String,
        /// The operators that are known.
        known: String,
    },
    /// A known operator is used in a way Oblivia does not do.
    #[error("node `{node}` ({operator}): {what} is not supported; {remedy}")]
    Unsupported {
        /// Name in the file.
        node: String,
        /// The operator.
        operator: String,
        /// The attribute or form.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// The manifest beside the model is wrong.
    #[error("manifest {path}: {why}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong and where.
        why: String,
    },
    /// The calibration beside the manifest is wrong, or of another model.
    #[error("calibration {path}: {why}")]
    Calibration {
        /// The file.
        path: String,
        /// What is wrong and where.
        why: String,
    },
    /// A graph rule is broken.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The file cannot be read.
    #[error("reading {path}: {why}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        why: String,
    },
}

impl OnnxError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnsupportedOperators { .. } | Self::Unsupported { .. } => Blame::Unsupported,
            Self::Nn(e) => e.blame(),
            Self::Io { .. } => Blame::Io,
            _ => Blame::Input,
        }
    }
}
