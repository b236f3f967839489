//! One small function per operator, and the register of them.

mod arithmetic;
mod layout;
mod linear;
mod window;

use crate::OnnxError;
use crate::import::{Import, Known, Node};

/// Turns one node into nodes of the graph, or into a constant.
pub(crate) type Handler = fn(&mut Import, &mut Node) -> Result<Known, OnnxError>;

/// The operators known, in alphabetical order.
const REGISTER: &[(&str, Handler)] = &[
    ("Add", arithmetic::add),
    ("ArgMax", layout::ending),
    ("AveragePool", window::average_pool),
    ("BatchNormalization", arithmetic::batch_normalization),
    ("Clip", arithmetic::clip),
    ("Concat", layout::concat),
    ("Constant", layout::constant),
    ("Conv", linear::conv),
    ("Div", arithmetic::div),
    ("Dropout", layout::dropout),
    ("Flatten", layout::flatten),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", window::global_average_pool),
    ("Identity", layout::identity),
    ("LogSoftmax", layout::ending),
    ("MatMul", linear::mat_mul),
    ("MaxPool", window::max_pool),
    ("Mul", arithmetic::mul),
    ("Pad", layout::pad),
    ("Pow", arithmetic::pow),
    ("Relu", arithmetic::relu),
    ("Reshape", layout::reshape),
    ("Slice", layout::slice),
    ("Softmax", layout::ending),
    ("Sub", arithmetic::sub),
];

/// The handler of an operator of the standard domain.
pub(crate) fn handler(operator: &str) -> Option<Handler> {
    REGISTER.iter().find(|(name, _)| *name == operator).map(|(_, handler)| *handler)
}

/// Names of the operators that can be read.
pub fn operators() -> impl Iterator<Item = &'static str> {
    REGISTER.iter().map(|(name, _)| *name)
}
