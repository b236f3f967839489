use oblivia_base::Blame;
use thiserror::Error as ThisError;

/// What can go wrong for a program that embeds Oblivia.
#[derive(Debug, Clone, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// In a session, or while planning one.
    #[error(transparent)]
    Session(#[from] oblivia_protocol::Error),
    /// Around the network: address, state directory, identity.
    #[error(transparent)]
    Net(#[from] oblivia_net::Error),
    /// In an image, an array or a data set.
    #[error(transparent)]
    Data(#[from] oblivia_data::DataError),
    /// In the contents of one file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: oblivia_data::DataError,
    },
    /// In a model that cannot be read, or in its manifest.
    #[error(transparent)]
    Model(#[from] oblivia_onnx::OnnxError),
    /// In the unit costs of a state directory.
    #[error("{}: {why}; run `oblivia calibrate` again or delete the file", path.display())]
    Calibration {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// In the counts of query budgets in a state directory.
    #[error("{}: {why}", path.display())]
    Budget {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// In the contents of a model file.
    #[error("{}: {source}", path.display())]
    ModelFile {
        /// The file, or the folder it is in.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: oblivia_onnx::OnnxError,
    },
}

impl Error {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Session(e) => e.blame(),
            Self::Net(e) => e.blame(),
            Self::Data(e) | Self::File { source: e, .. } => e.blame(),
            Self::Calibration { .. } | Self::Budget { .. } => Blame::Io,
            Self::Model(e) | Self::ModelFile { source: e, .. } => e.blame(),
        }
    }
}

impl From<oblivia_protocol::LinkError> for Error {
    fn from(e: oblivia_protocol::LinkError) -> Self {
        Self::Session(e.into())
    }
}
