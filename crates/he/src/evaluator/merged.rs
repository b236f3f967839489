//! Operations that stay modulo QP longer, so that one division serves several steps.

use super::{Evaluator, Tensor};
use crate::HeError;
use crate::ciphertext::Ciphertext;
use crate::counts::count;
use crate::plaintext::check_id;
use crate::scheme::Scheme;
use crate::switch::By;
use oblivia_ring::kernel;

impl<S: Scheme> Evaluator<S> {
    /// [`Evaluator::relinearise`], then [`Evaluator::rescale_assign`], with one division: in a plain chain the
    /// rescale costs no transform, (d+2)(ℓ+k) in all. Counts one relinearisation and one rescale.
    ///
    /// # Errors
    /// As those two.
    pub fn relinearise_rescale(&self, x: &Tensor<S>) -> Result<Ciphertext<S>, HeError> {
        let l = x.level();
        let division = self.division("rescale", l, |level| &level.by_p_and_last)?;
        let level = self.params().level_data(l);
        let key = self.keys.relin(l)?;
        check_id(&self.id, &x.id, "product")?;
        let mut out = [self.blank(l - 1), self.blank(l - 1)];
        self.with_scratch(|s| {
            s.inner_product(level, &x.d[2], key, &self.counters.ntt);
            for (acc, d) in s.acc.iter_mut().zip(&x.d) {
                for (i, m) in level.q.moduli().enumerate() {
                    kernel::scale_add_assign(m, acc.row_mut(i), d.row(i), level.p_mod[i]);
                }
            }
            let by = By::PAndLast(l, division);
            s.divide(&self.scheme, by, &self.counters.ntt, |half, i, quotient| {
                quotient.write(None, out[half].row_mut(i));
            });
        });
        count(&self.counters.relin, 1);
        count(&self.counters.rescale, 1);
        Ok(self.ciphertext(out, l - 1, self.scheme.dropped(x.scale, l)?))
    }
}
