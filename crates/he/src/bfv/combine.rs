use super::context::Context;
use crate::HeError;
use oblivia_ring::{Modulus, Shoup};

/// Joins results modulo several plaintext primes to integers modulo their product T.
#[derive(Clone, Debug)]
pub struct Combiner {
    moduli: Vec<Modulus>,
    /// t_0 … t_{i−1}.
    products: Vec<u128>,
    /// (t_0 … t_{i−1})⁻¹ modulo t_i.
    inverses: Vec<Shoup>,
    product: u128,
}

impl Combiner {
    /// For contexts with different t, in this order.
    ///
    /// # Errors
    /// [`HeError::Shape`] for no context or a repeated t, [`HeError::Overflow`] unless T < 2^126.
    pub fn new(contexts: &[Context]) -> Result<Self, HeError> {
        let shape = HeError::Shape { what: "a combiner needs different plaintext primes, one at least" };
        let mut combiner =
            Self { moduli: Vec::new(), products: Vec::new(), inverses: Vec::new(), product: 1 };
        for context in contexts {
            let m = *context.modulus();
            let inverse = m.inv(m.reduce_u128(combiner.product)).ok_or(shape.clone())?;
            combiner.moduli.push(m);
            combiner.inverses.push(m.shoup(inverse));
            combiner.products.push(combiner.product);
            let next = combiner.product.checked_mul(u128::from(m.value())).filter(|p| p >> 126 == 0);
            combiner.product = next.ok_or(HeError::Overflow { bits: 127, max: 126 })?;
        }
        if contexts.is_empty() { Err(shape) } else { Ok(combiner) }
    }

    /// T.
    pub fn modulus(&self) -> u128 {
        self.product
    }

    /// The integers in (−T/2, T/2) with these residues: one vector per context, all of the same length.
    ///
    /// # Errors
    /// [`HeError::OperandCount`] for another number of vectors or different lengths.
    pub fn combine(&self, residues: &[&[i64]]) -> Result<Vec<i128>, HeError> {
        const OP: &str = "combine residues";
        let count = |left, right| HeError::OperandCount { op: OP, left, right };
        let [first, rest @ ..] = residues else { return Err(count(0, self.moduli.len())) };
        if residues.len() != self.moduli.len() {
            return Err(count(residues.len(), self.moduli.len()));
        }
        if let Some(other) = rest.iter().find(|r| r.len() != first.len()) {
            return Err(count(first.len(), other.len()));
        }
        let one = |k: usize| {
            let mut v = 0u128;
            for (i, m) in self.moduli.iter().enumerate() {
                let x = m.sub(m.reduce_i64(residues[i][k]), m.reduce_u128(v));
                v += self.products[i] * u128::from(m.mul_shoup(x, self.inverses[i]));
            }
            v as i128 - if v > self.product >> 1 { self.product as i128 } else { 0 }
        };
        Ok((0..first.len()).map(one).collect())
    }
}
