//! What a planner of `hybrid` may choose, in canonical bytes.
#![deny(clippy::indexing_slicing)]

use oblivia_base::codec::{Decode, DecodeError, Encode, Fault, Reader, Writer};
use oblivia_mpc::Radix;
use oblivia_mpc::setup::Source;
use oblivia_mpc::silent::LpnSet;
use oblivia_mpc::softspoken::FieldBits;

/// Where correlated OTs come from, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Supply {
    /// One batch of the extension per image, as long as the image needs.
    Extension(FieldBits),
    /// Whole silent rounds of this set per image; a smaller one is played once before if that makes its first COTs cheaper.
    Silent(LpnSet),
}

impl Supply {
    /// All that can be chosen.
    pub(super) const ALL: [Self; 7] = [
        Self::Extension(FieldBits::Four),
        Self::Extension(FieldBits::Eight),
        Self::Silent(LpnSet::B8),
        Self::Silent(LpnSet::B9),
        Self::Silent(LpnSet::B10),
        Self::Silent(LpnSet::B11),
        Self::Silent(LpnSet::B12),
    ];

    /// The sets of a silent supply, in the order they are played.
    pub(super) fn sets(self) -> &'static [LpnSet] {
        match self {
            Self::Extension(_) => &[],
            Self::Silent(LpnSet::B8) => &[LpnSet::B8],
            Self::Silent(LpnSet::B9) => &[LpnSet::B9],
            Self::Silent(LpnSet::B10) => &[LpnSet::B8, LpnSet::B10],
            Self::Silent(LpnSet::B11) => &[LpnSet::B8, LpnSet::B11],
            Self::Silent(LpnSet::B12) => &[LpnSet::B9, LpnSet::B12],
        }
    }

    /// As the set-up takes it.
    pub(super) fn source(self) -> Source {
        match self {
            Self::Extension(field) => Source::Extension { field, cots: FIRST_BATCH },
            Self::Silent(_) => Source::Silent { sets: self.sets().to_vec() },
        }
    }
}

/// COTs of the batch an extension's set-up cannot do without; they are dropped.
const FIRST_BATCH: usize = 128;

/// Most comparing steps of a network.
const MAX_STEPS: usize = 1 << 16;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HybridChoices {
    /// Digits of comparisons, of every step and then of the output. Steps that compare nothing have one too.
    pub(super) radices: Vec<Radix>,
    /// Source of correlated OTs.
    pub(super) supply: Supply,
    /// Images of a group: they share messages. From 1 to [`MAX_IMAGES`].
    pub(super) images: u32,
}

/// Most images of a group.
pub(super) const MAX_IMAGES: u32 = 256;

impl HybridChoices {
    /// Digits of step `at`; of the output behind the last step.
    pub(super) fn radix(&self, at: usize) -> Radix {
        self.radices.get(at).copied().unwrap_or(Radix::Four)
    }
}

impl Encode for HybridChoices {
    fn encode(&self, w: &mut Writer) {
        let at = Supply::ALL.iter().position(|s| *s == self.supply).unwrap_or(usize::MAX);
        w.u8(u8::try_from(at).unwrap_or(u8::MAX));
        w.u32(self.images);
        w.u32(u32::try_from(self.radices.len()).unwrap_or(u32::MAX));
        for radix in &self.radices {
            let at = Radix::ALL.iter().position(|r| r == radix).unwrap_or(usize::MAX);
            w.u8(u8::try_from(at).unwrap_or(u8::MAX));
        }
    }
}

impl Decode for HybridChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let supply = Supply::ALL.get(usize::from(r.u8("source of OTs")?)).copied();
        let supply = supply.ok_or_else(|| r.error("source of OTs", Fault::Invalid))?;
        let images = r.u32("images of a group")?;
        r.require((1..=MAX_IMAGES).contains(&images), "images of a group")?;
        let count = r.u32("steps")? as usize;
        r.require(count <= MAX_STEPS, "steps")?;
        let bytes = r.raw(count, "digits of comparisons")?;
        let radices = bytes.iter().map(|b| Radix::ALL.get(usize::from(*b)).copied()).collect::<Option<_>>();
        let radices = radices.ok_or_else(|| r.error("digits of comparisons", Fault::Invalid))?;
        Ok(Self { radices, supply, images })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_were_written_and_nothing_else_is() {
        for supply in Supply::ALL {
            for radices in [vec![], Radix::ALL.to_vec(), vec![Radix::Mixed; 300]] {
                for images in [1, 2, MAX_IMAGES] {
                    let choices = HybridChoices { radices: radices.clone(), supply, images };
                    assert_eq!(HybridChoices::from_bytes(&choices.to_bytes()), Ok(choices));
                }
            }
        }
        let of = |supply: u8, images: u32, steps: u32, rest: &[u8]| {
            [&[supply][..], &images.to_le_bytes(), &steps.to_le_bytes(), rest].concat()
        };
        assert!(HybridChoices::from_bytes(&of(0, 1, 1, &[4])).is_ok());
        for bytes in [of(7, 1, 0, &[]), of(0, 1, 1, &[]), of(0, 1, 1, &[5]), of(0, 1, 0, &[0])] {
            assert!(HybridChoices::from_bytes(&bytes).is_err(), "{bytes:?}");
        }
        for images in [0, MAX_IMAGES + 1] {
            assert!(HybridChoices::from_bytes(&of(0, images, 0, &[])).is_err());
        }
        let endless = of(0, 1, u32::MAX, &[]);
        assert!(HybridChoices::from_bytes(&endless).is_err());
        for set in LpnSet::ALL {
            let sets = Supply::Silent(set).sets();
            assert_eq!(sets.last(), Some(&set));
            assert!(sets.is_sorted_by(|first, next| next.base_cots() < first.outputs()));
        }
        assert!(Supply::Extension(FieldBits::Four).sets().is_empty());
    }
}
