//! A first walk over the raw protobuf, before anything is allocated.
//!
//! It checks that every field lies inside its message, and bounds what decoding will allocate: a two-byte
//! record can stand for a struct of hundreds of bytes, a one-byte integer for eight.

use crate::OnnxError;

/// The largest number of fields in the whole file.
const MAX_FIELDS: u64 = 1 << 20;
/// The largest number of bytes in packed integers (each byte may become an eight-byte integer).
const MAX_PACKED_BYTES: u64 = 64 << 20;

/// Messages of the schema, as far as they are parsed.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Model,
    OperatorSet,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    TensorShape,
    Dimension,
}

/// What a length-delimited field holds.
enum Content {
    Message(Message),
    Packed,
    Opaque,
}

impl Message {
    fn content(self, field: u64) -> Content {
        match (self, field) {
            (Self::Model, 7) => Content::Message(Self::Graph),
            (Self::Model, 8) => Content::Message(Self::OperatorSet),
            (Self::Graph, 1) => Content::Message(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5) => Content::Message(Self::Tensor),
            (Self::Graph, 11 | 12) => Content::Message(Self::ValueInfo),
            (Self::Node, 5) => Content::Message(Self::Attribute),
            (Self::ValueInfo, 2) => Content::Message(Self::Type),
            (Self::Type, 1) => Content::Message(Self::TensorType),
            (Self::TensorType, 2) => Content::Message(Self::TensorShape),
            (Self::TensorShape, 1) => Content::Message(Self::Dimension),
            (Self::Attribute, 8) | (Self::Tensor, 1 | 5 | 7) => Content::Packed,
            _ => Content::Opaque,
        }
    }
}

/// Walks a whole file.
pub(crate) fn scan(bytes: &[u8]) -> Result<(), OnnxError> {
    let mut walk = Walk { bytes, at: 0, fields: 0, packed: 0 };
    walk.message(Message::Model, bytes.len())
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: u64,
    packed: u64,
}

impl Walk<'_> {
    /// The schema nests to a fixed depth, and so does this.
    fn message(&mut self, message: Message, end: usize) -> Result<(), OnnxError> {
        while self.at < end {
            self.fields += 1;
            limit("fields in the file", self.fields, MAX_FIELDS)?;
            let start = self.at;
            let key = self.varint(end)?;
            match key & 7 {
                0 => drop(self.varint(end)?),
                1 => self.skip(8, end)?,
                2 => {
                    let len = self.varint(end)?;
                    self.delimited(message.content(key >> 3), len, end)?;
                }
                5 => self.skip(4, end)?,
                other => return Err(corrupt(start, format!("unknown wire type {other}"))),
            }
        }
        Ok(())
    }

    fn delimited(&mut self, content: Content, len: u64, end: usize) -> Result<(), OnnxError> {
        let from = self.at;
        let to = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).filter(|&to| to <= end);
        let to = to.ok_or_else(|| {
            let rest = end - from;
            corrupt(from, format!("a field announces {len} bytes where {rest} are left"))
        })?;
        match content {
            Content::Message(inner) => self.message(inner, to)?,
            Content::Packed => {
                self.packed = self.packed.saturating_add(len);
                limit("bytes of packed integers", self.packed, MAX_PACKED_BYTES)?;
            }
            Content::Opaque => {}
        }
        self.at = to;
        Ok(())
    }

    fn varint(&mut self, end: usize) -> Result<u64, OnnxError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = match self.bytes.get(self.at) {
                Some(&b) if self.at < end => b,
                _ => return Err(corrupt(start, "the data breaks off inside an integer".into())),
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(corrupt(start, "an integer of more than 64 bits".into()))
    }

    fn skip(&mut self, len: usize, end: usize) -> Result<(), OnnxError> {
        if end - self.at < len {
            return Err(corrupt(self.at, format!("the data breaks off inside a {len}-byte field")));
        }
        self.at += len;
        Ok(())
    }
}

fn limit(what: &str, found: u64, max: u64) -> Result<(), OnnxError> {
    if found > max {
        return Err(OnnxError::TooLarge { what: what.into(), found, max });
    }
    Ok(())
}

fn corrupt(at: usize, why: String) -> OnnxError {
    OnnxError::Corrupt { at, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_longer_than_its_message_is_found_at_its_place() {
        // graph (field 7) of 3 bytes, inside it a node (field 1) that announces 9.
        let error = scan(&[0x3a, 3, 0x0a, 9, 0]).unwrap_err();
        assert!(
            error.to_string().contains("a field announces 9 bytes where 1 are left at byte 4"),
            "{error}"
        );
    }

    #[test]
    fn a_million_empty_nodes_are_refused_before_they_are_allocated() {
        let nodes = [0x0a, 0].repeat(1 << 21);
        let mut bytes = vec![0x3a, 0x80, 0x80, 0x80, 0x02];
        bytes.extend(nodes);
        assert!(matches!(scan(&bytes), Err(OnnxError::TooLarge { .. })));
    }

    #[test]
    fn packed_integers_are_bounded() {
        let len = MAX_PACKED_BYTES as usize + 1;
        // graph > initializer > int64_data, lengths as five-byte varints.
        let varint =
            |n: usize| (0..5).map(move |i| (n >> (7 * i)) as u8 & 0x7f | if i < 4 { 0x80 } else { 0 });
        let mut bytes = Vec::new();
        for (key, n) in [(0x3au8, len + 12), (0x2a, len + 6), (0x3a, len)] {
            bytes.push(key);
            bytes.extend(varint(n));
        }
        bytes.resize(bytes.len() + len, 0);
        assert!(matches!(scan(&bytes), Err(OnnxError::TooLarge { .. })));
    }
}
