//! Shape inference: what each operator accepts and what it makes.

use crate::graph::WeightFact;
use crate::op::{Conv, Op, Pool, WeightId};
use crate::{NnError, Shape};

/// The output shape of `op` on `inputs`, or why it does not fit.
pub(crate) fn output_shape(
    node: &str,
    op: &Op,
    inputs: &[&Shape],
    weights: &[WeightFact],
) -> Result<Shape, NnError> {
    let ctx = Ctx { node, op, weights };
    if inputs.len() != op.arity() {
        return Err(ctx.bad(format!("takes {} inputs, got {}", op.arity(), inputs.len())));
    }
    if let Op::Concat { count } = op
        && !(2..=Op::MAX_INPUTS).contains(count)
    {
        return Err(ctx.bad(format!("joins {count} tensors; 2 to {} are known", Op::MAX_INPUTS)));
    }
    let [x, ..] = inputs else {
        return Err(ctx.bad("a graph has one input node, made by its constructor".into()));
    };
    match op {
        Op::Input => Err(ctx.bad("a graph has one input node, made by its constructor".into())),
        Op::Conv(conv) => ctx.conv(conv, x),
        Op::Dense { out, weight, bias } => {
            let Some(features) = x.features() else {
                return Err(ctx.bad(format!("needs a vector, got {x}; flatten it first")));
            };
            ctx.weight(*weight, &[*out, features])?;
            ctx.optional(*bias, &[*out])?;
            Shape::new([*out])
        }
        Op::Add => match inputs {
            [a, b] if a == b => Ok((*a).clone()),
            _ => Err(ctx.bad(format!("needs two equal shapes, got {inputs:?}"))),
        },
        Op::AddConst { value } | Op::MulConst { value } => {
            let found = ctx.declared(*value)?;
            let channels = x.dims().first().copied().unwrap_or(1);
            let fits = found == **x || found.elements() == 1 || found.dims() == [channels];
            if fits {
                Ok((*x).clone())
            } else {
                Err(ctx.bad(format!("a constant of shape {found} does not broadcast over {x}")))
            }
        }
        Op::Square | Op::Relu | Op::Identity => Ok((*x).clone()),
        Op::Clip { min, max } => match min.is_finite() && max.is_finite() && min <= max {
            true => Ok((*x).clone()),
            false => Err(ctx.bad(format!("{min} to {max} is not an interval of finite numbers"))),
        },
        Op::Concat { .. } => ctx.concat(inputs),
        Op::AveragePool(pool) | Op::MaxPool(pool) => ctx.pool(pool, x),
        Op::GlobalAveragePool => {
            let (c, _, _) = ctx.image(x)?;
            Shape::new([c, 1, 1])
        }
        Op::Flatten => Shape::new([x.elements()]),
        Op::Reshape { dims } => {
            let to = Shape::new(dims.clone())?;
            if to.elements() == x.elements() {
                Ok(to)
            } else {
                Err(ctx.bad(format!("{x} has {} elements, {to} has {}", x.elements(), to.elements())))
            }
        }
        Op::BatchNorm { scale, bias, mean, var, epsilon } => {
            let c = x.dims().first().copied().unwrap_or(1);
            for w in [scale, bias, mean, var] {
                ctx.weight(*w, &[c])?;
            }
            if !epsilon.is_finite() || *epsilon < 0.0 {
                return Err(ctx.bad(format!("epsilon {epsilon} is not a small positive number")));
            }
            Ok((*x).clone())
        }
        Op::Slice { starts, ends, steps } => ctx.slice(x, starts, ends, steps),
        Op::Pad { before, after, value } => {
            if before.len() != x.dims().len() || after.len() != x.dims().len() {
                return Err(ctx.bad(format!("needs one padding per axis of {x}")));
            }
            if !value.is_finite() {
                return Err(ctx.bad("the padding value is not finite".into()));
            }
            let dims = x.dims().iter().zip(before.iter().zip(after));
            let dims: Option<Vec<usize>> =
                dims.map(|(&d, (&b, &a))| d.checked_add(b)?.checked_add(a)).collect();
            Shape::new(dims.ok_or_else(|| ctx.bad("padding overflows".into()))?)
        }
    }
}

struct Ctx<'a> {
    node: &'a str,
    op: &'a Op,
    weights: &'a [WeightFact],
}

impl Ctx<'_> {
    fn bad(&self, why: String) -> NnError {
        NnError::BadNode { node: self.node.to_owned(), op: self.op.name(), why }
    }

    fn declared(&self, id: WeightId) -> Result<Shape, NnError> {
        match self.weights.get(id.0 as usize) {
            Some(w) => Ok(w.shape.clone()),
            None => Err(self.bad(format!("weight {} is not declared", id.0))),
        }
    }

    fn weight(&self, id: WeightId, expected: &[usize]) -> Result<(), NnError> {
        let found = self.declared(id)?;
        if found.dims() == expected {
            Ok(())
        } else {
            let name = self.weights.get(id.0 as usize).map_or("?", |w| w.name.as_str());
            Err(self.bad(format!("weight `{name}` has shape {found}, expected {expected:?}")))
        }
    }

    fn optional(&self, id: Option<WeightId>, expected: &[usize]) -> Result<(), NnError> {
        id.map_or(Ok(()), |id| self.weight(id, expected))
    }

    fn image(&self, x: &Shape) -> Result<(usize, usize, usize), NnError> {
        x.chw().ok_or_else(|| self.bad(format!("needs [channels×height×width], got {x}")))
    }

    fn conv(&self, conv: &Conv, x: &Shape) -> Result<Shape, NnError> {
        let (c, h, w) = self.image(x)?;
        let g = conv.groups;
        if g == 0 || !c.is_multiple_of(g) || !conv.out_channels.is_multiple_of(g) {
            let why = format!("{g} groups do not divide {c} input and {} output channels", conv.out_channels);
            return Err(self.bad(why));
        }
        self.weight(conv.weight, &[conv.out_channels, c / g, conv.kernel[0], conv.kernel[1]])?;
        self.optional(conv.bias, &[conv.out_channels])?;
        let [top, left, bottom, right] = conv.pads;
        let oh = self.windows(h, conv.kernel[0], conv.stride[0], top, bottom)?;
        let ow = self.windows(w, conv.kernel[1], conv.stride[1], left, right)?;
        Shape::new([conv.out_channels, oh, ow])
    }

    fn pool(&self, pool: &Pool, x: &Shape) -> Result<Shape, NnError> {
        let (c, h, w) = self.image(x)?;
        let [top, left, bottom, right] = pool.pads;
        if top.max(bottom) >= pool.kernel[0].max(1) || left.max(right) >= pool.kernel[1].max(1) {
            return Err(self.bad("padding reaches past the window".into()));
        }
        let oh = self.windows(h, pool.kernel[0], pool.stride[0], top, bottom)?;
        let ow = self.windows(w, pool.kernel[1], pool.stride[1], left, right)?;
        Shape::new([c, oh, ow])
    }

    /// Number of window positions along one axis (rounded down).
    fn windows(
        &self,
        size: usize,
        kernel: usize,
        stride: usize,
        a: usize,
        b: usize,
    ) -> Result<usize, NnError> {
        if kernel == 0 || stride == 0 {
            return Err(self.bad("kernel and stride must be at least 1".into()));
        }
        if kernel.max(stride).max(a).max(b) > Shape::MAX_ELEMENTS {
            return Err(
                self.bad(format!("a window size, stride or padding is above {}", Shape::MAX_ELEMENTS))
            );
        }
        match size.checked_add(a).and_then(|s| s.checked_add(b)) {
            Some(padded) if padded >= kernel => Ok((padded - kernel) / stride + 1),
            _ => Err(self.bad(format!("kernel {kernel} is larger than the padded input of {size}"))),
        }
    }

    fn concat(&self, inputs: &[&Shape]) -> Result<Shape, NnError> {
        let mut axes = inputs.iter().map(|s| s.dims().split_first());
        let Some(Some((&first, rest))) = axes.next() else {
            return Err(self.bad("joins scalars".into()));
        };
        let mut sum = first;
        for other in axes {
            match other {
                Some((&more, same)) if same == rest => sum += more,
                _ => return Err(self.bad(format!("needs equal shapes but for channels, got {inputs:?}"))),
            }
        }
        Shape::new([&[sum], rest].concat())
    }

    fn slice(&self, x: &Shape, starts: &[usize], ends: &[usize], steps: &[usize]) -> Result<Shape, NnError> {
        let axes = x.dims().len();
        if starts.len() != axes || ends.len() != axes || steps.len() != axes {
            return Err(self.bad(format!("needs a range per axis of {x}")));
        }
        let ranges = x.dims().iter().zip(starts.iter().zip(ends.iter().zip(steps)));
        let dims: Option<Vec<usize>> = ranges
            .map(|(&d, (&s, (&e, &step)))| {
                let fits = s < e && e <= d && (1..=Shape::MAX_ELEMENTS).contains(&step);
                fits.then(|| (e - s).div_ceil(step))
            })
            .collect();
        Shape::new(dims.ok_or_else(|| self.bad(format!("ranges {starts:?}..{ends:?} do not fit {x}")))?)
    }
}
