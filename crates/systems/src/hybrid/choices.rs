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
    /// Whole silent rounds of this set per image; the sets below it are played once.
    Silent(LpnSet),
}

impl Supply {
    /// All that can be chosen.
    pub(super) const ALL: [Self; 6] = [
        Self::Extension(FieldBits::Four),
        Self::Extension(FieldBits::Eight),
        Self::Silent(LpnSet::B10),
        Self::Silent(LpnSet::B11),
        Self::Silent(LpnSet::B12),
        Self::Silent(LpnSet::B13),
    ];

    /// The sets of a silent supply, in the order they are played.
    pub(super) fn sets(self) -> &'static [LpnSet] {
        const ALL: [LpnSet; 4] = [LpnSet::B10, LpnSet::B11, LpnSet::B12, LpnSet::B13];
        match self {
            Self::Extension(_) => &[],
            Self::Silent(last) => {
                let end = ALL.iter().position(|s| *s == last).map_or(0, |at| at + 1);
                ALL.get(..end).unwrap_or_default()
            }
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

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HybridChoices {
    /// Digits of comparisons.
    pub(super) radix: Radix,
    /// Source of correlated OTs.
    pub(super) supply: Supply,
}

impl Encode for HybridChoices {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.radix.digit_bits() as u8);
        let at = Supply::ALL.iter().position(|s| *s == self.supply).unwrap_or(usize::MAX);
        w.u8(u8::try_from(at).unwrap_or(u8::MAX));
    }
}

impl Decode for HybridChoices {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let digit = u32::from(r.u8("digits of comparisons")?);
        let radix = Radix::ALL.into_iter().find(|radix| radix.digit_bits() == digit);
        let radix = radix.ok_or_else(|| r.error("digits of comparisons", Fault::Invalid))?;
        let supply = Supply::ALL.get(usize::from(r.u8("source of OTs")?)).copied();
        let supply = supply.ok_or_else(|| r.error("source of OTs", Fault::Invalid))?;
        Ok(Self { radix, supply })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_were_written_and_nothing_else_is() {
        for radix in Radix::ALL {
            for supply in Supply::ALL {
                let choices = HybridChoices { radix, supply };
                assert_eq!(HybridChoices::from_bytes(&choices.to_bytes()), Ok(choices));
            }
        }
        for bytes in [&[0, 0][..], &[5, 0], &[2, 6], &[2], &[2, 0, 0]] {
            assert!(HybridChoices::from_bytes(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Supply::Silent(LpnSet::B12).sets(), [LpnSet::B10, LpnSet::B11, LpnSet::B12]);
        assert!(Supply::Extension(FieldBits::Four).sets().is_empty());
    }
}
