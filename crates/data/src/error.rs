use oblivia_base::Blame;
use oblivia_nn::NnError;
use thiserror::Error;

/// Why a file did not become a tensor.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The bytes are not an image that can be read.
    #[error("not a readable image: {why}; PNG and JPEG files with 8 bits per channel are")]
    BadImage {
        /// What is wrong.
        why: String,
    },
    /// The image is sound but not what the model takes.
    #[error("the image is {found}, the model takes {expected}; {remedy}")]
    ImageMismatch {
        /// What the image is.
        found: String,
        /// What the model takes.
        expected: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The bytes are not an idx array.
    #[error("not a readable idx file: {why}")]
    BadIdx {
        /// What is wrong.
        why: String,
    },
    /// The bytes are not an npy array.
    #[error("not a readable npy file: {why}")]
    BadNpy {
        /// What is wrong.
        why: String,
    },
    /// A labelled set contradicts itself.
    #[error("{what}: {why}")]
    BadSet {
        /// Which file.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Something is above the limit.
    #[error("{what}: {found} is more than the {max} allowed")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The size found; at least this much where it was not read to the end.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Test data is not there.
    #[error("no data directory: {why}; set OBLIVIA_DATA to the folder with mnist/, models/ and the rest")]
    NoData {
        /// Where it was looked for.
        why: String,
    },
    /// A tensor rule is broken.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A file cannot be read.
    #[error("reading {path}: {why}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        why: String,
    },
}

impl DataError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Nn(e) => e.blame(),
            Self::Io { .. } => Blame::Io,
            _ => Blame::Input,
        }
    }
}
