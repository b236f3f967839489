//! NumPy's array files, versions 1 and 2 (`numpy.lib.format`): little-endian numbers in C order.

use crate::DataError;
use oblivia_nn::{Shape, Tensor};

/// The largest npy file read, in bytes (1 GiB).
pub const MAX_NPY_BYTES: u64 = 1 << 30;
/// The longest header, in bytes.
const MAX_HEADER: usize = 4096;
/// The largest number of axes.
const MAX_AXES: usize = 8;

/// An array, last axis fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Npy {
    shape: Vec<usize>,
    data: NpyData,
}

/// Elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum NpyData {
    /// `|u1`
    U8(Vec<u8>),
    /// `<f4`
    F32(Vec<f32>),
    /// `<f8`
    F64(Vec<f64>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<i8`
    I64(Vec<i64>),
}

impl Npy {
    /// Reads an npy file given as bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, DataError> {
        if bytes.len() as u64 > MAX_NPY_BYTES {
            let found = bytes.len() as u64;
            return Err(DataError::TooLarge {
                what: "bytes of the npy file".into(),
                found,
                max: MAX_NPY_BYTES,
            });
        }
        let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
            return Err(bad("it does not start with \\x93NUMPY"));
        };
        let (len, rest) = match rest {
            [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [2, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
            [major, minor, ..] => return Err(bad(format!("version {major}.{minor} is not known"))),
            _ => return Err(bad("it breaks off inside the header")),
        };
        if len > MAX_HEADER {
            return Err(bad(format!("a header of {len} bytes; {MAX_HEADER} are allowed")));
        }
        let Some((header, data)) = rest.split_at_checked(len) else {
            return Err(bad("it breaks off inside the header"));
        };
        let header = Header::parse(header).map_err(|why| bad(format!("header: {why}")))?;
        if header.fortran {
            return Err(bad("it is in Fortran order; save numpy.ascontiguousarray of it"));
        }
        let elements = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let data = match header.descr.as_str() {
            "|u1" | "<u1" => NpyData::U8(data.to_vec()),
            "<f4" => NpyData::F32(numbers(data, f32::from_le_bytes)?),
            "<f8" => NpyData::F64(numbers(data, f64::from_le_bytes)?),
            "<i4" => NpyData::I32(numbers(data, i32::from_le_bytes)?),
            "<i8" => NpyData::I64(numbers(data, i64::from_le_bytes)?),
            other => {
                return Err(bad(format!(
                    "element type `{other}` is not read; save it as float32, float64, int32, int64 or uint8, \
                     little-endian"
                )));
            }
        };
        let found = data.len();
        if elements != Some(found) {
            return Err(bad(format!("shape {:?} does not match {found} elements", header.shape)));
        }
        Ok(Self { shape: header.shape, data })
    }

    /// Sizes of the axes; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &NpyData {
        &self.data
    }

    /// The elements as 32-bit floats, rounded where they do not fit.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            NpyData::U8(v) => v.iter().map(|&v| f32::from(v)).collect(),
            NpyData::F32(v) => v.clone(),
            NpyData::F64(v) => v.iter().map(|&v| v as f32).collect(),
            NpyData::I32(v) => v.iter().map(|&v| v as f32).collect(),
            NpyData::I64(v) => v.iter().map(|&v| v as f32).collect(),
        }
    }

    /// One sample of a model whose input has the shape `expected`; a leading axis of 1 is dropped.
    pub fn to_tensor(&self, expected: &Shape) -> Result<Tensor, DataError> {
        let fits = match self.shape.as_slice() {
            whole if whole == expected.dims() => true,
            [1, sample @ ..] => sample == expected.dims(),
            _ => false,
        };
        if !fits {
            let found = &self.shape;
            return Err(bad(format!(
                "an array of shape {found:?}, the model takes {expected}; reshape it first"
            )));
        }
        let data = self.to_f32();
        if !data.iter().all(|v| v.is_finite()) {
            return Err(bad("it contains values that are not finite in 32 bits"));
        }
        Ok(Tensor::new(expected.clone(), data)?)
    }
}

impl NpyData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn bad(why: impl Into<String>) -> DataError {
    DataError::BadNpy { why: why.into() }
}

fn numbers<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Result<Vec<T>, DataError> {
    let (whole, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(whole.iter().map(|&b| f(b)).collect())
    } else {
        Err(bad(format!("{} bytes of data are not a multiple of {N}", bytes.len())))
    }
}

/// The header: a Python dictionary with exactly the keys `descr`, `fortran_order` and `shape`.
#[derive(Default)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        let mut p = Parser { rest: text };
        let mut header = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        p.expect('{')?;
        while !p.take('}') {
            let key = p.quoted()?;
            if seen.contains(&key) {
                return Err(format!("`{key}` is given twice"));
            }
            seen.push(key);
            p.expect(':')?;
            match key {
                "descr" => header.descr = p.quoted()?.to_owned(),
                "fortran_order" => header.fortran = p.boolean()?,
                "shape" => header.shape = p.tuple()?,
                other => return Err(format!("unknown key `{other}`")),
            }
            if !p.take(',') {
                p.expect('}')?;
                break;
            }
        }
        if seen.len() != 3 {
            return Err("descr, fortran_order and shape must all be given".into());
        }
        if p.rest.trim().is_empty() { Ok(header) } else { Err("something follows the dictionary".into()) }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, c: char) -> bool {
        match self.rest.trim_start().strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.take(c) { Ok(()) } else { Err(format!("`{c}` expected")) }
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        let quote = if self.take('\'') { '\'' } else { self.expect('"').map(|()| '"')? };
        let (text, rest) = self.rest.split_once(quote).ok_or("a string does not end")?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        let text = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = text.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("True or False expected".into())
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut out = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let text = self.rest.trim_start();
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (number, rest) = text.split_at(digits);
            out.push(number.parse().map_err(|_| "a size in `shape` is not a number".to_owned())?);
            self.rest = rest;
            if out.len() > MAX_AXES {
                return Err(format!("more than {MAX_AXES} axes"));
            }
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY".to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn bytes<const N: usize, const M: usize>(values: [[u8; N]; M]) -> Vec<u8> {
        values.concat()
    }

    #[test]
    fn every_element_type_is_read_in_both_versions() {
        for version in [1, 2] {
            for (descr, data, expected) in [
                ("|u1", vec![1, 2], NpyData::U8(vec![1, 2])),
                ("<f4", bytes([1.5f32, -2.0].map(f32::to_le_bytes)), NpyData::F32(vec![1.5, -2.0])),
                ("<f8", bytes([1.5f64, -2.0].map(f64::to_le_bytes)), NpyData::F64(vec![1.5, -2.0])),
                ("<i4", bytes([1i32, -2].map(i32::to_le_bytes)), NpyData::I32(vec![1, -2])),
                ("<i8", bytes([1i64, -2].map(i64::to_le_bytes)), NpyData::I64(vec![1, -2])),
            ] {
                let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1, 2), }}  \n");
                let npy = Npy::parse(&file(version, &header, &data)).unwrap();
                assert_eq!((npy.shape(), npy.data()), (&[1, 2][..], &expected));
            }
        }
    }

    #[test]
    fn scalars_and_one_axis_have_their_python_shapes() {
        let scalar = file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", &[5]);
        assert_eq!(Npy::parse(&scalar).unwrap().shape(), [0usize; 0]);
        let one = file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", &[5, 6]);
        assert_eq!(Npy::parse(&one).unwrap().shape(), [2]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let header = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        for (bytes, expected) in [
            (file(1, &header(">f4", "False", "(1,)"), &[0; 4]), "element type `>f4`"),
            (file(1, &header("|O", "False", "(1,)"), &[0; 4]), "element type `|O`"),
            (file(1, &header("<f4", "True", "(1,)"), &[0; 4]), "Fortran order"),
            (file(1, &header("<f4", "False", "(2,)"), &[0; 4]), "shape [2] does not match 1 elements"),
            (file(1, &header("<f4", "False", "(1,)"), &[0; 5]), "not a multiple of 4"),
            (file(1, &header("<f4", "False", "(-1,)"), &[]), "a size in `shape` is not a number"),
            (file(3, &header("<f4", "False", "(1,)"), &[0; 4]), "version 3.0"),
            (file(1, "{'descr': '<f4'}", &[]), "must all be given"),
            (b"PK\x03\x04".to_vec(), "NUMPY"),
        ] {
            let error = Npy::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_array_of_another_shape_is_refused_by_the_model() {
        let npy =
            Npy::parse(&file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }", &[3, 4]));
        let npy = npy.unwrap();
        assert_eq!(npy.to_tensor(&Shape::new([2]).unwrap()).unwrap().data(), [3.0, 4.0]);
        assert!(npy.to_tensor(&Shape::new([2, 1]).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(noise: Vec<u8>, at: prop::sample::Index, value: u8) {
            crate::fuzz::npy(&noise);
            let mut sound = file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
            let i = at.index(sound.len());
            sound[i] = value;
            crate::fuzz::npy(&sound);
            crate::fuzz::npy(&sound[..i]);
        }
    }
}
