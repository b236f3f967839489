use oblivia_base::{Digest, Transcript};

/// Which party is the sender of a COT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// The client holds Δ, the server chooses.
    ClientSends = 1,
    /// The server holds Δ, the client chooses.
    ServerSends = 2,
}

impl Direction {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::ClientSends => Self::ServerSends,
            Self::ServerSends => Self::ClientSends,
        }
    }
}

/// What every hash, seed and challenge of one direction of one session is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Digest of the session: both identities, plan, TLS exporter.
    pub session: Digest,
    /// Counts the lives of a stock: a stock that was put away and taken up again goes on in the next epoch.
    pub epoch: u32,
    /// Who sends.
    pub direction: Direction,
}

impl Label {
    /// A transcript of `domain` that begins with the label.
    pub fn transcript(&self, domain: &str) -> Transcript {
        let mut t = Transcript::new(domain);
        t.absorb("session", &self.session.0);
        t.absorb("epoch", &self.epoch.to_le_bytes());
        t.absorb("direction", &[self.direction as u8]);
        t
    }
}

/// The first sixteen bytes of a digest as a block.
pub(crate) fn low_block(digest: &Digest) -> u128 {
    digest.0.first_chunk().map_or(0, |b| u128::from_le_bytes(*b))
}
