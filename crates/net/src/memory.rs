//! A link inside one process: two queues. It needs no runtime and no timer.

use crate::frame::{Header, aborted, judge, next_sequence};
use oblivia_protocol::wire::MAX_BODY_BYTES;
use oblivia_protocol::{BoxFuture, Expect, Identities, Kind, LinkError, Wire};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One end of a link inside one process. It checks kinds, lengths and order as every link does; it has no
/// timeout, so a peer that is alive and silent is waited for.
#[derive(Debug)]
pub struct MemoryWire {
    outgoing: Option<UnboundedSender<(Header, Vec<u8>)>>,
    incoming: UnboundedReceiver<(Header, Vec<u8>)>,
    sent: u32,
    due: u32,
    failed: Option<LinkError>,
    binding: Option<[u8; 32]>,
    ends: Option<Identities>,
}

/// Two connected ends without binding and identities.
pub fn pair() -> (MemoryWire, MemoryWire) {
    let (a_out, b_in) = unbounded_channel();
    let (b_out, a_in) = unbounded_channel();
    (MemoryWire::new(a_out, a_in), MemoryWire::new(b_out, b_in))
}

impl MemoryWire {
    fn new(
        outgoing: UnboundedSender<(Header, Vec<u8>)>,
        incoming: UnboundedReceiver<(Header, Vec<u8>)>,
    ) -> Self {
        let outgoing = Some(outgoing);
        Self { outgoing, incoming, sent: 0, due: 0, failed: None, binding: None, ends: None }
    }

    /// What [`Wire::binding`] answers. Nothing stands behind it: for tests.
    #[must_use]
    pub fn with_binding(mut self, binding: [u8; 32]) -> Self {
        self.binding = Some(binding);
        self
    }

    /// What [`Wire::identities`] answers. Nothing stands behind it: for tests.
    #[must_use]
    pub fn with_identities(mut self, ends: Identities) -> Self {
        self.ends = Some(ends);
        self
    }

    fn push(&mut self, kind: Kind, body: Vec<u8>) -> Result<(), LinkError> {
        let Some(outgoing) = &self.outgoing else {
            return Err(LinkError::Io("a message was sent after the link was finished".into()));
        };
        let body_bytes = body_length(&body)?;
        let header = Header { kind, sequence: self.sent, body_bytes };
        self.sent = next_sequence(self.sent)?;
        outgoing.send((header, body)).map_err(|_| LinkError::Closed { during: "sending a message" })
    }

    async fn take(&mut self, expect: Expect) -> Result<Vec<u8>, LinkError> {
        if let Some(e) = &self.failed {
            return Err(e.clone());
        }
        let result = match self.incoming.recv().await {
            None => Err(LinkError::Closed { during: "waiting for a message" }),
            Some((header, body)) => match judge(header, self.due, expect, MAX_BODY_BYTES) {
                Err(e) => Err(e),
                Ok(true) => Err(aborted(&body)),
                Ok(false) => next_sequence(self.due).map(|next| {
                    self.due = next;
                    body
                }),
            },
        };
        self.failed = result.as_ref().err().cloned();
        result
    }
}

/// The length of a body that any link carries.
pub(crate) fn body_length(body: &[u8]) -> Result<u32, LinkError> {
    u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY_BYTES).ok_or_else(|| {
        LinkError::Io(format!(
            "a message of {} bytes was to be sent; links carry {MAX_BODY_BYTES}",
            body.len()
        ))
    })
}

impl Wire for MemoryWire {
    fn send(&mut self, kind: Kind, body: Vec<u8>) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move { self.push(kind, body) })
    }

    fn recv(&mut self, expect: Expect) -> BoxFuture<'_, Result<Vec<u8>, LinkError>> {
        Box::pin(self.take(expect))
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move {
            self.outgoing = None;
            Ok(())
        })
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }

    fn identities(&self) -> Option<Identities> {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::ready;
    use oblivia_base::Digest;
    use oblivia_base::codec::Encode;
    use oblivia_protocol::Notice;

    #[test]
    fn messages_cross_in_order_without_a_runtime() {
        let (mut a, mut b) = pair();
        ready(a.send(Kind::Hello, vec![1])).unwrap();
        ready(a.send(Kind::System(3), vec![2; 5])).unwrap();
        ready(b.send(Kind::Offer, vec![])).unwrap();
        assert_eq!(ready(b.recv(Expect::at_most(Kind::Hello, 9))), Ok(vec![1]));
        assert_eq!(ready(b.recv(Expect::exactly(Kind::System(3), 5))), Ok(vec![2; 5]));
        assert_eq!(ready(a.recv(Expect::exactly(Kind::Offer, 0))), Ok(vec![]));
        assert_eq!((a.binding(), a.identities()), (None, None));
    }

    #[test]
    fn an_unexpected_kind_or_size_is_refused_and_the_refusal_stays() {
        let (mut a, mut b) = pair();
        ready(a.send(Kind::Hello, vec![1; 9])).unwrap();
        ready(a.send(Kind::Hello, vec![1; 8])).unwrap();
        let e = LinkError::Oversize { kind: Kind::Hello, found: 9, max: 8 };
        assert_eq!(ready(b.recv(Expect::at_most(Kind::Hello, 8))), Err(e.clone()));
        assert_eq!(ready(b.recv(Expect::at_most(Kind::Hello, 8))), Err(e));
    }

    #[test]
    fn an_abort_comes_back_as_its_notice() {
        let (mut a, mut b) = pair();
        ready(a.send(Kind::Abort, Notice::Refused.to_bytes())).unwrap();
        assert_eq!(ready(b.recv(Expect::at_most(Kind::Offer, 8))), Err(LinkError::Aborted(Notice::Refused)));
    }

    #[test]
    fn what_was_sent_before_the_end_still_arrives_and_then_the_link_is_closed() {
        let (mut a, mut b) = pair();
        ready(a.send(Kind::System(9), vec![])).unwrap();
        ready(a.finish()).unwrap();
        assert!(ready(a.send(Kind::System(9), vec![])).is_err());
        ready(b.recv(Expect::exactly(Kind::System(9), 0))).unwrap();
        assert!(matches!(ready(b.recv(Expect::exactly(Kind::System(9), 0))), Err(LinkError::Closed { .. })));
        ready(b.send(Kind::System(9), vec![])).unwrap();
        ready(a.recv(Expect::exactly(Kind::System(9), 0))).unwrap();
    }

    #[test]
    fn sending_to_a_dropped_peer_says_closed() {
        let (mut a, b) = pair();
        drop(b);
        assert!(matches!(ready(a.send(Kind::System(9), vec![])), Err(LinkError::Closed { .. })));
    }

    #[test]
    fn binding_and_identity_are_what_the_test_says() {
        let (a, _b) = pair();
        let ends = Identities { own: Digest([4; 32]), peer: Digest([5; 32]) };
        let a = a.with_binding([3; 32]).with_identities(ends);
        assert_eq!((a.binding(), a.identities()), (Some([3; 32]), Some(ends)));
    }
}
