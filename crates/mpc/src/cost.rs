//! What a protocol sends and takes from the stocks, computed without running it.

use crate::Party;

/// Messages in bits and correlated OTs of a protocol, from the view of whoever holds the pen when it starts.
///
/// Message 0 is the pen holder's, message 1 the peer's, and so on alternately. Message 0 continues what the pen's holder
/// was writing, and the last one goes on with what follows. See [`crate::Session`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    messages: Vec<u64>,
    cots: [u64; 2],
}

impl Default for Cost {
    fn default() -> Self {
        Self::none()
    }
}

impl Cost {
    /// Of a local computation.
    pub fn none() -> Self {
        Self { messages: vec![0], cots: [0; 2] }
    }

    /// The pen's holder sends `bits` and keeps the pen.
    pub(crate) fn write(bits: u64) -> Self {
        Self { messages: vec![bits], cots: [0; 2] }
    }

    /// The pen passes without a word.
    pub(crate) fn passing() -> Self {
        Self { messages: vec![0, 0], cots: [0; 2] }
    }

    /// The pen's holder sends `bits` and passes the pen.
    pub(crate) fn tell(bits: u64) -> Self {
        Self::exchange(bits, 0)
    }

    /// The pen's holder sends `first`, the peer `second`; the pen is the peer's then.
    pub(crate) fn exchange(first: u64, second: u64) -> Self {
        match first + second {
            0 => Self::none(),
            _ => Self { messages: vec![first, second], cots: [0; 2] },
        }
    }

    /// With COTs in which the pen's holder is the sender, and in which the peer is.
    pub(crate) fn with_cots(mut self, first: u64, second: u64) -> Self {
        self.cots[0] += first;
        self.cots[1] += second;
        self
    }

    /// Of this protocol and then `next`.
    #[must_use]
    pub fn then(mut self, next: &Self) -> Self {
        let swapped = !self.changes().is_multiple_of(2);
        let (head, tail) = next.messages.split_first().unwrap_or((&0, &[]));
        if let Some(last) = self.messages.last_mut() {
            *last += head;
        }
        self.messages.extend(tail);
        let [a, b] = next.cots;
        let [first, second] = if swapped { [b, a] } else { [a, b] };
        self.with_cots(first, second)
    }

    /// Of the protocol on `n` elements at a time; no element is no message.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        if n == 0 {
            return Self::none();
        }
        let n = n as u64;
        self.messages.iter_mut().for_each(|m| *m *= n);
        self.cots = self.cots.map(|c| c * n);
        self
    }

    /// Of protocols side by side, each message filled up to a byte. No protocol is no message.
    pub(crate) fn beside(parts: &[Self]) -> Self {
        let longest = parts.iter().map(|p| p.messages.len()).max().unwrap_or(1);
        let whole = |part: &Self, j: usize| part.messages.get(j).map_or(0, |bits| 8 * bits.div_ceil(8));
        let messages = (0..longest).map(|j| parts.iter().map(|p| whole(p, j)).sum()).collect();
        let cots = [0, 1].map(|i| parts.iter().map(|p| p.cots.get(i).copied().unwrap_or(0)).sum());
        Self { messages, cots }
    }

    /// Bits of each message, both parties' in turn, the pen's holder first.
    pub fn messages(&self) -> &[u64] {
        &self.messages
    }

    /// Bits sent by both parties.
    pub fn bits(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// Bytes of all messages, each filled up to a byte.
    pub fn bytes(&self) -> u64 {
        self.messages.iter().map(|m| m.div_ceil(8)).sum()
    }

    /// Bytes of the longest message.
    pub fn max_message_bytes(&self) -> usize {
        let bytes = self.messages.iter().map(|m| m.div_ceil(8)).max().unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Direction changes: messages after the first, which rides with what the pen's holder sent before.
    pub fn changes(&self) -> usize {
        self.messages.len().saturating_sub(1)
    }

    /// Correlated OTs of both directions.
    pub fn cots(&self) -> u64 {
        self.cots.iter().sum()
    }

    /// Correlated OTs in which `party` is the sender, if `pen` held the pen at the start.
    pub fn cots_sent_by(&self, party: Party, pen: Party) -> u64 {
        let [first, second] = self.cots;
        if party == pen { first } else { second }
    }
}
