//! Operators.
#![deny(clippy::indexing_slicing)]

use super::{axes, bias, float, read_axes, read_bias, read_float, read_size, read_sizes, read_weight};
use super::{size, sizes, weight};
use crate::op::{Conv, Op, Pool};
use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};

impl Encode for Pool {
    fn encode(&self, w: &mut Writer) {
        sizes(w, &self.kernel);
        sizes(w, &self.stride);
        sizes(w, &self.pads);
        w.bool(self.count_include_pad);
    }
}

impl Decode for Pool {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kernel: read_sizes(r, "kernel")?,
            stride: read_sizes(r, "stride")?,
            pads: read_sizes(r, "pads")?,
            count_include_pad: r.bool("count_include_pad")?,
        })
    }
}

impl Encode for Conv {
    fn encode(&self, w: &mut Writer) {
        size(w, self.out_channels);
        sizes(w, &self.kernel);
        sizes(w, &self.stride);
        sizes(w, &self.pads);
        size(w, self.groups);
        weight(w, self.weight);
        bias(w, self.bias);
    }
}

impl Decode for Conv {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            out_channels: read_size(r, "output channels")?,
            kernel: read_sizes(r, "kernel")?,
            stride: read_sizes(r, "stride")?,
            pads: read_sizes(r, "pads")?,
            groups: read_size(r, "groups")?,
            weight: read_weight(r)?,
            bias: read_bias(r)?,
        })
    }
}

impl Encode for Op {
    fn encode(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Input => 0,
            Self::Conv(_) => 1,
            Self::Dense { .. } => 2,
            Self::Add => 3,
            Self::AddConst { .. } => 4,
            Self::MulConst { .. } => 5,
            Self::Square => 6,
            Self::Relu => 7,
            Self::AveragePool(_) => 8,
            Self::GlobalAveragePool => 9,
            Self::MaxPool(_) => 10,
            Self::Flatten => 11,
            Self::Reshape { .. } => 12,
            Self::BatchNorm { .. } => 13,
            Self::Slice { .. } => 14,
            Self::Pad { .. } => 15,
            Self::Identity => 16,
            Self::Clip { .. } => 17,
            Self::Concat { .. } => 18,
        });
        match self {
            Self::Conv(conv) => conv.encode(w),
            Self::Dense { out, weight: id, bias: b } => {
                size(w, *out);
                weight(w, *id);
                bias(w, *b);
            }
            Self::AddConst { value } | Self::MulConst { value } => weight(w, *value),
            Self::AveragePool(pool) | Self::MaxPool(pool) => pool.encode(w),
            Self::Reshape { dims } => axes(w, dims),
            Self::BatchNorm { scale, bias, mean, var, epsilon } => {
                [scale, bias, mean, var].into_iter().for_each(|&id| weight(w, id));
                float(w, *epsilon);
            }
            Self::Slice { starts, ends, steps } => [starts, ends, steps].into_iter().for_each(|v| axes(w, v)),
            Self::Pad { before, after, value } => {
                axes(w, before);
                axes(w, after);
                float(w, *value);
            }
            Self::Clip { min, max } => {
                float(w, *min);
                float(w, *max);
            }
            Self::Concat { count } => size(w, *count),
            Self::Input
            | Self::Add
            | Self::Square
            | Self::Relu
            | Self::GlobalAveragePool
            | Self::Flatten
            | Self::Identity => {}
        }
    }
}

impl Decode for Op {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8("operator")? {
            0 => Self::Input,
            1 => Self::Conv(Conv::decode(r)?),
            2 => Self::Dense { out: read_size(r, "outputs")?, weight: read_weight(r)?, bias: read_bias(r)? },
            3 => Self::Add,
            4 => Self::AddConst { value: read_weight(r)? },
            5 => Self::MulConst { value: read_weight(r)? },
            6 => Self::Square,
            7 => Self::Relu,
            8 => Self::AveragePool(Pool::decode(r)?),
            9 => Self::GlobalAveragePool,
            10 => Self::MaxPool(Pool::decode(r)?),
            11 => Self::Flatten,
            12 => Self::Reshape { dims: read_axes(r, "axes")? },
            13 => Self::BatchNorm {
                scale: read_weight(r)?,
                bias: read_weight(r)?,
                mean: read_weight(r)?,
                var: read_weight(r)?,
                epsilon: read_float(r, "epsilon")?,
            },
            14 => Self::Slice {
                starts: read_axes(r, "starts")?,
                ends: read_axes(r, "ends")?,
                steps: read_axes(r, "steps")?,
            },
            15 => Self::Pad {
                before: read_axes(r, "before")?,
                after: read_axes(r, "after")?,
                value: read_float(r, "padding value")?,
            },
            16 => Self::Identity,
            17 => Self::Clip { min: read_float(r, "clip")?, max: read_float(r, "clip")? },
            18 => {
                let count = read_size(r, "tensors joined")?;
                r.require(count <= Self::MAX_INPUTS, "tensors joined")?;
                Self::Concat { count }
            }
            _ => return Err(r.error("operator", Fault::Invalid)),
        })
    }
}
