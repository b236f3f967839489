//! What leaves the shares, and bytes of others that ride in the same messages.

use crate::{Cost, Link, MpcError, PadSource, Party, Session, Shares, open};

/// Opens x to one party: the other gets `None`. Afterwards the party that spoke holds the pen.
///
/// Leak: `to` learns x.
///
/// # Errors
/// What the peer causes.
pub async fn reveal<L: Link, P: PadSource>(
    cx: &mut Session<L, P>,
    x: &Shares,
    to: Party,
) -> Result<Option<Vec<u64>>, MpcError> {
    let (width, n) = (x.width(), x.len());
    if n > 0 {
        cx.give_pen(to.other());
    }
    if cx.party() == to {
        let theirs = cx.read(n.saturating_mul(width as usize), |r| r.values(width, n)).await?;
        Ok(Some(open(x, &Shares::new(width, theirs)?)?))
    } else {
        cx.write(|w| w.values(width, x.values()))?;
        Ok(None)
    }
}

/// Of [`reveal`], per element, when `pen` holds the pen.
pub fn reveal_cost(width: u32, to: Party, pen: Party) -> Cost {
    let bits = u64::from(width);
    if pen == to { Cost::exchange(0, bits) } else { Cost::write(bits) }
}

impl<L: Link, P: PadSource> Session<L, P> {
    /// Bytes of the pen's holder, e.g. ciphertexts, in the message it is writing. It keeps the pen.
    ///
    /// # Errors
    /// [`MpcError::MessageBytes`] or [`MpcError::Padding`] if the peer's last message was not read to its end;
    /// [`MpcError::Argument`] for the other party.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), MpcError> {
        self.require_pen(true)?;
        self.write(|w| w.bytes(bytes)).map(drop)
    }

    /// The counterpart of [`Session::put_bytes`]: `n` bytes of the pen's holder.
    ///
    /// # Errors
    /// [`MpcError::Link`], [`MpcError::MessageBytes`]; [`MpcError::Argument`] for the pen's holder.
    pub async fn get_bytes(&mut self, n: usize) -> Result<Vec<u8>, MpcError> {
        self.require_pen(false)?;
        self.read(n.saturating_mul(8), |r| r.bytes(n)).await
    }

    /// Both parties agree that the other one writes from here on; what was written leaves when this party has to read.
    pub fn pass_pen(&mut self) {
        self.give_pen(self.pen().other());
    }
}

impl Cost {
    /// Of [`Session::put_bytes`], all of it.
    pub fn of_bytes(n: u64) -> Self {
        Self::write(8 * n)
    }

    /// Of [`Session::pass_pen`].
    pub fn of_passing() -> Self {
        Self::passing()
    }

    /// Who holds the pen after a protocol of this cost that began with `pen` holding it.
    pub fn pen_after(&self, pen: Party) -> Party {
        if self.changes().is_multiple_of(2) { pen } else { pen.other() }
    }
}
