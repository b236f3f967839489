//! What a machine offers to circuits whose slots are independent samples: work on many vectors at once.

use crate::slots::{CircuitError, Scale, Slots};
pub use oblivia_he::ckks::Place;

/// Many vectors at once, in which no slot meets another: no rotation, weights are scalars.
///
/// Machines with threads use the ones they run on (for encrypted slots the current rayon pool). Results do not
/// depend on their number.
pub trait BatchSlots: Slots {
    /// A prepared matrix of scalars and a scalar per row to be added.
    type Map;

    /// Prepares `x ↦ W·x + b` for vectors of the level and scale of `like`; `rows[r]` is row r of W, `bias[r]` is b_r,
    /// prepared at the level of `like` and the scale of a product. A counter takes note of the plaintexts here and
    /// not where the map is used.
    fn map(
        &mut self,
        rows: &[Vec<&Self::Pt>],
        bias: &[&Self::Pt],
        like: &Self::Ct,
        target: Scale,
    ) -> Result<Self::Map, Self::Error>;

    /// The map at every place, rescaled to the target: entry `p·rows + r` of the result is
    /// `Σ_k W[r, columns[k]]·xs[inputs[k]] + b_r` with the lists of place p. With [`Then::Square`] the results are
    /// squared, relinearised and rescaled too.
    fn apply(
        &mut self,
        xs: &[&Self::Ct],
        map: &Self::Map,
        places: &[Place],
        then: Then,
    ) -> Result<Vec<Self::Ct>, Self::Error>;

    /// `x ⊙ x` of every vector, relinearised and rescaled.
    fn square_rescale_all(&mut self, xs: Vec<Self::Ct>) -> Result<Vec<Self::Ct>, Self::Error>;

    /// The sum of the vectors of every group of indices; no group may be empty.
    fn sum_at(&mut self, xs: &[Self::Ct], groups: &[Vec<usize>]) -> Result<Vec<Self::Ct>, Self::Error>;

    /// `xs[i] += ys[i]`; levels and scales must be equal.
    fn add_assign_all(&mut self, xs: &mut [Self::Ct], ys: &[Self::Ct]) -> Result<(), Self::Error>;
}

/// What follows an affine map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing.
    Keep,
    /// The activation x².
    Square,
}

/// Refuses a place outside a map with `columns` columns or outside `inputs` vectors.
pub(crate) fn place_fits(place: &Place, columns: usize, inputs: usize) -> Result<(), CircuitError> {
    let inside = |list: &[usize], limit: usize, what: &'static str| match list.iter().find(|&&i| i >= limit) {
        Some(&i) => Err(CircuitError::Count { what, expected: i + 1, found: limit }),
        None => Ok(()),
    };
    inside(&place.columns, columns, "columns")?;
    inside(&place.inputs, inputs, "vectors")?;
    if place.columns.len() == place.inputs.len() {
        return Ok(());
    }
    let (expected, found) = (place.columns.len(), place.inputs.len());
    Err(CircuitError::Count { what: "vectors of a place", expected, found })
}

/// The vectors of a group of indices: the first and the others. Refuses an empty group.
pub(crate) fn members<'a, T>(xs: &'a [T], group: &[usize]) -> Result<(&'a T, Vec<&'a T>), CircuitError> {
    let at = |&i: &usize| {
        let (expected, found) = (i.saturating_add(1), xs.len());
        xs.get(i).ok_or(CircuitError::Count { what: "vectors to sum", expected, found })
    };
    let (first, others) =
        group.split_first().ok_or(CircuitError::Count { what: "vectors of a sum", expected: 1, found: 0 })?;
    Ok((at(first)?, others.iter().map(at).collect::<Result<_, _>>()?))
}

/// Refuses lists of different length.
pub(crate) fn equally_many(expected: usize, found: usize) -> Result<(), CircuitError> {
    if expected == found {
        Ok(())
    } else {
        Err(CircuitError::Count { what: "vectors to add", expected, found })
    }
}
