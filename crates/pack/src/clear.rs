//! Slots in the clear: what a circuit computes, without encryption and without rounding.

use crate::batch::{BatchSlots, Place, Then, equally_many, members, place_fits};
use crate::schedule::Schedule;
use crate::slots::{CircuitError, MulSlots, Plain, Scale, Slots};

/// Runs circuits on plain vectors of doubles.
#[derive(Clone, Debug)]
pub struct ClearSlots {
    slots: usize,
}

impl ClearSlots {
    /// Vectors of `slots` slots.
    pub fn new(slots: usize) -> Self {
        Self { slots }
    }
}

impl ClearSlots {
    fn dot(&self, xs: &[&Vec<f64>], ps: &[&Plain]) -> Result<Vec<f64>, CircuitError> {
        if xs.len() != ps.len() {
            let (expected, found) = (xs.len(), ps.len());
            return Err(CircuitError::Count { what: "plaintexts of a sum of products", expected, found });
        }
        let mut acc = vec![0.0; self.slots];
        for (x, p) in xs.iter().zip(ps) {
            match p {
                Plain::Scalar(s) => acc.iter_mut().zip(*x).for_each(|(a, v)| *a += s * v),
                Plain::Slots(w) => acc.iter_mut().zip(x.iter().zip(w)).for_each(|(a, (v, w))| *a += v * w),
                Plain::Weights { values, factor } => {
                    let products = x.iter().zip(values).map(|(v, w)| v * f64::from(*w) * factor);
                    acc.iter_mut().zip(products).for_each(|(a, p)| *a += p);
                }
            }
        }
        Ok(acc)
    }
}

impl Slots for ClearSlots {
    type Ct = Vec<f64>;
    type Pt = Plain;
    type Error = CircuitError;

    fn slots(&self) -> usize {
        self.slots
    }

    fn scale_of(&self, _: &Vec<f64>) -> Option<Scale> {
        None
    }

    fn rotate(&mut self, x: &Vec<f64>, left: usize) -> Result<Vec<f64>, CircuitError> {
        let mut y = x.clone();
        y.rotate_left(left % self.slots);
        Ok(y)
    }

    fn rotate_hoisted(&mut self, x: &Vec<f64>, lefts: &[usize]) -> Result<Vec<Vec<f64>>, CircuitError> {
        lefts.iter().map(|&l| self.rotate(x, l)).collect()
    }

    fn add_assign(&mut self, x: &mut Vec<f64>, y: &Vec<f64>) -> Result<(), CircuitError> {
        x.iter_mut().zip(y).for_each(|(a, b)| *a += b);
        Ok(())
    }

    fn add_lowered(&mut self, x: &Vec<f64>, y: &Vec<f64>) -> Result<Vec<f64>, CircuitError> {
        let mut x = x.clone();
        self.add_assign(&mut x, y)?;
        Ok(x)
    }

    fn add_plain_assign(&mut self, x: &mut Vec<f64>, p: &Plain) -> Result<(), CircuitError> {
        match p {
            Plain::Scalar(s) => x.iter_mut().for_each(|a| *a += s),
            Plain::Slots(w) => x.iter_mut().zip(w).for_each(|(a, b)| *a += b),
            Plain::Weights { values, factor } => {
                x.iter_mut().zip(values).for_each(|(a, b)| *a += f64::from(*b) * factor);
            }
        }
        Ok(())
    }

    fn dot_plain(&mut self, xs: &[&Vec<f64>], ps: &[&Plain], _: Scale) -> Result<Vec<f64>, CircuitError> {
        self.dot(xs, ps)
    }

    fn dot_scalars(
        &mut self,
        xs: &[&Vec<f64>],
        rows: &[Vec<&Plain>],
        _: Scale,
    ) -> Result<Vec<Vec<f64>>, CircuitError> {
        rows.iter().map(|ps| self.dot(xs, ps)).collect()
    }

    fn linear(
        &mut self,
        xs: &[&Vec<f64>],
        schedule: &Schedule,
        plains: &[&Plain],
        _: Scale,
    ) -> Result<Vec<Vec<f64>>, CircuitError> {
        schedule.check(xs.len(), plains.len())?;
        let babies: Vec<Vec<Vec<f64>>> = xs
            .iter()
            .zip(&schedule.babies)
            .map(|(x, steps)| self.rotate_hoisted(x, steps))
            .collect::<Result<_, _>>()?;
        let mut plains = plains.iter();
        let mut sum_of = |groups: &Vec<crate::Group>| {
            let mut sum = vec![0.0; self.slots];
            for g in groups {
                let xs: Vec<&Vec<f64>> =
                    g.terms.iter().filter_map(|&(u, i)| babies.get(u).and_then(|b| b.get(i))).collect();
                let ps: Vec<&Plain> = plains.by_ref().take(g.terms.len()).copied().collect();
                let mut inner = self.dot(&xs, &ps)?;
                inner.rotate_left(g.giant % self.slots);
                sum.iter_mut().zip(inner).for_each(|(a, b)| *a += b);
            }
            for stage in &schedule.folds {
                let before = sum.clone();
                for &step in stage {
                    let moved = before.iter().cycle().skip(step % self.slots);
                    sum.iter_mut().zip(moved).for_each(|(a, b)| *a += b);
                }
            }
            Ok(sum)
        };
        schedule.outputs.iter().map(&mut sum_of).collect()
    }

    fn square_rescale(&mut self, x: &Vec<f64>) -> Result<Vec<f64>, CircuitError> {
        self.square(x)
    }

    fn square(&mut self, x: &Vec<f64>) -> Result<Vec<f64>, CircuitError> {
        Ok(x.iter().map(|v| v * v).collect())
    }

    fn rescale(&mut self, x: &Vec<f64>) -> Result<Vec<f64>, CircuitError> {
        Ok(x.clone())
    }
}

impl MulSlots for ClearSlots {
    fn inner_product(&mut self, xs: &[&Vec<f64>], ys: &[&Vec<f64>]) -> Result<Vec<f64>, CircuitError> {
        equally_many(xs.len(), ys.len())?;
        let mut sum = vec![0.0; self.slots];
        for (x, y) in xs.iter().zip(ys) {
            sum.iter_mut().zip(x.iter().zip(*y)).for_each(|(s, (x, y))| *s += x * y);
        }
        Ok(sum)
    }
}

impl BatchSlots for ClearSlots {
    /// Rows and biases.
    type Map = (Vec<Vec<f64>>, Vec<f64>);

    fn map(
        &mut self,
        rows: &[Vec<&Plain>],
        bias: &[&Plain],
        _: &Vec<f64>,
        _: Scale,
    ) -> Result<Self::Map, CircuitError> {
        equally_many(rows.len(), bias.len())?;
        let scalar = |p: &&Plain| match p {
            Plain::Scalar(v) => Ok(*v),
            _ => Err(CircuitError::Count { what: "scalar plaintexts", expected: 1, found: 0 }),
        };
        let rows = rows.iter().map(|row| row.iter().map(scalar).collect()).collect::<Result<_, _>>()?;
        Ok((rows, bias.iter().map(scalar).collect::<Result<_, _>>()?))
    }

    fn apply(
        &mut self,
        xs: &[&Vec<f64>],
        (rows, bias): &Self::Map,
        places: &[Place],
        then: Then,
    ) -> Result<Vec<Vec<f64>>, CircuitError> {
        let mut out = Vec::with_capacity(places.len() * rows.len());
        for place in places {
            place_fits(place, rows.first().map_or(0, Vec::len), xs.len())?;
            for (row, b) in rows.iter().zip(bias) {
                let mut y = vec![*b; self.slots];
                for (&c, &i) in place.columns.iter().zip(&place.inputs) {
                    y.iter_mut().zip(xs[i]).for_each(|(y, x)| *y += row[c] * x);
                }
                out.push(y);
            }
        }
        match then {
            Then::Keep => Ok(out),
            Then::Square => self.square_rescale_all(out),
        }
    }

    fn square_rescale_all(&mut self, xs: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>, CircuitError> {
        xs.iter().map(|x| self.square(x)).collect()
    }

    fn sum_at(&mut self, xs: &[Vec<f64>], groups: &[Vec<usize>]) -> Result<Vec<Vec<f64>>, CircuitError> {
        groups
            .iter()
            .map(|group| {
                let (first, others) = members(xs, group)?;
                let mut sum = first.clone();
                others.into_iter().try_for_each(|x| self.add_assign(&mut sum, x))?;
                Ok(sum)
            })
            .collect()
    }

    fn add_assign_all(&mut self, xs: &mut [Vec<f64>], ys: &[Vec<f64>]) -> Result<(), CircuitError> {
        equally_many(xs.len(), ys.len())?;
        xs.iter_mut().zip(ys).try_for_each(|(x, y)| self.add_assign(x, y))
    }
}
