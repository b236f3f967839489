use crate::HeError;
use crate::params::Params;
use oblivia_base::codec::{Decode, DecodeError, Encode, Reader, Writer};
use oblivia_base::{Digest, Transcript};
use oblivia_ring::packing;
use std::collections::{BTreeMap, BTreeSet};

/// Most rotations of a request: one per automorphism of the largest ring.
const MAX_ROTATIONS: usize = 1 << 17;

/// Which evaluation keys a circuit needs, each with its levels of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRequest {
    /// Levels at which a product is relinearised.
    pub relin: BTreeSet<usize>,
    /// Rotation left by that many slots → levels at which it is used. In the standard ring, steps from
    /// [`Params::slots`] on swap the two rows (CKKS: conjugate) and then rotate by the rest.
    pub rotations: BTreeMap<usize, BTreeSet<usize>>,
}

impl KeyRequest {
    /// Asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for relinearisation at `level`.
    pub fn need_relin(&mut self, level: usize) {
        self.relin.insert(level);
    }

    /// Asks for a rotation left by `step` slots at `level`. Rotation by 0 needs no key.
    pub fn need_rotation(&mut self, step: usize, level: usize) {
        if step != 0 {
            self.rotations.entry(step).or_default().insert(level);
        }
    }

    /// Asks for swapping the rows (CKKS: conjugating), then rotating left by `step` slots, at `level`.
    pub fn need_row_swap(&mut self, params: &Params, step: usize, level: usize) {
        self.need_rotation(params.slots() + step, level);
    }

    /// Asks for everything `other` asks for.
    pub fn merge(&mut self, other: &Self) {
        self.relin.extend(&other.relin);
        for (&step, levels) in &other.rotations {
            self.rotations.entry(step).or_default().extend(levels);
        }
    }

    /// The same keys without those that another one, of a higher level, serves for: in a plain chain one is left of each
    /// rotation. Levels that do not exist stay.
    #[must_use]
    pub fn reduced(&self, params: &Params) -> Self {
        let reduce = |levels: &BTreeSet<usize>| -> BTreeSet<usize> {
            let served = |low: &usize| levels.range(low + 1..).any(|&high| params.key_serves(high, *low));
            levels.iter().copied().filter(|level| !served(level)).collect()
        };
        let rotations = self.rotations.iter().map(|(&step, levels)| (step, reduce(levels))).collect();
        Self { relin: reduce(&self.relin), rotations }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.levels().count()
    }

    /// The level of every key.
    fn levels(&self) -> impl Iterator<Item = &usize> {
        self.relin.iter().chain(self.rotations.values().flatten())
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
        for level in self.levels() {
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
    /// packed elements over Q_ℓ·P per key of [`KeyRequest::reduced`]. Levels above the highest count as the highest.
    pub fn encoded_bytes(&self, params: &Params) -> usize {
        let key = |level: &usize| {
            let level = (*level).clamp(1, params.max_level());
            let data = params.level_data(level);
            data.digits.len() * packing::poly_bytes(&data.qp)
        };
        3 * 32 + self.reduced(params).levels().map(key).sum::<usize>()
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

/// Levels, ascending.
fn write_levels(levels: &BTreeSet<usize>, w: &mut Writer) {
    w.u8(levels.len().min(255) as u8);
    levels.iter().for_each(|&level| w.u8(level.min(255) as u8));
}

fn read_levels(r: &mut Reader<'_>) -> Result<BTreeSet<usize>, DecodeError> {
    let mut levels = BTreeSet::new();
    for _ in 0..r.u8("levels of a key")? {
        let level = usize::from(r.u8("level of a key")?);
        r.require(level > levels.last().copied().unwrap_or(0), "level of a key")?;
        levels.insert(level);
    }
    Ok(levels)
}

impl Encode for KeyRequest {
    /// Levels of relinearisation, then step and levels of each rotation; all ascending.
    fn encode(&self, w: &mut Writer) {
        write_levels(&self.relin, w);
        w.count(self.rotations.len());
        for (&step, levels) in &self.rotations {
            w.count(step);
            write_levels(levels, w);
        }
    }
}

impl Decode for KeyRequest {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut request = Self { relin: read_levels(r)?, rotations: BTreeMap::new() };
        let mut previous = 0;
        for _ in 0..r.count(MAX_ROTATIONS, 6, "rotations")? {
            let step = r.u32("rotation step")? as usize;
            r.require(step > previous, "rotation step")?;
            previous = step;
            let levels = read_levels(r)?;
            r.require(!levels.is_empty(), "levels of a key")?;
            request.rotations.insert(step, levels);
        }
        Ok(request)
    }
}
