//! A secret key at rest: its coefficients, two bits each.
#![deny(clippy::indexing_slicing)]

use super::SecretKey;
use crate::HeError;
use crate::params::Params;
use crate::public_key::read_id;
use oblivia_base::Secret;
use oblivia_base::codec::{Encode, Fault, Reader, Writer};
use oblivia_ring::kernel;

/// Coefficients per byte.
const PER_BYTE: usize = 4;

impl SecretKey {
    /// Bytes of [`SecretKey::to_secret_bytes`].
    pub fn secret_bytes(params: &Params) -> usize {
        32 + params.n() / PER_BYTE
    }

    /// Parameter id, then the n coefficients from the constant one on, four to a byte from the low bits on: 0, 1,
    /// and 2 for −1. For the owner's disk; neither branches nor indexes by a coefficient.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        // Room for everything: a vector that grows leaves a copy behind.
        let mut w = Writer::with_capacity(Self::secret_bytes(&self.params));
        self.params.id().encode(&mut w);
        let s = self.s.expose();
        let mut row = Secret::new(s.row(0).to_vec());
        if let Some(table) = s.basis().tables().next() {
            kernel::inverse(table, row.expose_mut());
        }
        let minus_one = s.basis().modulus(0).value() - 1;
        for four in row.expose().chunks(PER_BYTE) {
            let digit = |x: &u64| u8::from(*x == 1) | u8::from(*x == minus_one) << 1;
            w.u8(four.iter().rev().fold(0, |byte, x| byte << 2 | digit(x)));
        }
        Secret::new(w.into_bytes())
    }

    /// Reads what [`SecretKey::to_secret_bytes`] wrote; it must take up all of `bytes`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], or [`HeError::Decode`] for bytes that are no key.
    pub fn from_secret_bytes(params: &Params, bytes: &[u8]) -> Result<Self, HeError> {
        let mut r = Reader::new(bytes);
        read_id(&params.id(), "secret key", &mut r)?;
        let packed = r.raw(params.n() / PER_BYTE, "coefficients")?;
        let mut s = Secret::new(Vec::with_capacity(params.n()));
        let mut sound = true;
        for byte in packed {
            for at in (0..2 * PER_BYTE).step_by(2) {
                let digit = i64::from(byte >> at & 3);
                sound &= digit != 3;
                // 0, 1, 2 → 0, 1, −1.
                s.expose_mut().push(digit - 3 * (digit >> 1));
            }
        }
        if !sound {
            return Err(r.error("coefficients", Fault::Invalid).into());
        }
        r.finish()?;
        Ok(Self::of_coefficients(params, &s))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;
    use crate::{Moduli, ParamsLiteral};
    use oblivia_base::Prg;
    use oblivia_ring::RingKind;

    fn params(kind: RingKind, log_n: u32) -> Params {
        let q = Moduli::Bits(vec![30, 28]);
        let literal =
            ParamsLiteral { kind, log_n, q, p: Moduli::Bits(vec![31]), alpha: 1, levels: Vec::new() };
        Params::insecure_unchecked(&literal).unwrap()
    }

    #[test]
    fn a_key_comes_back_from_its_bytes_and_they_are_its_coefficients() {
        for kind in [RingKind::Standard, RingKind::ConjugateInvariant] {
            let params = params(kind, 6);
            let coefficients: Vec<i64> = (0..64).map(|i| [0, 1, -1, -1, 1, 0, 0][i * i % 7]).collect();
            let key = SecretKey::of_coefficients(&params, &Secret::new(coefficients.clone()));
            let bytes = key.to_secret_bytes();
            assert_eq!(bytes.expose().len(), SecretKey::secret_bytes(&params));
            let code = |c: i64| c.rem_euclid(3) as u8;
            for (i, c) in coefficients.iter().enumerate() {
                assert_eq!(bytes.expose()[32 + i / 4] >> (2 * (i % 4)) & 3, code(*c), "{i}");
            }
            let back = SecretKey::from_secret_bytes(&params, bytes.expose()).unwrap();
            for i in 0..3 {
                assert_eq!(back.expose().row(i), key.expose().row(i), "limb {i}");
            }
            let drawn = SecretKey::generate(&params, &mut Prg::new(&[8; 32], "he tests", &[]));
            let back = SecretKey::from_secret_bytes(&params, drawn.to_secret_bytes().expose()).unwrap();
            assert_eq!(back.expose().row(2), drawn.expose().row(2));
        }
    }

    #[test]
    fn bytes_that_are_no_key_of_these_parameters_are_refused() {
        let params = params(RingKind::ConjugateInvariant, 6);
        let key = SecretKey::generate(&params, &mut Prg::new(&[8; 32], "he tests", &[]));
        let good = key.to_secret_bytes();
        let good = good.expose();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let longer = [&good[..], &[0]].concat();
        let cases = [good[..good.len() - 1].to_vec(), longer, with(40, 3), with(41, 0xc0), with(0, !good[0])];
        for bytes in cases {
            assert!(SecretKey::from_secret_bytes(&params, &bytes).is_err(), "{bytes:?}");
        }
        let other = self::params(RingKind::Standard, 6);
        assert!(SecretKey::from_secret_bytes(&other, good).is_err());
    }
}
