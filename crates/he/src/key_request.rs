use crate::HeError;
use crate::params::Params;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Transcript};
use oblivia_ring::packing;
use std::collections::BTreeMap;

/// Most rotations of a request: one per automorphism of the largest ring.
const MAX_ROTATIONS: usize = 1 << 17;

/// Which evaluation keys a circuit needs, each with its highest level of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRequest {
    /// Highest level at which a product is relinearised.
    pub relin: Option<usize>,
    /// Rotation left by that many slots → highest level at which it is used. In the standard ring, steps from
    /// [`Params::slots`] on swap the two rows (CKKS: conjugate) and then rotate by the rest.
    pub rotations: BTreeMap<usize, usize>,
}

impl KeyRequest {
    /// Asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for relinearisation at `level` and below.
    pub fn need_relin(&mut self, level: usize) {
        self.relin = self.relin.max(Some(level));
    }

    /// Asks for a rotation left by `step` slots at `level` and below. Rotation by 0 needs no key.
    pub fn need_rotation(&mut self, step: usize, level: usize) {
        if step != 0 {
            let highest = self.rotations.entry(step).or_insert(level);
            *highest = level.max(*highest);
        }
    }

    /// Asks for swapping the rows (CKKS: conjugating), then rotating left by `step` slots, at `level` and below.
    pub fn need_row_swap(&mut self, params: &Params, step: usize, level: usize) {
        self.need_rotation(params.slots() + step, level);
    }

    /// Asks for everything `other` asks for.
    pub fn merge(&mut self, other: &Self) {
        if let Some(level) = other.relin {
            self.need_relin(level);
        }
        for (&step, &level) in &other.rotations {
            self.need_rotation(step, level);
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        usize::from(self.relin.is_some()) + self.rotations.len()
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that every step and level exists.
    ///
    /// # Errors
    /// [`HeError::RotationStep`] or [`HeError::Level`].
    pub fn check(&self, params: &Params) -> Result<(), HeError> {
        for level in self.relin.iter().chain(self.rotations.values()) {
            params.level("key request", *level)?;
        }
        let rows = if params.shape().conjugation().is_some() { 2 } else { 1 };
        let max = rows * params.slots() - 1;
        match self.rotations.keys().find(|s| !(1..=max).contains(*s)) {
            Some(&step) => Err(HeError::RotationStep { step, max }),
            None => Ok(()),
        }
    }

    /// Bytes of the encoding of exactly these keys, before any exists: parameter id, request id, seed, then d(ℓ)
    /// packed elements over Q_ℓ·P per key. Levels above the highest count as the highest.
    pub fn encoded_bytes(&self, params: &Params) -> usize {
        let key = |level: &usize| {
            let level = (*level).clamp(1, params.max_level());
            params.digits(level) * packing::poly_bytes(&params.level_data(level).qp)
        };
        3 * 32 + self.relin.iter().chain(self.rotations.values()).map(key).sum::<usize>()
    }

    /// Bytes that these keys take in memory once decoded: both halves, packed. Levels as in
    /// [`KeyRequest::encoded_bytes`].
    pub fn memory_bytes(&self, params: &Params) -> usize {
        2 * (self.encoded_bytes(params) - 3 * 32)
    }

    /// A hash of the request.
    pub fn id(&self) -> Digest {
        let mut t = Transcript::new("he key request v1");
        t.absorb("request", &self.to_bytes());
        t.digest()
    }
}

impl Encode for KeyRequest {
    /// Level of relinearisation (0: none), then step and level of each rotation, steps ascending.
    fn encode(&self, w: &mut Writer) {
        w.u8(self.relin.unwrap_or(0).min(255) as u8);
        w.count(self.rotations.len());
        for (&step, &level) in &self.rotations {
            w.count(step);
            w.u8(level.min(255) as u8);
        }
    }
}

impl Decode for KeyRequest {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let relin = usize::from(r.u8("relinearisation level")?);
        let mut request = Self { relin: (relin > 0).then_some(relin), rotations: BTreeMap::new() };
        let mut previous = 0;
        for _ in 0..r.count(MAX_ROTATIONS, 5, "rotations")? {
            let step = r.u32("rotation step")? as usize;
            r.require(step > previous, "rotation step")?;
            previous = step;
            let level = usize::from(r.u8("rotation level")?);
            r.require(level > 0, "rotation level")?;
            request.rotations.insert(step, level);
        }
        Ok(request)
    }
}
