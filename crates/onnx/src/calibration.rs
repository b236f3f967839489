//! The calibration beside a manifest: what its owner measured to bring the model to fixed point.

use crate::OnnxError;
use oblivia_base::Transcript;
use oblivia_nn::fixed::{Ranges, channel_count};
use oblivia_nn::{Graph, Weights};
use serde::Deserialize;
use std::fmt::Write as _;

/// The only version of the layout so far.
const FORMAT: u32 = 1;
/// Where a list of numbers is wrapped, in characters.
const COLUMNS: usize = 110;
/// What to do about a file that does not fit.
const AGAIN: &str = "run `oblivia quantise` again";

/// A `calibration.toml`: [`Ranges`] with the names of the wires they are of. It depends on weights and calibration images
/// and is the owner's alone; what clients are given is [`oblivia_nn::fixed::Formats`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationFile {
    format: u32,
    /// Of the weights that were measured.
    weights: String,
    images: u32,
    #[serde(default, rename = "wire")]
    wires: Vec<Wire>,
}

/// One wire of the network's graph, a number per channel.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    peak: Vec<f64>,
    rms: Vec<f64>,
}

/// Measurements are secret: only the name is shown.
impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CalibrationFile {
    /// The largest file read, in bytes.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// The file of ranges of the wires of `graph` (a network's, [`oblivia_nn::fixed::Network::graph`]), for a model with
    /// these weights in its ONNX file. Numbers are brought to six significant digits: quantise with what
    /// [`CalibrationFile::ranges`] gives back.
    pub fn new(graph: &Graph, weights: &Weights, ranges: &Ranges) -> Self {
        let six = |values: &Vec<f64>| values.iter().map(|&v| six_digits(v)).collect();
        let wire = |((node, peak), rms): ((&oblivia_nn::Node, _), _)| Wire {
            name: node.name.clone(),
            peak: six(peak),
            rms: six(rms),
        };
        let wires = graph.nodes().iter().zip(&ranges.peak).zip(&ranges.rms).map(wire).collect();
        Self { format: FORMAT, weights: fingerprint(weights), images: ranges.images, wires }
    }

    /// Reads a file and checks all that can be checked without the model; `path` is for messages.
    ///
    /// # Errors
    /// [`OnnxError::Calibration`] says what is wrong where.
    pub fn parse(text: &str, path: &str) -> Result<Self, OnnxError> {
        let bad = |why: String| OnnxError::Calibration { path: path.into(), why };
        // Without the quoted source lines: they hold secrets, and errors end in logs.
        let file: Self = toml::from_str(text).map_err(|e| bad(without_source(&e, text)))?;
        file.check().map_err(bad)?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not known; this version reads format {FORMAT}", self.format));
        }
        if self.images == 0 {
            return Err(format!("`images` is 0: nothing was measured; {AGAIN}"));
        }
        if self.weights.len() != 16 || !self.weights.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("`weights` is not 16 hexadecimal digits; {AGAIN}"));
        }
        for (i, wire) in self.wires.iter().enumerate() {
            for (what, values) in [("peak", &wire.peak), ("rms", &wire.rms)] {
                // What 32-bit floats give.
                let fits = |v: &f64| (0.0..=f64::from(f32::MAX)).contains(v);
                if let Some(at) = values.iter().position(|v| !fits(v)) {
                    let name = &wire.name;
                    return Err(format!(
                        "wire {i} `{name}`: number {at} of `{what}` is negative, not finite or above 3.4e38; {AGAIN}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The ranges, if the file is of `graph` ([`oblivia_nn::pass::pool_first`] of the model in normal form,
    /// [`oblivia_nn::pass::normal_form`]) and of the weights in the model's ONNX file.
    ///
    /// # Errors
    /// A sentence that names the first wire that differs, or says that weights do.
    pub fn ranges(&self, graph: &Graph, weights: &Weights) -> Result<Ranges, String> {
        let of_another = format!("it is of another model; {AGAIN}");
        let nodes = graph.nodes();
        for (i, (node, wire)) in nodes.iter().zip(&self.wires).enumerate() {
            let (name, channels) = (&node.name, channel_count(&node.fact));
            if wire.name != *name {
                return Err(format!("wire {i} is `{}`, the model's is `{name}`: {of_another}", wire.name));
            }
            for (what, values) in [("peak", &wire.peak), ("rms", &wire.rms)] {
                if values.len() != channels {
                    let found = values.len();
                    return Err(format!(
                        "wire {i} `{name}` has {found} numbers in `{what}` for {channels} channels: {of_another}"
                    ));
                }
            }
        }
        if self.wires.len() != nodes.len() {
            let found = self.wires.len();
            return Err(format!("{found} wires for the model's {}: {of_another}", nodes.len()));
        }
        if self.weights != fingerprint(weights) {
            return Err(format!(
                "it is of other weights: limits and the probability declared are not theirs; {AGAIN}"
            ));
        }
        let (peak, rms) = self.wires.iter().map(|w| (w.peak.clone(), w.rms.clone())).unzip();
        Ok(Ranges { images: self.images, peak, rms })
    }

    /// The text of the file; `model` is the model's name.
    pub fn to_text(&self, model: &str) -> String {
        let mut text = format!(
            "# What `oblivia quantise` measured of `{model}` to bring it to fixed point; `[fixed_point]` of model.toml names it.\n\
             # SECRET, like the weights: it depends on them and on the calibration images. Clients never get it.\n\
             # By wire of the network, in its order, a number per channel: largest |x| and root mean square.\n\n\
             format = {}\n\
             weights = \"{}\"  # of which it was measured\n\
             images = {}\n",
            self.format, self.weights, self.images
        );
        for wire in &self.wires {
            let name = toml::Value::String(wire.name.clone());
            // Writing to a string cannot fail.
            let _ = write!(text, "\n[[wire]]\nname = {name}\n");
            list(&mut text, "peak", &wire.peak);
            list(&mut text, "rms", &wire.rms);
        }
        text
    }
}

fn list(text: &mut String, name: &str, values: &[f64]) {
    let head = format!("{name} = [");
    text.push_str(&head);
    let mut column = head.len();
    for (i, v) in values.iter().enumerate() {
        let word = format!("{v:?}");
        let separator = if i == 0 { "" } else { "," };
        text.push_str(separator);
        column += separator.len();
        if column + 2 + word.len() > COLUMNS {
            text.push_str("\n    ");
            column = 4;
        } else if i > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word);
        column += word.len();
    }
    text.push_str("]\n");
}

/// Tells weights apart: the first 64 bits of a digest of all values, in 16 hexadecimal digits.
fn fingerprint(weights: &Weights) -> String {
    let mut transcript = Transcript::new("oblivia calibration of fixed point, weights");
    for tensor in weights.tensors() {
        let bytes: Vec<u8> = tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect();
        transcript.absorb("tensor", &bytes);
    }
    transcript.digest().short()
}

/// The nearest number with six significant digits.
fn six_digits(v: f64) -> f64 {
    format!("{v:.5e}").parse().unwrap_or(v)
}

/// The message of an error and its line, without the line's contents.
fn without_source(e: &toml::de::Error, text: &str) -> String {
    let line = e.span().and_then(|at| text.get(..at.start)).map(|before| before.matches('\n').count() + 1);
    let at = line.map(|n| format!("line {n}: ")).unwrap_or_default();
    format!("{at}{}", e.message().trim_end())
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
pub(crate) mod tests {
    use super::*;
    use oblivia_nn::{Op, Shape, Tensor, WireId};
    use proptest::prelude::*;

    pub(crate) const TEXT: &str = "format = 1\nweights = \"85a3a5d839507b34\"\nimages = 3\n\
        [[wire]]\nname = \"x\"\npeak = [1.0, 2.5]\nrms = [0.5, 1e-7]\n\
        [[wire]]\nname = \"y \\\"1\\\"\"\npeak = [1, 0]\nrms = [0.25, 0.0]\n";

    fn graph() -> Graph {
        let mut graph = Graph::new("x", Shape::new([2, 3, 3]).unwrap());
        graph.push("y \"1\"", Op::Relu, &[WireId(0)]).unwrap();
        graph
    }

    /// Weights of a graph that has none.
    fn none() -> Weights {
        Weights::new(&graph(), Vec::new()).unwrap()
    }

    #[test]
    fn weights_that_were_not_measured_are_told_apart() {
        let mut graph = Graph::new("x", Shape::new([2]).unwrap());
        graph.weight("w", Shape::new([2]).unwrap()).unwrap();
        let weights = |v: f32| {
            let tensor = Tensor::new(Shape::new([2]).unwrap(), vec![1.0, v]).unwrap();
            Weights::new(&graph, vec![tensor]).unwrap()
        };
        let of = || vec![vec![1.0, 1.0]];
        let file = CalibrationFile::new(&graph, &weights(0.5), &Ranges { images: 1, peak: of(), rms: of() });
        assert!(file.ranges(&graph, &weights(0.5)).is_ok());
        let why = file.ranges(&graph, &weights(-0.5)).unwrap_err();
        assert!(why.contains("it is of other weights") && why.contains("oblivia quantise"), "{why}");
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let ranges = CalibrationFile::parse(TEXT, "c").unwrap().ranges(&graph(), &none()).unwrap();
        assert_eq!(
            (ranges.images, &ranges.peak[0][..], &ranges.rms[1][..]),
            (3, &[1.0, 2.5][..], &[0.25, 0.0][..])
        );
        let mut many = ranges;
        many.peak[1] = vec![123_456.789_f64, 1.234_567_89e-9];
        let file = CalibrationFile::new(&graph(), &none(), &many);
        let text = file.to_text("two-relus");
        assert_eq!(CalibrationFile::parse(&text, "c").as_ref(), Ok(&file), "{text}");
        assert_eq!(file.ranges(&graph(), &none()).unwrap().peak[1], [123_457.0, 1.234_57e-9]);
        assert!(text.contains("SECRET") && text.contains("`two-relus`"), "{text}");
    }

    #[test]
    fn long_lists_are_wrapped_and_read_back() {
        let mut graph = Graph::new("x", Shape::new([700]).unwrap());
        graph.push("y", Op::Relu, &[WireId(0)]).unwrap();
        let values: Vec<f64> = (0..700).map(|i| f64::from(i) * 0.37).collect();
        let of = vec![values.clone(), values];
        let file = CalibrationFile::new(&graph, &none(), &Ranges { images: 1, peak: of.clone(), rms: of });
        let text = file.to_text("m");
        assert!(text.lines().filter(|l| !l.starts_with('#')).all(|l| l.len() <= COLUMNS), "{text}");
        assert_eq!(CalibrationFile::parse(&text, "c"), Ok(file));
    }

    #[test]
    fn a_file_that_makes_no_sense_says_where_and_shows_no_measurement() {
        for (from, to, expected) in [
            ("format = 1", "format = 2", "format 2 is not known"),
            ("images = 3", "images = 0", "`images` is 0"),
            ("images = 3", "images = -3", "line 3: "),
            ("85a3", "85a", "`weights` is not 16 hexadecimal digits"),
            ("85a3", "85ax", "`weights` is not 16 hexadecimal digits"),
            ("images = 3", "pictures = 3", "unknown field `pictures`"),
            ("2.5]", "-2.5]", "wire 0 `x`: number 1 of `peak` is negative"),
            ("2.5]", "nan]", "not finite"),
            ("2.5]", "inf]", "not finite"),
            ("2.5]", "1e39]", "above 3.4e38"),
            ("0.25,", "-0.25,", "wire 1 `y \"1\"`: number 0 of `rms`"),
            ("2.5]", "\"2.5\"]", "line 6: invalid type"),
            ("2.5]", "2.5", "line "),
            ("rms = [0.5, 1e-7]\n", "", "missing field `rms`"),
        ] {
            let error = CalibrationFile::parse(&TEXT.replacen(from, to, 1), "cal").unwrap_err();
            let words = error.to_string();
            assert!(
                words.starts_with("calibration cal: ") && words.contains(expected),
                "{expected}: {words}"
            );
            assert!(!words.contains("1.0,"), "{words}");
        }
    }

    #[test]
    fn a_file_of_another_model_names_the_first_wire_that_differs() {
        for (from, to, expected) in [
            ("\"x\"", "\"z\"", "wire 0 is `z`, the model's is `x`"),
            ("[1, 0]", "[1]", "wire 1 `y \"1\"` has 1 numbers in `peak` for 2 channels"),
            ("[0.25, 0.0]", "[1, 2, 3]", "has 3 numbers in `rms` for 2 channels"),
        ] {
            let file = CalibrationFile::parse(&TEXT.replacen(from, to, 1), "c").unwrap();
            let why = file.ranges(&graph(), &none()).unwrap_err();
            assert!(why.contains(expected) && why.contains("oblivia quantise"), "{expected}: {why}");
        }
        let mut short = CalibrationFile::parse(TEXT, "c").unwrap();
        short.wires.pop();
        assert!(short.ranges(&graph(), &none()).unwrap_err().contains("1 wires for the model's 2"));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(noise: Vec<u8>, at: prop::sample::Index, value: u8) {
            crate::fuzz::calibration(&noise);
            let mut sound = TEXT.as_bytes().to_vec();
            let i = at.index(sound.len());
            sound[i] = value;
            crate::fuzz::calibration(&sound);
            crate::fuzz::calibration(&sound[..i]);
        }
    }
}
