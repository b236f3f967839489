//! Wire encodings of what is published.
#![deny(clippy::indexing_slicing)]

use super::{Certainty, Formats, LinearFormat};
use crate::Graph;
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};

/// A width or shift: all are far below 256.
fn small(w: &mut Writer, v: u32) {
    w.u8(u8::try_from(v).unwrap_or(u8::MAX));
}

fn read_small(r: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    r.u8(what).map(u32::from)
}

impl Encode for LinearFormat {
    fn encode(&self, w: &mut Writer) {
        [self.bits, self.shift, self.weight_bits].into_iter().for_each(|v| small(w, v));
        w.u64(self.norm1);
        w.u64(self.norm2);
    }
}

impl Decode for LinearFormat {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bits: read_small(r, "bits of a layer")?,
            shift: read_small(r, "shift of a layer")?,
            weight_bits: read_small(r, "bits of weights")?,
            norm1: r.u64("norm of weights")?,
            norm2: r.u64("norm of weights")?,
        })
    }
}

impl Encode for Certainty {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Always => w.u8(0),
            Self::Calibrated { images, margin, overflow, error } => {
                w.u8(1);
                w.u32(*images);
                w.f64(margin + 0.0);
                w.f64(overflow + 0.0);
                w.bool(error.is_some());
                error.iter().for_each(|e| w.f64(e + 0.0));
            }
        }
    }
}

impl Decode for Certainty {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("certainty")? {
            0 => Ok(Self::Always),
            1 => Ok(Self::Calibrated {
                images: r.u32("calibration inputs")?,
                margin: r.f64("margin")?,
                overflow: r.f64("overflow probability")?,
                error: if r.bool("error seen")? { Some(r.f64("error seen")?) } else { None },
            }),
            _ => Err(r.error("certainty", Fault::Invalid)),
        }
    }
}

/// Only numbers inside their ranges can be read back.
impl Encode for Formats {
    fn encode(&self, w: &mut Writer) {
        small(w, self.input_bits);
        w.f64(self.input_scale);
        w.f64(self.output_scale);
        w.seq(&self.layers);
        self.certainty.encode(w);
    }
}

impl Decode for Formats {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let formats = Self {
            input_bits: read_small(r, "bits of the input")?,
            input_scale: r.f64("input scale")?,
            output_scale: r.f64("output scale")?,
            layers: r.seq(Graph::MAX_NODES, "layers")?,
            certainty: Certainty::decode(r)?,
        };
        formats.check().map_err(|_| r.error("fixed-point formats", Fault::Invalid))?;
        Ok(formats)
    }
}
