use crate::HeError;
use oblivia_ring::kernel::{self, Ahead, CentredTerm};
use oblivia_ring::{Basis, Modulus, NttTable, Shoup};

/// Fast base conversion from primes with product D to other primes, centred:
/// Σ y_i·(D/q_i) with y_i = \[x·(D/q_i)⁻¹\]_{q_i} centred, which is x + u·D with |u| ≤ (number of primes)/2.
///
/// With one prime it is exact: the centred representative. Factors may come before and after: of x modulo the sources, of
/// the result modulo each target.
pub(crate) struct Conversion {
    from: Vec<Modulus>,
    /// (D/q_i)⁻¹ modulo q_i, times the factor before.
    inverse: Vec<Shoup>,
    /// \[target\]\[i\]: D/q_i modulo the target, times the factor after.
    factors: Vec<Vec<Shoup>>,
    /// Whether there is one source prime and no factor: residues are taken over as they are.
    direct: bool,
}

impl Conversion {
    pub(crate) fn new(from: &Basis, to: &Basis) -> Result<Self, HeError> {
        let direct = from.limbs() == 1;
        Ok(Self { direct, ..Self::scaled(from, to, &vec![1; from.limbs()], &vec![1; to.limbs()])? })
    }

    /// With the factors `before` modulo each source and `after` modulo each target.
    pub(crate) fn scaled(from: &Basis, to: &Basis, before: &[u64], after: &[u64]) -> Result<Self, HeError> {
        let cofactor = |i: usize, m: &Modulus| {
            let others = from.moduli().enumerate().filter(|(j, _)| *j != i);
            others.fold(1, |acc, (_, q)| m.mul(acc, m.reduce_u64(q.value())))
        };
        let inverse = from
            .moduli()
            .zip(before)
            .enumerate()
            .map(|(i, (m, &factor))| Some(m.shoup(m.mul(m.inv(cofactor(i, m))?, factor))))
            .collect::<Option<_>>()
            .ok_or(HeError::Shape { what: "two primes are equal" })?;
        let row = |(m, &factor): (&Modulus, &u64)| -> Vec<Shoup> {
            (0..from.limbs()).map(|i| m.shoup(m.mul(cofactor(i, m), factor))).collect()
        };
        let factors = to.moduli().zip(after).map(row).collect();
        Ok(Self { from: from.moduli().copied().collect(), inverse, factors, direct: false })
    }

    /// x_i → y_i for source prime `i`.
    pub(crate) fn prepare(&self, i: usize, row: &mut [u64]) {
        if !self.direct {
            kernel::scale_assign(&self.from[i], row, self.inverse[i]);
        }
    }

    /// out ← the transform of what [`Conversion::apply`] gives, for the target with this table. What is `ahead` is
    /// fetched meanwhile.
    pub(crate) fn apply_forward<'a>(
        &self,
        target: usize,
        table: &NttTable,
        rows: impl ExactSizeIterator<Item = &'a [u64]>,
        out: &mut [u64],
        ahead: &[Ahead<'_>],
    ) {
        if let ([from], true) = (self.from.as_slice(), self.direct) {
            rows.for_each(|row| kernel::forward_centred_into(from, table, row, out, ahead));
        } else {
            self.apply(target, table.modulus(), rows, out);
            kernel::forward_fetching(table, out, ahead);
        }
    }

    /// As [`Conversion::apply`], plus one more term.
    pub(crate) fn apply_with<'a>(
        &'a self,
        target: usize,
        to: &Modulus,
        rows: impl ExactSizeIterator<Item = &'a [u64]>,
        more: CentredTerm<'a>,
        out: &mut [u64],
    ) {
        debug_assert_eq!(rows.len(), self.from.len());
        let terms = self.from.iter().zip(rows).zip(&self.factors[target]);
        let terms: Vec<_> = terms
            .map(|((modulus, row), &factor)| CentredTerm { row, modulus, factor })
            .chain([more])
            .collect();
        kernel::convert_centred_into(to, &terms, out);
    }

    /// out ← the converted value modulo target number `target`, whose modulus is `to`, from prepared rows.
    pub(crate) fn apply<'a>(
        &self,
        target: usize,
        to: &Modulus,
        rows: impl ExactSizeIterator<Item = &'a [u64]>,
        out: &mut [u64],
    ) {
        debug_assert_eq!(rows.len(), self.from.len());
        if let ([from], true) = (self.from.as_slice(), self.direct) {
            for row in rows {
                kernel::reduce_centred_into(from, to, row, out);
            }
        } else {
            let terms: Vec<_> = self
                .from
                .iter()
                .zip(rows)
                .zip(&self.factors[target])
                .map(|((modulus, row), &factor)| CentredTerm { row, modulus, factor })
                .collect();
            kernel::convert_centred_into(to, &terms, out);
        }
    }
}
