//! Harnesses for fuzzers: plain functions of bytes that must neither panic nor take unbounded memory, and say
//! whether the bytes were accepted.

use crate::fixed::{Formats, Network};
use crate::{Graph, Op, PublicModel, Shape};
use oblivia_base::codec::{Decode, Reader};
use oblivia_base::fuzz::round_trip;

/// A shape.
pub fn shape(bytes: &[u8]) -> bool {
    round_trip::<Shape>(bytes)
}

/// An operator.
pub fn op(bytes: &[u8]) -> bool {
    round_trip::<Op>(bytes)
}

/// A graph, rebuilt node by node.
pub fn graph(bytes: &[u8]) -> bool {
    round_trip::<Graph>(bytes)
}

/// Everything a client gets of a model.
pub fn public_model(bytes: &[u8]) -> bool {
    round_trip::<PublicModel>(bytes)
}

/// The published numbers of a network in fixed point.
pub fn fixed_formats(bytes: &[u8]) -> bool {
    round_trip::<Formats>(bytes)
}

/// A published model and numbers for it. Whether they fit is for the network to say, without panicking.
pub fn fixed_network(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    let (Ok(model), Ok(formats)) = (PublicModel::decode(&mut r), Formats::decode(&mut r)) else {
        return false;
    };
    Network::new(&model, formats).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::{Options, Ranges, quantise};
    use crate::pass;
    use crate::testing::{random_input, random_model, random_relu_model};
    use oblivia_base::codec::Encode;
    use proptest::prelude::*;

    type Harness = fn(&[u8]) -> bool;

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_canonically(bytes: Vec<u8>) {
            shape(&bytes);
            op(&bytes);
            graph(&bytes);
            public_model(&bytes);
            fixed_formats(&bytes);
            fixed_network(&bytes);
        }

        #[test]
        fn damaged_fixed_point_networks_are_refused_or_hold_together(
            seed in 0..64u64,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
        ) {
            let model = random_relu_model(seed);
            let x = random_input(&model, seed);
            let Ok(fixed) = quantise(&model, &Ranges::measured(&model, [&x]).unwrap(), &Options::default()) else {
                return Ok(());
            };
            let formats = fixed.network().formats().to_bytes();
            prop_assert!(fixed_formats(&formats));
            let both = [model.public.to_bytes(), formats.clone()].concat();
            prop_assert!(fixed_network(&both));
            for (harness, mut bytes) in [(fixed_formats as Harness, formats), (fixed_network, both)] {
                for (at, value) in &edits {
                    let at = at.index(bytes.len());
                    bytes[at] ^= value;
                }
                harness(&bytes);
                prop_assert!(!harness(&bytes[..cut.index(bytes.len())]));
            }
        }

        #[test]
        fn damaged_models_are_refused_or_read_canonically(
            seed in 0..64u64,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
        ) {
            let mut model = random_model(seed);
            if seed % 2 == 1 {
                pass::publish_zeros(&mut model).unwrap();
            }
            let public = model.public;
            let decoders =
                [(graph as Harness, public.graph.to_bytes()), (public_model, public.to_bytes())];
            for (harness, mut bytes) in decoders {
                prop_assert!(harness(&bytes));
                for (at, value) in &edits {
                    let at = at.index(bytes.len());
                    bytes[at] ^= value;
                }
                harness(&bytes);
                harness(&bytes[..cut.index(bytes.len())]);
                bytes.push(0);
                harness(&bytes);
            }
            for node in public.graph.nodes() {
                prop_assert!(op(&node.op.to_bytes()) && shape(&node.fact.shape.to_bytes()));
            }
        }
    }
}
