//! Length-prefixed, domain-tagged hashing (BLAKE3).
//!
//! Plan, roles, keys, session id and the TLS exporter go through one [`Transcript`]; its digest enters every
//! pseudo-random label, so nothing derived in one session fits another.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use std::fmt;
use zeroize::Zeroize;

/// 32 bytes of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of `bytes` under the domain `domain`.
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        let mut t = Transcript::new(domain);
        t.absorb("bytes", bytes);
        t.digest()
    }

    /// The first eight bytes in hexadecimal, for people.
    pub fn short(&self) -> String {
        self.0.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// All bytes in hexadecimal.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut out = [0u8; 32];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(out))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl Encode for Digest {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

impl Decode for Digest {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.array("digest")?))
    }
}

/// A running hash of labelled fields; field boundaries are part of what is hashed.
#[derive(Clone)]
pub struct Transcript(blake3::Hasher);

impl Transcript {
    /// An empty transcript of the given domain, e.g. `"session v1"`.
    pub fn new(domain: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(&format!("oblivia {domain}")))
    }

    /// Adds one field. Two transcripts agree only if all labels and contents do, in order.
    pub fn absorb(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Wipes what was absorbed; for transcripts of secrets.
    pub(crate) fn wipe(&mut self) {
        self.0.zeroize();
    }

    /// The digest of everything absorbed so far.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Digests of messages under one domain, each hashed from its first byte, where a [`Transcript`] begins with the label: only so
/// can BLAKE3 work on sixteen pieces of 1 KiB side by side.
pub struct Messages(blake3::Hasher);

impl Messages {
    /// The hash of the given domain, e.g. `"chunk v1"`, which no transcript has, whatever its name.
    pub fn new(domain: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(&format!("oblivia-messages {domain}")))
    }

    /// The digest of `message`, whatever was hashed before.
    pub fn digest(&mut self, message: &[u8]) -> Digest {
        let digest = Digest(*self.0.update(message).finalize().as_bytes());
        self.0.reset();
        digest
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_boundaries_count() {
        let mut a = Transcript::new("t");
        a.absorb("x", b"ab");
        a.absorb("x", b"c");
        let mut b = Transcript::new("t");
        b.absorb("x", b"a");
        b.absorb("x", b"bc");
        assert_ne!(a.digest(), b.digest());
    }

    #[test]
    fn a_message_has_one_digest_per_domain() {
        let mut hash = Messages::new("t");
        let long = [7; 20_000];
        let first = hash.digest(&long);
        assert_ne!(hash.digest(&long[1..]), first);
        assert_eq!(hash.digest(&long), first);
        assert_ne!(Messages::new("u").digest(&long), first);
    }

    #[test]
    fn hexadecimal_round_trips_and_bad_text_is_refused() {
        let d = Digest::of("t", b"x");
        assert_eq!(Digest::from_hex(&d.hex()), Some(d));
        assert_eq!(Digest::from_hex("zz"), None);
        assert_eq!(Digest::from_hex(&"é".repeat(32)), None);
    }
}
