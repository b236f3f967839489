//! Constant tensors of a file.

use crate::import::tidy;
use crate::{MAX_WEIGHT_ELEMENTS, OnnxError, proto};

/// The largest number of axes of a constant.
const MAX_AXES: usize = 8;

/// A constant tensor, with its axes as the file has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// Elements of a constant; single and double precision become single, integers stay integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Value {
    /// Reads an initialiser or a tensor attribute.
    pub(crate) fn from_proto(tensor: proto::TensorProto, fallback_name: &str) -> Result<Self, OnnxError> {
        let name = if tensor.name.is_empty() { fallback_name.to_owned() } else { tidy(&tensor.name) };
        read(tensor)
            .map(|(dims, data)| Self { name: name.clone(), dims, data })
            .map_err(|why| OnnxError::BadTensor { name, why })
    }

    /// The elements as floats; integers convert.
    pub(crate) fn floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(v) => v.clone(),
            Data::Int(v) => v.iter().map(|&v| v as f32).collect(),
        }
    }

    /// The elements as integers, if they are.
    pub(crate) fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(v) => Some(v),
            Data::Float(_) => None,
        }
    }

    /// The only element as a float.
    pub(crate) fn scalar(&self) -> Option<f32> {
        match (&self.data, self.elements()) {
            (Data::Float(v), 1) => v.first().copied(),
            (Data::Int(v), 1) => v.first().map(|&v| v as f32),
            _ => None,
        }
    }

    pub(crate) fn elements(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }
}

fn read(t: proto::TensorProto) -> Result<(Vec<usize>, Data), String> {
    if t.data_location != 0 || !t.external_data.is_empty() {
        return Err("its data lies in another file; save the model with the weights inside it".into());
    }
    if !t.segment.is_empty() {
        return Err("it is cut into segments, which is not supported".into());
    }
    if t.dims.len() > MAX_AXES {
        return Err(format!("{} axes are more than the {MAX_AXES} allowed", t.dims.len()));
    }
    let dims: Result<Vec<usize>, String> =
        t.dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("axis of size {d}"))).collect();
    let dims = dims?;
    let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let Some(elements) = elements.filter(|&n| n <= MAX_WEIGHT_ELEMENTS) else {
        return Err(format!("shape {dims:?} has more than {MAX_WEIGHT_ELEMENTS} elements"));
    };
    let raw = t.raw_data;
    let data = match t.data_type {
        1 if raw.is_empty() => Data::Float(t.float_data),
        1 => Data::Float(chunks(&raw, f32::from_le_bytes)?),
        11 if raw.is_empty() => Data::Float(t.double_data.into_iter().map(|v| v as f32).collect()),
        11 => Data::Float(chunks(&raw, |b| f64::from_le_bytes(b) as f32)?),
        6 if raw.is_empty() => Data::Int(t.int32_data.into_iter().map(i64::from).collect()),
        6 => Data::Int(chunks(&raw, |b| i64::from(i32::from_le_bytes(b)))?),
        7 if raw.is_empty() => Data::Int(t.int64_data),
        7 => Data::Int(chunks(&raw, i64::from_le_bytes)?),
        other => {
            return Err(format!(
                "element type {} is not supported; float32, float64, int32 and int64 are",
                type_name(other)
            ));
        }
    };
    let found = match &data {
        Data::Float(v) => v.len(),
        Data::Int(v) => v.len(),
    };
    if found != elements {
        return Err(format!("shape {dims:?} needs {elements} elements, the file holds {found}"));
    }
    Ok((dims, data))
}

fn chunks<const N: usize, T>(raw: &[u8], f: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (whole, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("{} bytes of data are not a multiple of {N}", raw.len()));
    }
    Ok(whole.iter().map(|&b| f(b)).collect())
}

/// Name of a `TensorProto.DataType`.
pub(crate) fn type_name(data_type: i32) -> String {
    let known = [
        (1, "float32"),
        (2, "uint8"),
        (3, "int8"),
        (4, "uint16"),
        (5, "int16"),
        (6, "int32"),
        (7, "int64"),
        (8, "string"),
        (9, "bool"),
        (10, "float16"),
        (11, "float64"),
        (12, "uint32"),
        (13, "uint64"),
        (16, "bfloat16"),
    ];
    let name = known.iter().find(|(code, _)| *code == data_type).map(|(_, name)| *name);
    name.map_or_else(|| format!("number {data_type}"), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::TensorProto;

    fn value(t: TensorProto) -> Result<Value, OnnxError> {
        Value::from_proto(t, "t")
    }

    #[test]
    fn every_storage_of_numbers_is_read() {
        let f = |t| value(t).unwrap().floats();
        let dims = vec![2];
        let bytes = |v: [f64; 2]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let raw32: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let ints: Vec<u8> = [1i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
        let ints32: Vec<u8> = [1i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
        let base = |data_type| TensorProto { dims: dims.clone(), data_type, ..Default::default() };
        assert_eq!(f(TensorProto { raw_data: raw32, ..base(1) }), [1.5, -2.0]);
        assert_eq!(f(TensorProto { float_data: vec![1.5, -2.0], ..base(1) }), [1.5, -2.0]);
        assert_eq!(f(TensorProto { raw_data: bytes([1.5, -2.0]), ..base(11) }), [1.5, -2.0]);
        assert_eq!(f(TensorProto { double_data: vec![1.5, -2.0], ..base(11) }), [1.5, -2.0]);
        let i = |t| value(t).unwrap().ints().unwrap().to_vec();
        assert_eq!(i(TensorProto { raw_data: ints, ..base(7) }), [1, -2]);
        assert_eq!(i(TensorProto { int64_data: vec![1, -2], ..base(7) }), [1, -2]);
        assert_eq!(i(TensorProto { raw_data: ints32, ..base(6) }), [1, -2]);
        assert_eq!(i(TensorProto { int32_data: vec![1, -2], ..base(6) }), [1, -2]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let base = TensorProto { dims: vec![2], data_type: 1, ..Default::default() };
        for (tensor, expected) in [
            (TensorProto { data_type: 10, ..base.clone() }, "element type float16 is not supported"),
            (TensorProto { data_location: 1, ..base.clone() }, "lies in another file"),
            (TensorProto { raw_data: vec![0; 7], ..base.clone() }, "7 bytes of data are not a multiple of 4"),
            (TensorProto { float_data: vec![0.0], ..base.clone() }, "needs 2 elements, the file holds 1"),
            (TensorProto { dims: vec![-1], ..base.clone() }, "axis of size -1"),
            (TensorProto { dims: vec![1 << 40, 1 << 40], ..base }, "has more than"),
        ] {
            let error = value(tensor).unwrap_err().to_string();
            assert!(error.starts_with("tensor `t`: ") && error.contains(expected), "{error}");
        }
    }
}
