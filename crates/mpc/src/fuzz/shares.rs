//! One party of a protocol on shares against a peer that says anything.

use crate::ideal::dealer;
use crate::{
    Bits, Cost, Link, LinkFault, MpcError, Party, Radix, Range, Session, Shares, and_bits, and_bits_cost,
    and_private, and_private_cost, arg_max, arg_max_cost, divide, divide_cost, max_of, max_of_cost, relu,
    relu_cost, select, select_cost, sign, sign_cost, to_ring, to_ring_cost, truncate, truncate_close,
    truncate_close_cost, truncate_cost, truncate_reduce, truncate_reduce_cost, widen, widen_cost,
};
use oblivia_base::Blame;
use oblivia_base::codec::Reader;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Protocols that [`Setting::protocol`] tells apart.
pub const PROTOCOLS: u8 = 13;

/// Which protocol, on what, as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Below [`PROTOCOLS`].
    pub protocol: u8,
    /// Bits of the ring, 4 to 32.
    pub width: u32,
    /// Elements, 1 to 100.
    pub elements: usize,
    /// Digits compared at a time.
    pub radix: Radix,
    /// Who this is.
    pub party: Party,
    /// Who writes first.
    pub pen: Party,
}

impl Setting {
    /// From four bytes, any of which mean something.
    pub fn new([protocol, width, elements, rest]: [u8; 4]) -> Self {
        let party = |bit: u8| if rest >> bit & 1 == 1 { Party::Server } else { Party::Client };
        Self {
            protocol: protocol % PROTOCOLS,
            width: 4 + u32::from(width % 29),
            elements: 1 + usize::from(elements % 100),
            radix: Radix::ALL.into_iter().cycle().nth(usize::from(rest >> 2)).unwrap_or(Radix::Four),
            party: party(0),
            pen: party(1),
        }
    }

    /// The declared cost of [`Setting::play`].
    pub fn cost(&self) -> Cost {
        let (l, n, radix) = (self.width, self.elements, self.radix);
        match self.protocol {
            0 => relu_cost(l, radix),
            1 => and_bits_cost(),
            2 => and_private_cost(),
            3 => select_cost(l),
            4 => to_ring_cost(l),
            5 => widen_cost(l, l + 7, Range::Any, radix),
            6 => widen_cost(l, l + 3, Range::SpareBit, radix),
            7 => truncate_cost(l, l / 2, radix),
            8 => truncate_reduce_cost(l, 3, radix),
            9 => truncate_close_cost(2),
            10 => divide_cost(l, 3, radix),
            11 => return max_of_cost(3, n, l, radix),
            _ => return arg_max_cost(3, n, l, 5, radix).then(&sign_cost(l, 9, radix).times(n)),
        }
        .times(n)
    }

    /// Plays the party's role.
    ///
    /// # Errors
    /// What the peer causes.
    pub async fn play<L: Link>(&self, link: L) -> Result<(), MpcError> {
        let (l, n, radix) = (self.width, self.elements, self.radix);
        let [client, server] = dealer::pads(&[9; 32]);
        let pads = if self.party == Party::Client { client } else { server };
        let limit = self.cost().max_message_bytes();
        let mut session = Session::new(self.party, self.pen, link, pads, limit);
        let cx = &mut session;
        let x = Shares::new(l, (0..n as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect())?;
        let b = Bits::from_fn(n, |i| i % 3 == 0);
        match self.protocol {
            0 => drop(relu(cx, &x, radix).await?),
            1 => drop(and_bits(cx, &b, &x.bit(1)).await?),
            2 => drop(and_private(cx, &b).await?),
            3 => drop(select(cx, &b, &x).await?),
            4 => drop(to_ring(cx, &b, l).await?),
            5 => drop(widen(cx, &x, l + 7, Range::Any, radix).await?),
            6 => drop(widen(cx, &x, l + 3, Range::SpareBit, radix).await?),
            7 => drop(truncate(cx, &x, l / 2, radix).await?),
            8 => drop(truncate_reduce(cx, &x, 3, radix).await?),
            9 => drop(truncate_close(cx, &x, 2).await?),
            10 => drop(divide(cx, &x, 3, radix).await?),
            11 => drop(max_of(cx, vec![x.clone(), x.scale(3), x.scale(5)], radix).await?),
            _ => {
                drop(arg_max(cx, vec![x.clone(), x.scale(3), x.scale(5)], 5, radix).await?);
                drop(sign(cx, &x, 9, radix).await?);
            }
        }
        session.finish().await
    }
}

/// A peer whose messages are written down beforehand.
struct Script(VecDeque<Vec<u8>>);

impl Link for Script {
    async fn send(&mut self, _: Vec<u8>) -> Result<(), LinkFault> {
        Ok(())
    }

    async fn recv(&mut self, max_bytes: usize) -> Result<Vec<u8>, LinkFault> {
        let message = self.0.pop_front().filter(|m| m.len() <= max_bytes);
        message.ok_or(LinkFault { blame: Blame::PeerMisbehaved, what: "no message within the limit".into() })
    }
}

/// What a party makes of the peer's messages.
///
/// # Errors
/// What the peer causes.
///
/// # Panics
/// If the party waits where nothing can come.
pub fn against(setting: &Setting, messages: Vec<Vec<u8>>) -> Result<(), MpcError> {
    let role = pin!(setting.play(Script(messages.into())));
    match role.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a script never waits"),
    }
}

/// Four bytes of [`Setting`], then messages, each behind two bytes with its length. Whether they were accepted.
///
/// # Panics
/// When an error blames this party.
pub fn protocol(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    let Ok(setting) = r.array::<4>("setting") else { return false };
    let mut messages = Vec::new();
    while let Ok(len) = r.u16("length") {
        let len = usize::from(len).min(r.remaining());
        messages.push(r.raw(len, "message").unwrap_or_default().to_vec());
    }
    match against(&Setting::new(setting), messages) {
        Ok(()) => true,
        Err(e) => {
            assert!(matches!(e.blame(), Blame::InvalidMessage | Blame::PeerMisbehaved), "blamed: {e}");
            false
        }
    }
}
