//! Wire encodings. A decoded graph is rebuilt node by node, so it obeys every rule a graph obeys.
#![deny(clippy::indexing_slicing)]

mod ops;

use crate::fixed::Formats;
use crate::graph::WeightFact;
use crate::op::{Op, WeightId};
use crate::{Graph, ImageInput, InputSpec, OutputPolicy, PublicModel, Shape, WireId, Zeros};
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};

/// A size: everything inside a graph is at most [`Shape::MAX_ELEMENTS`], so it fits.
fn size(w: &mut Writer, v: usize) {
    w.count(v);
}

fn read_size(r: &mut Reader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    let v = r.u32(what)? as usize;
    r.require(v <= Shape::MAX_ELEMENTS, what)?;
    Ok(v)
}

fn sizes(w: &mut Writer, v: &[usize]) {
    v.iter().for_each(|&v| size(w, v));
}

fn read_sizes<const N: usize>(r: &mut Reader<'_>, what: &'static str) -> Result<[usize; N], DecodeError> {
    let mut out = [0; N];
    for v in &mut out {
        *v = read_size(r, what)?;
    }
    Ok(out)
}

fn axes(w: &mut Writer, v: &[usize]) {
    w.u8(u8::try_from(v.len()).unwrap_or(u8::MAX));
    sizes(w, v);
}

fn read_axes(r: &mut Reader<'_>, what: &'static str) -> Result<Vec<usize>, DecodeError> {
    let n = usize::from(r.u8(what)?);
    r.require(n <= Shape::MAX_AXES, what)?;
    (0..n).map(|_| read_size(r, what)).collect()
}

/// A float as a double; -0.0 becomes 0.0.
fn float(w: &mut Writer, v: f32) {
    w.f64(f64::from(v) + 0.0);
}

fn read_float(r: &mut Reader<'_>, what: &'static str) -> Result<f32, DecodeError> {
    let wide = r.f64(what)?;
    let v = wide as f32;
    r.require(f64::from(v) == wide, what)?;
    Ok(v)
}

fn floats(w: &mut Writer, v: &[f32]) {
    w.count(v.len());
    v.iter().for_each(|&v| float(w, v));
}

fn read_floats(r: &mut Reader<'_>, max: usize, what: &'static str) -> Result<Vec<f32>, DecodeError> {
    let n = r.count(max, 8, what)?;
    (0..n).map(|_| read_float(r, what)).collect()
}

fn bound(w: &mut Writer, v: Option<f64>) {
    w.bool(v.is_some());
    if let Some(v) = v {
        w.f64(v);
    }
}

fn read_bound(r: &mut Reader<'_>) -> Result<Option<f64>, DecodeError> {
    if r.bool("bound")? { r.f64("bound").map(Some) } else { Ok(None) }
}

fn weight(w: &mut Writer, id: WeightId) {
    w.u32(id.0);
}

fn read_weight(r: &mut Reader<'_>) -> Result<WeightId, DecodeError> {
    r.u32("weight").map(WeightId)
}

fn bias(w: &mut Writer, id: Option<WeightId>) {
    w.bool(id.is_some());
    if let Some(id) = id {
        weight(w, id);
    }
}

fn read_bias(r: &mut Reader<'_>) -> Result<Option<WeightId>, DecodeError> {
    if r.bool("bias")? { read_weight(r).map(Some) } else { Ok(None) }
}

impl Encode for Shape {
    fn encode(&self, w: &mut Writer) {
        axes(w, self.dims());
    }
}

impl Decode for Shape {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dims = read_axes(r, "shape")?;
        Self::new(dims).map_err(|_| r.error("shape", Fault::Invalid))
    }
}

/// Set in the number of axes of a weight if its zeros follow. Without them bytes are as they were before there were any.
const ZEROS_FOLLOW: u8 = 0x80;

impl Encode for WeightFact {
    fn encode(&self, w: &mut Writer) {
        w.str(&self.name);
        let dims = self.shape.dims();
        let axes = u8::try_from(dims.len()).unwrap_or(ZEROS_FOLLOW - 1);
        w.u8(axes | if self.zeros.is_some() { ZEROS_FOLLOW } else { 0 });
        sizes(w, dims);
        if let Some(zeros) = &self.zeros {
            w.raw(zeros.as_bytes());
        }
    }
}

/// As many bytes as its shape takes, so that nothing is there before the bytes are.
impl Decode for WeightFact {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = r.str(Graph::MAX_NAME_BYTES, "weight name")?.to_owned();
        let axes = r.u8("shape")?;
        let n = usize::from(axes & !ZEROS_FOLLOW);
        r.require(n <= Shape::MAX_AXES, "shape")?;
        let dims = (0..n).map(|_| read_size(r, "shape")).collect::<Result<Vec<_>, _>>()?;
        let shape = Shape::new(dims).map_err(|_| r.error("shape", Fault::Invalid))?;
        let zeros = match axes & ZEROS_FOLLOW {
            0 => None,
            _ => {
                let bytes = r.raw(shape.elements().div_ceil(8), "zeros of a weight")?;
                let zeros = Zeros::from_bytes(bytes, shape.elements());
                Some(zeros.ok_or_else(|| r.error("zeros of a weight", Fault::Invalid))?)
            }
        };
        Ok(Self { name, shape, zeros })
    }
}

impl Encode for Graph {
    fn encode(&self, w: &mut Writer) {
        let [input, nodes @ ..] = self.nodes() else {
            unreachable!("a graph has its input node from construction on")
        };
        w.str(&input.name);
        input.fact.shape.encode(w);
        bound(w, input.fact.bound);
        w.count(self.weights().len());
        self.weights().iter().for_each(|fact| fact.encode(w));
        w.count(nodes.len());
        for node in nodes {
            w.str(&node.name);
            node.op.encode(w);
            node.inputs.iter().for_each(|wire| w.u32(wire.0));
            bound(w, node.fact.bound);
            bound(w, node.fact.row_norm);
        }
        w.u32(self.output().0);
    }
}

impl Decode for Graph {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let invalid = |r: &Reader<'_>, what| r.error(what, Fault::Invalid);
        let name = r.str(Self::MAX_NAME_BYTES, "input name")?;
        let mut graph = Self::new(name, Shape::decode(r)?);
        if let Some(b) = read_bound(r)? {
            graph.set_bound(graph.input(), b).map_err(|_| invalid(r, "bound"))?;
        }
        for _ in 0..r.count(Self::MAX_NODES, 5, "weights")? {
            let fact = WeightFact::decode(r)?;
            let id = graph.weight(&fact.name, fact.shape).map_err(|_| invalid(r, "weight"))?;
            if let Some(zeros) = fact.zeros {
                graph.set_zeros(id, zeros).map_err(|_| invalid(r, "zeros of a weight"))?;
            }
        }
        for _ in 0..r.count(Self::MAX_NODES, 10, "nodes")? {
            let name = r.str(Self::MAX_NAME_BYTES, "node name")?;
            let op = Op::decode(r)?;
            let inputs: Result<Vec<WireId>, DecodeError> =
                (0..op.arity()).map(|_| r.u32("wire").map(WireId)).collect();
            let wire = graph.push(name, op, &inputs?).map_err(|_| invalid(r, "node"))?;
            if let Some(b) = read_bound(r)? {
                graph.set_bound(wire, b).map_err(|_| invalid(r, "bound"))?;
            }
            if let Some(norm) = read_bound(r)? {
                graph.set_row_norm(wire, norm).map_err(|_| invalid(r, "row norm"))?;
            }
        }
        let output = WireId(r.u32("output")?);
        graph.set_output(output).map_err(|_| invalid(r, "output"))?;
        Ok(graph)
    }
}

impl Encode for InputSpec {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Tensor => w.u8(0),
            Self::Image(image) => {
                w.u8(1);
                sizes(w, &[image.width, image.height, image.channels]);
                w.bool(image.bgr);
                floats(w, &image.mean);
                floats(w, &image.std);
            }
        }
    }
}

impl Decode for InputSpec {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("input kind")? {
            0 => Ok(Self::Tensor),
            1 => {
                let [width, height, channels] = read_sizes(r, "image size")?;
                let bgr = r.bool("channel order")?;
                let mean = read_floats(r, 3, "mean")?;
                let std = read_floats(r, 3, "std")?;
                Ok(Self::Image(ImageInput { width, height, channels, bgr, mean, std }))
            }
            _ => Err(r.error("input kind", Fault::Invalid)),
        }
    }
}

impl Encode for OutputPolicy {
    fn encode(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Logits => 0,
            Self::ArgMax => 1,
        });
    }
}

impl Decode for OutputPolicy {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("output policy")? {
            0 => Ok(Self::Logits),
            1 => Ok(Self::ArgMax),
            _ => Err(r.error("output policy", Fault::Invalid)),
        }
    }
}

/// Only a model that passes [`PublicModel::check`] can be read back.
impl Encode for PublicModel {
    fn encode(&self, w: &mut Writer) {
        w.str(&self.name);
        self.graph.encode(w);
        w.count(self.labels.len());
        self.labels.iter().for_each(|label| w.str(label));
        self.input.encode(w);
        self.input_range.iter().for_each(|&v| w.f64(v + 0.0));
        self.output.encode(w);
        w.bool(self.fixed.is_some());
        self.fixed.iter().for_each(|formats| formats.encode(w));
    }
}

impl Decode for PublicModel {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = r.str(Self::MAX_NAME_BYTES, "model name")?.to_owned();
        let graph = Graph::decode(r)?;
        let labels = r.count(Self::MAX_LABELS, 4, "labels")?;
        let labels: Result<_, _> =
            (0..labels).map(|_| Ok(r.str(Self::MAX_NAME_BYTES, "label")?.to_owned())).collect();
        let model = Self {
            name,
            graph,
            labels: labels?,
            input: InputSpec::decode(r)?,
            input_range: [r.f64("input range")?, r.f64("input range")?],
            output: OutputPolicy::decode(r)?,
            fixed: if r.bool("fixed-point formats")? { Some(Formats::decode(r)?) } else { None },
        };
        model.check().map_err(|_| r.error("model", Fault::Invalid))?;
        Ok(model)
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;
    use crate::pass;
    use crate::testing::{random_model, tiny_model};
    use proptest::prelude::*;

    #[test]
    fn a_graph_with_a_wrong_weight_shape_is_refused() {
        let graph = tiny_model().public.graph;
        let mut bytes = graph.to_bytes();
        // The first weight's shape is written right after its name.
        let at = bytes.windows(4).position(|b| b == b"c1.w").unwrap() + 4;
        assert_eq!(bytes[at], 4, "number of axes");
        bytes[at + 1] ^= 1;
        assert!(Graph::from_bytes(&bytes).is_err());
    }

    #[test]
    fn published_zeros_take_a_bit_per_weight_and_nothing_where_there_are_none() {
        let mut model = tiny_model();
        let before = model.public.to_bytes();
        let position = |bytes: &[u8]| bytes.windows(4).position(|b| b == b"c1.w").unwrap() + 4;
        let at = position(&before);
        pass::publish_zeros(&mut model).unwrap();
        let bytes = model.public.to_bytes();
        // 18 weights of the convolution, 216 of the matrix; no other byte differs but the numbers of axes.
        assert_eq!(bytes.len(), before.len() + 3 + 27);
        assert_eq!((before[at], bytes[at]), (4, 0x84));
        assert_eq!(bytes[..at], before[..at]);
        let zeros = at + 1 + 4 * 4;
        assert_eq!(bytes[zeros..zeros + 3], [0; 3]);
        for (byte, value, accepted) in [(0, 0xff, true), (2, 3, true), (2, 4, false), (2, 0x80, false)] {
            let mut bytes = bytes.clone();
            bytes[zeros + byte] = value;
            assert_eq!(PublicModel::from_bytes(&bytes).is_ok(), accepted, "{byte} {value}");
        }
        // A number of axes that is none.
        let mut bytes = before;
        bytes[at] = 0x07;
        assert!(PublicModel::from_bytes(&bytes).is_err());
    }

    #[test]
    fn zeros_of_more_weights_than_are_sent_or_allowed_are_refused() {
        let mut w = Writer::new();
        w.str("x");
        Shape::new([1 << 14]).unwrap().encode(&mut w);
        w.bool(false);
        w.count(3);
        for _ in 0..3 {
            w.str("w");
            w.u8(0x82);
            sizes(&mut w, &[1 << 14, 1 << 10]);
            w.raw(&vec![0; 1 << 21]);
        }
        let bytes = w.into_bytes();
        let refused = Graph::from_bytes(&bytes).unwrap_err();
        assert_eq!((refused.what, refused.fault), ("zeros of a weight", Fault::Invalid));
        let short = Graph::from_bytes(&bytes[..bytes.len() / 2]).unwrap_err();
        assert_eq!((short.what, short.fault), ("zeros of a weight", Fault::Truncated));
    }

    #[test]
    fn labels_that_do_not_match_the_outputs_are_refused() {
        let mut public = tiny_model().public;
        public.labels = vec!["only".into()];
        assert!(PublicModel::from_bytes(&public.to_bytes()).is_err());
    }

    /// Every other one with published zeros.
    fn published(seed: u64) -> PublicModel {
        let mut model = random_model(seed);
        if seed % 2 == 1 {
            pass::publish_zeros(&mut model).unwrap();
        }
        model.public
    }

    proptest! {
        #[test]
        fn a_public_model_is_read_back_as_written(seed: u64) {
            let public = published(seed);
            let bytes = public.to_bytes();
            let back = PublicModel::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&back, &public);
            prop_assert_eq!(back.to_bytes(), bytes);
        }

        #[test]
        fn changed_bytes_never_panic_and_have_one_encoding(seed in 0..64u64, at: prop::sample::Index, flip in 1..=255u8) {
            let mut bytes = published(seed).to_bytes();
            let i = at.index(bytes.len());
            bytes[i] ^= flip;
            if let Ok(model) = PublicModel::from_bytes(&bytes) {
                prop_assert_eq!(model.to_bytes(), bytes);
            }
        }

        #[test]
        fn truncated_bytes_are_refused(seed in 0..64u64, at: prop::sample::Index) {
            let bytes = published(seed).to_bytes();
            prop_assert!(PublicModel::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(model) = PublicModel::from_bytes(&bytes) {
                prop_assert_eq!(model.to_bytes(), bytes);
            }
        }
    }
}
