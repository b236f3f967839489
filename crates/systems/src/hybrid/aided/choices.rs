//! What a planner of mode `client-aided` may choose, in canonical bytes.
#![deny(clippy::indexing_slicing)]

use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_he::{Moduli, ParamsLiteral, RingKind};

/// How one convolution or dense layer is laid out: [`oblivia_pack::circuit::FreeLayer::way`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LayerChoice {
    /// Number of the way.
    pub(super) way: u32,
    /// Rotations below this are baby steps.
    pub(super) baby: u32,
    /// Whether giant steps are chained.
    pub(super) chained: bool,
    /// Whether folds quadruple.
    pub(super) quarters: bool,
}

/// Everything that is chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AidedChoices {
    /// log2 of the ring dimension.
    pub(super) log_n: u32,
    /// Bits of the ciphertext primes; the last is dropped behind the products, those before it but one behind the flood.
    pub(super) q: Vec<u32>,
    /// Bits of the special prime.
    pub(super) p: u32,
    /// log2 of the width of the flood.
    pub(super) flood: u32,
    /// Low bits of the halves of a reply that are not sent.
    pub(super) cut: [u32; 2],
    /// Whether plaintexts are transformed at every use.
    pub(super) deferred: bool,
    /// By convolution and dense layer, in the order of the network in fixed point.
    pub(super) layers: Vec<LayerChoice>,
}

/// log2 of ring dimensions.
pub(super) const LOG_N: std::ops::RangeInclusive<u32> = 13..=15;
/// How many ciphertext primes.
pub(super) const PRIMES: std::ops::RangeInclusive<usize> = 3..=8;
/// Their sizes, and that of the special prime.
const PRIME_BITS: std::ops::RangeInclusive<u32> = 30..=50;
/// The most layers.
pub(super) const MAX_LAYERS: usize = 64;

impl AidedChoices {
    /// Ring and primes.
    pub(super) fn literal(&self) -> ParamsLiteral {
        ParamsLiteral {
            kind: RingKind::Standard,
            log_n: self.log_n,
            q: Moduli::Bits(self.q.clone()),
            p: Moduli::Bits(vec![self.p]),
            alpha: 1,
            levels: Vec::new(),
        }
    }
}

impl Encode for AidedChoices {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.log_n);
        w.count(self.q.len());
        self.q.iter().for_each(|&bits| w.u32(bits));
        w.u32(self.p);
        w.u32(self.flood);
        self.cut.iter().for_each(|&bits| w.u32(bits));
        w.bool(self.deferred);
        w.count(self.layers.len());
        for l in &self.layers {
            w.u32(l.way);
            w.u32(l.baby);
            w.bool(l.chained);
            w.bool(l.quarters);
        }
    }
}

impl Decode for AidedChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = |r: &mut Reader<'_>, range: std::ops::RangeInclusive<u32>, what: &'static str| {
            let v = r.u32(what)?;
            r.require(range.contains(&v), what)?;
            Ok::<_, DecodeError>(v)
        };
        let log_n = number(r, LOG_N, "log2 of the ring dimension")?;
        let count = r.count(*PRIMES.end(), 4, "primes")?;
        r.require(PRIMES.contains(&count), "primes")?;
        let q = (0..count).map(|_| number(r, PRIME_BITS, "bits of a prime")).collect::<Result<_, _>>()?;
        let p = number(r, PRIME_BITS, "bits of the special prime")?;
        let flood = number(r, 1..=900, "width of a flood")?;
        let cut = [number(r, 0..=49, "bits cut")?, number(r, 0..=49, "bits cut")?];
        let deferred = r.bool("deferred plaintexts")?;
        let count = r.count(MAX_LAYERS, 10, "layers")?;
        let layer = |_| {
            Ok(LayerChoice {
                way: number(r, 0..=255, "way of a layer")?,
                baby: number(r, 1..=1 << 16, "baby steps")?,
                chained: r.bool("chained")?,
                quarters: r.bool("quarters")?,
            })
        };
        let layers = (0..count).map(layer).collect::<Result<_, DecodeError>>()?;
        Ok(Self { log_n, q, p, flood, cut, deferred, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_were_written_and_nothing_else_is() {
        let layer = LayerChoice { way: 2, baby: 32, chained: true, quarters: false };
        let (log_n, q, p, cut) = (13, vec![46; 3], 50, [12, 6]);
        let honest = AidedChoices { log_n, q, p, flood: 50, cut, deferred: true, layers: vec![layer; 2] };
        assert_eq!(AidedChoices::from_bytes(&honest.to_bytes()), Ok(honest.clone()));
        let changes: [fn(&mut AidedChoices); 8] = [
            |c| c.log_n = 12,
            |c| c.q.truncate(2),
            |c| c.q = vec![51; 3],
            |c| c.p = 29,
            |c| c.flood = 0,
            |c| c.cut = [50, 0],
            |c| c.layers = vec![LayerChoice { way: 0, baby: 0, chained: false, quarters: false }],
            |c| {
                c.layers =
                    vec![LayerChoice { way: 0, baby: 1, chained: false, quarters: false }; MAX_LAYERS + 1]
            },
        ];
        for change in changes {
            let mut c = honest.clone();
            change(&mut c);
            assert!(AidedChoices::from_bytes(&c.to_bytes()).is_err(), "{c:?}");
        }
    }
}
