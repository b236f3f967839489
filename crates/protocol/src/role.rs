use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use serde::{Serialize, Serializer};
use std::fmt;

/// A party of a protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Has the input and gets the result.
    Client,
    /// Has the model.
    Server,
    /// The small trusted helper of `enclave`.
    Helper,
    /// A data holder of `split`, numbered from 0.
    Holder(u8),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Server => f.write_str("server"),
            Self::Helper => f.write_str("helper"),
            Self::Holder(i) => write!(f, "holder {i}"),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Encode for Role {
    fn encode(&self, w: &mut Writer) {
        let (kind, index) = match *self {
            Self::Client => (0, 0),
            Self::Server => (1, 0),
            Self::Helper => (2, 0),
            Self::Holder(i) => (3, i),
        };
        w.u8(kind);
        w.u8(index);
    }
}

impl Decode for Role {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match (r.u8("role")?, r.u8("role index")?) {
            (0, 0) => Ok(Self::Client),
            (1, 0) => Ok(Self::Server),
            (2, 0) => Ok(Self::Helper),
            (3, i) => Ok(Self::Holder(i)),
            _ => Err(r.error("role", oblivia_base::codec::Fault::Invalid)),
        }
    }
}
