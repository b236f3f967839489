//! Linear layers between two parties: RLWE with a power-of-two ciphertext modulus, or for layers whose results are opened a
//! modulus of two primes, messages in coefficients.
//!
//! Both parties hold additive shares modulo 2^k of a tensor x; afterwards they hold shares modulo 2^L of y/2^f, where
//! y = w∗x + bias is any sum of products of elements of Z\[X\]/(X^n + 1). No rotation, no evaluation key.
//!
//! | who | what |
//! |---|---|
//! | client | [`SecretKey::encrypt`]: its share polynomials → [`Upload`] (a seed, c0) |
//! | server | [`Inputs::new`]: expands c1, adds Δ·(its own shares) |
//! | server | [`accumulate`]: Σ ciphertext·kernel + Δ·bias → [`Accumulated`] |
//! | server | [`Accumulated::mask_and_drop`]: fresh encryption of zero, mask, drop of low bits → [`Reply`]; its own share is [`ReplyRandomness::share`], known before anything arrives |
//! | client | [`SecretKey::finish`]: [`Reply`] → its share |
//!
//! Once per session the client sends [`PublicKey`], of which only b travels: a is made from the server's nonce and the
//! transcript, so that a client cannot choose it.
//!
//! # What comes out
//! With Δ = 2^(q−k), s = q − L, f = k − L and P* = Δ·y + e, e the noise after dropping, the shares add up to
//! ⌊P*/2^s⌋ + b modulo 2^L where b is 1 with probability ((P* mod 2^s) + 1)/2^s: an unbiased rounding of y/2^f that
//! is off by less than 1 + |e|/2^s, with no failure by wrap-around of shares. [`NoiseEstimate`] bounds |e| by 2^(s−4).
//! So the result is ⌊y/2^f⌋ or ⌊y/2^f⌋ + 1, except that a y within |e|/Δ of a multiple of 2^f may give the whole number
//! beyond it, with probability below |e|/2^s: with d0 = s − 5, about one result in 25,000 for y of evenly distributed
//! low bits (E\[e²\]/(2·4^s) for the two sides together, e uniform within 2^(s−6)). y must stay within ±(2^(k−1) − 2^f).
//!
//! # Why the server's weights stay secret
//! Given the client's secrets, c1 + a·v + e1 is one RLWE sample under the fresh secret v, and every coefficient of c0 that
//! is sent is uniform by its mask r; dropping bits is done to what is simulated already. The argument needs exactly
//! this order, which the types keep: [`Accumulated`] shows nothing, and the only way out of it adds the encryption
//! of zero first. **It proves the noisy function**: the rounding above depends on e, hence on the client's encryption noise
//! convolved with the weights. A result that is opened is within that part of |e|/2^s ([`NoiseEstimate::products`]) of
//! the noiseless distribution, not 2^-40; the other parts are independent of the weights. Semi-honest parties are assumed.
//!
//! # Layers whose results are opened
//! Modulo two primes ([`Ring::two_primes`], n = 4096) all is as above with q = p·p', but for these: m modulo 2^k is encoded as
//! round(q·m/2^k), by either party; shares are ⌊P·2^L/q⌋ and ⌊(−r mod q)·2^L/q⌋ + 1; uploads and public keys travel transformed;
//! bits are dropped by rounding down, and half a unit is added on arrival. [`Params::flooded`] makes q so large that the low
//! part of the mask drowns all noise, whatever the weights are: what is opened is within 2^-40 of a rounding of the exact
//! sums that only the mask decides. [`Flood`] has the bound.
//!
//! # Simulation
//! All randomness is drawn as values first ([`UploadRandomness`], [`ReplyRandomness`]), which are used up by use.
//! Whoever draws them again from the same generators replays a run: [`lane`] computes P*, its noise by source and the
//! rounding bit from them.
//!
//! Sources: Z. Huang, W.-j. Lu, C. Hong, J. Ding, *Cheetah* (USENIX Security 2022), for coefficient packing, extraction
//! and dropping; the masking order and the rounding are ours, with the argument above.

mod accumulate;
mod flood;
#[cfg(test)]
mod flood_tests;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod kernel;
mod key;
pub mod lane;
mod noise;
mod params;
mod primes;
mod reply;
mod residue_lane;
mod residues;
mod ring;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
mod upload;

pub use accumulate::{Accumulated, Inputs, Outputs, Sum, accumulate};
pub use flood::{DISTANCE_BITS, Flood, MOST_PRIME_BITS};
pub use kernel::{Kernel, MAX_WEIGHT, Method, PreparedKernel, Work};
pub use key::{PublicKey, SecretKey};
pub use noise::{LEAST_S_BITS, NoiseEstimate, message_bits};
pub use oblivia_ring::word::Term;
pub use params::{Params, ParamsLiteral};
pub use reply::{Reply, ReplyRandomness};
pub use ring::{MAX_MODULUS_BITS, Ring};
pub use upload::{Upload, UploadRandomness};
