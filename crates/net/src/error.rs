use oblivia_base::Blame;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

/// What can go wrong around a link: while it is set up, not while it runs (that is
/// [`LinkError`](oblivia_protocol::LinkError)).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program listens there.
    #[error(
        "{address} is already in use by another program: stop that program, or listen elsewhere with \
         `--listen ADDRESS:PORT` (port 0 picks a free port)"
    )]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refuses to listen there.
    #[error("cannot listen on {address}: {why}; choose another address with `--listen ADDRESS:PORT`")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's words.
        why: String,
    },
    /// The state directory cannot be made, read or written.
    #[error(
        "cannot {doing} {}: {why}; make the directory writable for this user or choose another one with \
         `--state-dir DIR`", path.display()
    )]
    StateDir {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The operating system's words.
        why: String,
    },
    /// An identity file does not hold a key and its certificate.
    #[error(
        "{} is not a usable identity: {why}; restore it from a backup, or delete it to have a new one made \
         (its fingerprint will differ, and whoever pinned the old one must be told)", path.display()
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A private key can be read by other users.
    #[error(
        "{} holds a private key that other users can read (mode {mode:03o}); run `chmod 600 {}`",
        path.display(), path.display()
    )]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A bundle of certificate authorities or a server name is not usable.
    #[error("cannot check server certificates: {why}")]
    Roots {
        /// What is wrong, and what to do.
        why: String,
    },
    /// A fingerprint is not one.
    #[error(
        "{text:?} is not a fingerprint: 64 hexadecimal digits are expected, as the server prints them when it \
         starts"
    )]
    Fingerprint {
        /// What was given.
        text: String,
    },
    /// The text after `--link` is not a link.
    #[error("{text:?} is not a link ({why}): write rate and round-trip time, as in `100mbit,40ms`")]
    LinkShape {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The memory budget is used up.
    #[error(
        "{asked_bytes} bytes do not fit into the memory budget: {left_bytes} of {total_bytes} bytes are left; \
         raise `--max-memory` or serve fewer sessions at once"
    )]
    Memory {
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes left.
        left_bytes: u64,
        /// The whole budget.
        total_bytes: u64,
    },
    /// Threads or descriptors ran out.
    #[error("cannot start the server: {why}")]
    Runtime {
        /// The operating system's words.
        why: String,
    },
    /// A caller asked for a configuration that cannot work.
    #[error("misuse: {why}")]
    Misuse {
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::AddressInUse { .. } | Self::Bind { .. } | Self::StateDir { .. } => Blame::Io,
            Self::Identity { .. }
            | Self::KeyExposed { .. }
            | Self::Roots { .. }
            | Self::Fingerprint { .. }
            | Self::LinkShape { .. } => Blame::Input,
            Self::Memory { .. } | Self::Runtime { .. } => Blame::Resource,
            Self::Misuse { .. } => Blame::Misuse,
        }
    }
}
