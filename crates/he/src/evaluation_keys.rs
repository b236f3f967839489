//! Keys the evaluating side holds: relinearisation and rotations, by hybrid key switching.
//!
//! A switching key from s_from to s_to has, per digit j, b_j = −a_j·s_to + e_j + P·g_j·s_from and a_j modulo QP;
//! P·g_j is P on the digit's limbs and 0 on every other limb (Han and Ki, *Better bootstrapping for approximate
//! homomorphic encryption*, 2020). A key is stored over the limbs of one level only: lower levels that have the same special
//! primes, and the first of its limbs, ignore the others. Both halves are held packed, as many bits a residue as its prime has: a key is read from memory at every
//! use, which takes longer than the arithmetic.
//!
//! Rotation keys go from s to σ_g⁻¹(s), so that the automorphism can come last.

use crate::HeError;
use crate::key_request::KeyRequest;
use crate::params::Params;
use crate::public_key::read_id;
use crate::scheme::Scheme;
use crate::secret_key::{SecretKey, UniformSource, error_ntt, fresh_seed};
use oblivia_base::codec::{Decode, Encode, Reader, Writer};
use oblivia_base::seed::EntropySource;
use oblivia_base::{Digest, PublicSeed, Secret};
use oblivia_ring::{Ntt, PackedPolys, PackedRow, Permutation, Poly, RingShape, kernel, packing};
use std::collections::BTreeMap;
use std::fmt;

const DOMAIN: &str = "he evaluation key a v1";

/// One switching key.
#[derive(Clone)]
pub(crate) struct SwitchingKey {
    level: usize,
    /// Limbs of Q of that level.
    limbs: usize,
    /// b and a of one digit after the other, over Q_level·P.
    halves: PackedPolys<Ntt>,
}

impl SwitchingKey {
    /// A key over given halves.
    #[cfg(test)]
    pub(crate) fn of_digits(level: usize, limbs: usize, digits: &[(Poly<Ntt>, Poly<Ntt>)]) -> Self {
        let halves: Vec<_> = digits.iter().flat_map(|(b, a)| [b, a]).collect();
        Self { level, limbs, halves: PackedPolys::pack(halves[0].basis(), &halves) }
    }

    /// Rows (b, a) of digit `j` for limb `i` of QP of a level that it serves, with `limbs` limbs of Q.
    #[inline]
    pub(crate) fn rows(&self, j: usize, limbs: usize, i: usize) -> (PackedRow<'_>, PackedRow<'_>) {
        let i = if i < limbs { i } else { i + self.limbs - limbs };
        (self.halves.row(2 * j, i), self.halves.row(2 * j + 1, i))
    }

    fn generate(
        from: &Poly<Ntt>,
        to: &Poly<Ntt>,
        level: usize,
        scheme: &impl Scheme,
        source: UniformSource<'_>,
        name: u64,
        rng: &mut dyn EntropySource,
    ) -> Self {
        let params = scheme.params();
        let data = params.level_data(level);
        let mut halves = PackedPolys::zero(&data.qp, 2 * data.digits.len());
        let mut rows = [vec![0; params.n()], vec![0; params.n()]];
        let [b, a] = &mut rows;
        for (j, digit) in data.digits.iter().enumerate() {
            let error = error_ntt(scheme, &data.qp, rng);
            for (i, (m, &place)) in data.qp.moduli().zip(&data.places).enumerate() {
                source.draw_row(m, &index(name, level, j), a);
                kernel::mul_into(m, a, to.row(place), b);
                kernel::neg_assign(m, b);
                kernel::add_assign(m, b, error.expose().row(i));
                if digit.limbs.contains(&i) {
                    kernel::scale_add_assign(m, b, from.row(place), data.p_mod[i]);
                }
                halves.set_row(2 * j, i, b);
                halves.set_row(2 * j + 1, i, a);
            }
        }
        Self { level, limbs: data.limbs(), halves }
    }

    fn encode(&self, w: &mut Writer) {
        for b in (0..self.halves.count()).step_by(2) {
            packing::write_packed(&self.halves, b, w);
        }
    }

    /// The reader holds all that is to be read.
    fn decode(
        level: usize,
        params: &Params,
        source: UniformSource<'_>,
        name: u64,
        r: &mut Reader<'_>,
    ) -> Result<Self, HeError> {
        let data = params.level("evaluation key", level)?;
        let mut halves = PackedPolys::zero(&data.qp, 2 * data.digits.len());
        let mut a = vec![0; params.n()];
        for j in 0..data.digits.len() {
            packing::read_packed(&mut halves, 2 * j, r)?;
            for (i, m) in data.qp.moduli().enumerate() {
                source.draw_row(m, &index(name, level, j), &mut a);
                halves.set_row(2 * j + 1, i, &a);
            }
        }
        Ok(Self { level, limbs: data.limbs(), halves })
    }
}

/// The keys of a rotation, one per level asked for, and its permutation.
struct Rotation {
    keys: Vec<SwitchingKey>,
    permutation: Permutation,
}

/// A rotation key and its permutation.
#[derive(Clone, Copy)]
pub(crate) struct RotationKey<'a> {
    pub(crate) key: &'a SwitchingKey,
    pub(crate) permutation: &'a Permutation,
}

/// Exactly the keys of one [`KeyRequest`].
pub struct EvaluationKeys<S: Scheme> {
    scheme: S,
    request: KeyRequest,
    seed: PublicSeed,
    relin: Vec<SwitchingKey>,
    rotations: BTreeMap<usize, Rotation>,
}

/// The name of a key in its labels: 0 for relinearisation, else the rotation.
fn name(step: usize) -> u64 {
    step as u64
}

/// What tells the uniform half of digit `j` of a key from all others. Two keys with one uniform half would give away the
/// secret they are for: the level is part of it.
fn index(name: u64, level: usize, j: usize) -> [u64; 3] {
    [name, level as u64, j as u64]
}

/// The Galois element of a rotation by `step` slots; from [`Params::slots`] on, rows swapped and then rotated by the
/// rest.
pub(crate) fn galois(shape: RingShape, step: usize) -> u64 {
    let g = shape.rotation(step as i64);
    match shape.conjugation() {
        Some(swap) if step >= shape.slots() => g * swap % shape.order(),
        _ => g,
    }
}

impl EvaluationKeys<Params> {
    /// The keys of `sk` that `request` asks for. `label` is bound into the uniform halves; decoding needs the
    /// same one.
    ///
    /// # Errors
    /// As [`KeyRequest::check`].
    pub fn generate(
        sk: &SecretKey,
        request: &KeyRequest,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<Self, HeError> {
        Self::make(sk.params(), sk, request, label, rng)
    }
}

impl<S: Scheme> EvaluationKeys<S> {
    /// The keys of `sk`, which must be over the primes of `scheme`.
    pub(crate) fn make(
        scheme: &S,
        sk: &SecretKey,
        request: &KeyRequest,
        label: &[u8],
        rng: &mut dyn EntropySource,
    ) -> Result<Self, HeError> {
        let params = scheme.params();
        request.check(params)?;
        let request = request.reduced(params);
        let seed = fresh_seed(rng);
        let source = UniformSource { id: scheme.id(), seed: &seed, domain: DOMAIN, label };
        let s = sk.expose();
        let mut relin = Vec::with_capacity(request.relin.len());
        if !request.relin.is_empty() {
            let mut square = Secret::new(s.clone());
            square.expose_mut().mul_assign(s);
            for &level in &request.relin {
                relin.push(SwitchingKey::generate(square.expose(), s, level, scheme, source, name(0), rng));
            }
        }
        let mut rotations = BTreeMap::new();
        let mut rotated = Secret::new(Poly::zero(s.basis()));
        for (&step, levels) in &request.rotations {
            let shape = params.shape();
            let g = galois(shape, step);
            s.permute_into(&shape.automorphism(shape.galois_inverse(g)?)?, rotated.expose_mut());
            let key =
                |&level| SwitchingKey::generate(s, rotated.expose(), level, scheme, source, name(step), rng);
            let keys = levels.iter().map(key).collect();
            rotations.insert(step, Rotation { keys, permutation: shape.automorphism(g)? });
        }
        Ok(Self { scheme: scheme.clone(), request, seed, relin, rotations })
    }

    /// The parameters they belong to.
    pub fn params(&self) -> &Params {
        self.scheme.params()
    }

    /// The scheme they belong to.
    pub(crate) fn scheme(&self) -> &S {
        &self.scheme
    }

    /// The request they answer, reduced.
    pub fn request(&self) -> &KeyRequest {
        &self.request
    }

    /// The one of `keys` that serves `level`.
    fn serving<'a>(&self, keys: &'a [SwitchingKey], level: usize) -> Option<&'a SwitchingKey> {
        keys.iter().find(|k| k.level == level || self.params().key_serves(k.level, level))
    }

    /// A key for relinearisation at `level`.
    pub(crate) fn relin(&self, level: usize) -> Result<&SwitchingKey, HeError> {
        self.serving(&self.relin, level).ok_or(HeError::MissingRelinKey { level })
    }

    /// A key for rotation left by `step` at `level`.
    pub(crate) fn rotation(&self, step: usize, level: usize) -> Result<RotationKey<'_>, HeError> {
        let missing = HeError::MissingRotationKey { step, level };
        let rotation = self.rotations.get(&step).ok_or(missing.clone())?;
        let key = self.serving(&rotation.keys, level).ok_or(missing)?;
        Ok(RotationKey { key, permutation: &rotation.permutation })
    }

    /// Appends parameter id, request id, seed and the packed b halves: relinearisation first, then rotations by
    /// ascending step, each by ascending level; [`KeyRequest::encoded_bytes`] in all.
    pub fn encode(&self, w: &mut Writer) {
        self.scheme.id().encode(w);
        self.request.id().encode(w);
        self.seed.encode(w);
        for key in self.relin.iter().chain(self.rotations.values().flat_map(|r| &r.keys)) {
            key.encode(w);
        }
    }

    /// The encoding as bytes of its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.request.encoded_bytes(self.params()));
        self.encode(&mut w);
        w.into_bytes()
    }

    /// Reads the keys that answer `request`, made under `label`.
    ///
    /// # Errors
    /// [`HeError::ParamsMismatch`], [`HeError::RequestMismatch`], [`HeError::Decode`] for bytes that are no
    /// canonical encoding, or as [`KeyRequest::check`].
    pub fn decode(
        scheme: &S,
        request: &KeyRequest,
        label: &[u8],
        r: &mut Reader<'_>,
    ) -> Result<Self, HeError> {
        let params = scheme.params();
        request.check(params)?;
        let request = request.reduced(params);
        read_id(&scheme.id(), "evaluation keys", r)?;
        if Digest::decode(r)? != request.id() {
            return Err(HeError::RequestMismatch);
        }
        let seed = PublicSeed::decode(r)?;
        if r.remaining() < request.encoded_bytes(params) - 3 * 32 {
            return Err(r.error("evaluation keys", oblivia_base::codec::Fault::Truncated).into());
        }
        let source = UniformSource { id: scheme.id(), seed: &seed, domain: DOMAIN, label };
        let mut key = |name, &level| SwitchingKey::decode(level, params, source, name, r);
        let relin = request.relin.iter().map(|l| key(name(0), l)).collect::<Result<_, _>>()?;
        let mut rotations = BTreeMap::new();
        for (&step, levels) in &request.rotations {
            let keys = levels.iter().map(|l| key(name(step), l)).collect::<Result<_, _>>()?;
            let shape = params.shape();
            let permutation = shape.automorphism(galois(shape, step))?;
            rotations.insert(step, Rotation { keys, permutation });
        }
        Ok(Self { scheme: scheme.clone(), request, seed, relin, rotations })
    }

    /// Reads keys that must take up all of `bytes`.
    ///
    /// # Errors
    /// As [`EvaluationKeys::decode`].
    pub fn from_bytes(scheme: &S, request: &KeyRequest, label: &[u8], bytes: &[u8]) -> Result<Self, HeError> {
        let mut r = Reader::new(bytes);
        let keys = Self::decode(scheme, request, label, &mut r)?;
        r.finish()?;
        Ok(keys)
    }
}

impl<S: Scheme> fmt::Debug for EvaluationKeys<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvaluationKeys").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LevelLiteral, Moduli, ParamsLiteral};
    use oblivia_base::Prg;
    use oblivia_ring::RingKind;

    #[test]
    fn keys_of_one_rotation_at_two_levels_have_uniform_halves_of_their_own() {
        // The two levels share prime 0. With one uniform half the difference of the b halves would be a small error and a
        // multiple of the secret.
        let level = |q: &[usize], p| LevelLiteral { q: q.to_vec(), p: vec![p], alpha: 1 };
        let literal = ParamsLiteral {
            kind: RingKind::ConjugateInvariant,
            log_n: 8,
            q: Moduli::Bits(vec![30, 30]),
            p: Moduli::Bits(vec![36, 37]),
            alpha: 1,
            levels: vec![level(&[0], 2), level(&[0, 1], 3)],
        };
        let params = Params::insecure_unchecked(&literal).unwrap();
        let mut rng = Prg::new(&[7; 32], "he tests", &[]);
        let sk = SecretKey::generate(&params, &mut rng);
        let mut request = KeyRequest::new();
        [1, 2].iter().for_each(|&l| request.need_rotation(1, l));
        let keys = EvaluationKeys::generate(&sk, &request, b"", &mut rng).unwrap();
        let row = |level: usize| {
            let mut row = vec![0; params.n()];
            let limbs = params.level_data(level).limbs();
            keys.rotation(1, level).unwrap().key.rows(0, limbs, 0).1.unpack_into(&mut row);
            row
        };
        assert_eq!(keys.request().len(), 2);
        assert!(row(1) != row(2));
    }
}
