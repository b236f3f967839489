//! Attributes of a node, taken one by one; what is left over at the end was not understood.

use crate::OnnxError;
use crate::import::tidy;
use crate::proto::AttributeProto;
use crate::value::Value;
use std::collections::BTreeMap;

/// The attributes of one node.
pub(crate) struct Attributes {
    node: String,
    operator: String,
    left: BTreeMap<String, AttributeProto>,
}

// AttributeProto.AttributeType
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const FLOATS: i32 = 6;
const INTS: i32 = 7;

impl Attributes {
    pub(crate) fn new(
        node: &str,
        operator: &str,
        attributes: Vec<AttributeProto>,
    ) -> Result<Self, OnnxError> {
        let mut this = Self { node: node.into(), operator: operator.into(), left: BTreeMap::new() };
        for a in attributes {
            if this.left.contains_key(&a.name) {
                return Err(this.bad(format!("attribute `{}` is given twice", tidy(&a.name))));
            }
            this.left.insert(a.name.clone(), a);
        }
        Ok(this)
    }

    /// An error about this node.
    pub(crate) fn bad(&self, why: String) -> OnnxError {
        OnnxError::BadNode { node: self.node.clone(), operator: self.operator.clone(), why }
    }

    /// An error about a form of this node that Oblivia does not do.
    pub(crate) fn unsupported(&self, what: impl Into<String>, remedy: impl Into<String>) -> OnnxError {
        OnnxError::Unsupported {
            node: self.node.clone(),
            operator: self.operator.clone(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn take(&mut self, name: &str, kind: i32) -> Result<Option<AttributeProto>, OnnxError> {
        match self.left.remove(name) {
            // Files of the first format version leave the type out.
            Some(a) if a.r#type == kind || a.r#type == 0 => Ok(Some(a)),
            Some(a) => Err(self.bad(format!("attribute `{name}` has type {}, expected {kind}", a.r#type))),
            None => Ok(None),
        }
    }

    pub(crate) fn float(&mut self, name: &str) -> Result<Option<f32>, OnnxError> {
        Ok(self.take(name, FLOAT)?.map(|a| a.f))
    }

    pub(crate) fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, OnnxError> {
        Ok(self.take(name, FLOATS)?.map(|a| a.floats))
    }

    pub(crate) fn int(&mut self, name: &str) -> Result<Option<i64>, OnnxError> {
        Ok(self.take(name, INT)?.map(|a| a.i))
    }

    pub(crate) fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, OnnxError> {
        Ok(self.take(name, INTS)?.map(|a| a.ints))
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, OnnxError> {
        Ok(self.take(name, STRING)?.map(|a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    pub(crate) fn tensor(&mut self, name: &str) -> Result<Option<Value>, OnnxError> {
        match self.take(name, TENSOR)?.and_then(|a| a.t) {
            Some(t) => Value::from_proto(t, &self.node).map(Some),
            None => Ok(None),
        }
    }

    /// A flag that must have its default value, because anything else is not supported.
    pub(crate) fn only(&mut self, name: &str, default: i64, remedy: &str) -> Result<(), OnnxError> {
        match self.int(name)? {
            Some(v) if v != default => Err(self.unsupported(format!("{name} = {v}"), remedy)),
            _ => Ok(()),
        }
    }

    /// Forgets an attribute that has no effect on inference.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.left.remove(name);
    }

    /// Two sizes of at least `least`, e.g. strides.
    pub(crate) fn pair(&mut self, name: &str, least: i64) -> Result<Option<[usize; 2]>, OnnxError> {
        match self.ints(name)?.as_deref() {
            None => Ok(None),
            Some([a, b]) if *a >= least && *b >= least => Ok(Some([index(*a), index(*b)])),
            Some([a, b]) => Err(self.bad(format!("attribute `{name}` is [{a}, {b}], below {least}"))),
            Some(other) => Err(self.unsupported(
                format!("`{name}` over {} axes", other.len()),
                "only two-dimensional images are handled",
            )),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(&self) -> Result<(), OnnxError> {
        match self.left.keys().next() {
            Some(name) => Err(self.unsupported(
                format!("attribute `{}`", tidy(name)),
                "export the model without it or with an older opset",
            )),
            None => Ok(()),
        }
    }
}

/// A number known not to be negative as a size.
pub(crate) fn index(v: i64) -> usize {
    usize::try_from(v).unwrap_or(0)
}
