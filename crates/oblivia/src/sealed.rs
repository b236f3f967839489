//! Packs as they lie on disk: encrypted and authenticated with AES-256-GCM.
//!
//! | bytes | field |
//! |---|---|
//! | 16 | `oblivia pack 2` and two zeros |
//! | 32 | salt, random |
//! | 16 | tag of the head: nothing encrypted, what the file is for and the length of the pack authenticated, nonce 1 |
//! | … + 16 | ciphertext and tag, what the file is for authenticated, nonce 0 |
//!
//! The key of a file is hashed from the key of the directory and the salt, so nonces are constants. What a file is for (side,
//! scope, session and number) is not in it: a file under another name does not open. The head tells so, and whether the file is cut
//! short, without what is behind it.
#![deny(clippy::indexing_slicing)]

use oblivia_base::seed::EntropySource;
use oblivia_base::{Prg, Secret};
use rand_core::Rng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

const MAGIC: &[u8; 16] = b"oblivia pack 2\0\0";
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Bytes before the ciphertext.
pub(crate) const HEAD_BYTES: usize = MAGIC.len() + SALT_BYTES + TAG_BYTES;
/// Bytes of a file beside the pack.
pub(crate) const OVERHEAD_BYTES: u64 = (HEAD_BYTES + TAG_BYTES) as u64;

fn key(of_dir: &Secret<[u8; 32]>, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
    let mut key = Secret::new([0; 32]);
    Prg::new(of_dir.expose(), "pack file key v1", &[salt]).fill_bytes(key.expose_mut());
    UnboundKey::new(&AES_256_GCM, key.expose()).ok().map(LessSafeKey::new)
}

const BODY: [u8; 12] = [0; 12];
const HEAD: [u8; 12] = [1; 12];

fn nonce(of: [u8; 12]) -> Nonce {
    Nonce::assume_unique_for_key(of)
}

/// What the tag of a head is over.
fn head(what: &[u8], pack_bytes: u64) -> Aad<Vec<u8>> {
    Aad::from([what, &pack_bytes.to_le_bytes()].concat())
}

/// A file with `pack` for `what`; `None` if it is too long for the cipher.
pub(crate) fn seal(
    of_dir: &Secret<[u8; 32]>,
    what: &[u8],
    pack: &Secret<Vec<u8>>,
    rng: &mut dyn EntropySource,
) -> Option<Vec<u8>> {
    let mut salt = [0; SALT_BYTES];
    rng.fill_bytes(&mut salt);
    let key = key(of_dir, &salt)?;
    let bytes = pack.expose().len();
    let tag = key.seal_in_place_separate_tag(nonce(HEAD), head(what, bytes as u64), &mut []).ok()?;
    // Room for everything: a vector that grows leaves a copy behind.
    let mut file = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + bytes + TAG_BYTES));
    file.extend(MAGIC);
    file.extend(salt);
    file.extend(tag.as_ref());
    file.extend(pack.expose());
    let body = file.get_mut(HEAD_BYTES..)?;
    let tag = key.seal_in_place_separate_tag(nonce(BODY), Aad::from(what), body).ok()?;
    file.extend(tag.as_ref());
    Some(std::mem::take(&mut *file))
}

/// Whether a file of `file_bytes` bytes that begins with `first` is a pack for `what`, as long as it was made; else what is wrong
/// with it. It may still be changed behind its head.
pub(crate) fn check(
    of_dir: &Secret<[u8; 32]>,
    what: &[u8],
    first: &[u8],
    file_bytes: u64,
) -> Result<(), &'static str> {
    checked(of_dir, what, first, file_bytes).map(drop)
}

fn checked(
    of_dir: &Secret<[u8; 32]>,
    what: &[u8],
    first: &[u8],
    file_bytes: u64,
) -> Result<LessSafeKey, &'static str> {
    const SHORT: &str = "it is cut short";
    let (magic, rest) = first.split_first_chunk::<16>().ok_or(SHORT)?;
    if magic != MAGIC {
        return Err("it is no pack of this version");
    }
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(SHORT)?;
    let mut tag = *rest.first_chunk::<TAG_BYTES>().ok_or(SHORT)?;
    let bytes = file_bytes.checked_sub(OVERHEAD_BYTES).ok_or(SHORT)?;
    let key = key(of_dir, salt).ok_or("no key can be made")?;
    key.open_in_place(nonce(HEAD), head(what, bytes), &mut tag)
        .map_err(|_| "it is cut short, changed, under another name, or of another key")?;
    Ok(key)
}

/// The pack for `what` in a whole, unchanged file; else what is wrong with it.
pub(crate) fn open(
    of_dir: &Secret<[u8; 32]>,
    what: &[u8],
    mut file: Zeroizing<Vec<u8>>,
) -> Result<Secret<Vec<u8>>, &'static str> {
    let all = file.len();
    let key = checked(of_dir, what, &file, all as u64)?;
    key.open_within(nonce(BODY), Aad::from(what), &mut file, HEAD_BYTES..).map_err(|_| "it is changed")?;
    file.truncate(all.saturating_sub(HEAD_BYTES + TAG_BYTES));
    Ok(Secret::new(std::mem::take(&mut *file)))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that is wrong may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIR: [u8; 32] = [5; 32];

    fn sealed(pack: &[u8], rng: u8) -> Vec<u8> {
        let mut rng = Prg::new(&[rng; 32], "seal tests", &[]);
        seal(&Secret::new(DIR), b"what", &Secret::new(pack.to_vec()), &mut rng).unwrap()
    }

    fn opened(dir: [u8; 32], what: &[u8], file: &[u8]) -> Option<Vec<u8>> {
        let pack = open(&Secret::new(dir), what, Zeroizing::new(file.to_vec())).ok()?;
        Some(pack.expose().clone())
    }

    #[test]
    fn a_pack_opens_for_what_it_is_under_its_key_and_shows_nothing() {
        let pack: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        let file = sealed(&pack, 1);
        assert_eq!(file.len() as u64, pack.len() as u64 + OVERHEAD_BYTES);
        assert_eq!(opened(DIR, b"what", &file).unwrap(), pack);
        assert_eq!(opened(DIR, b"other", &file), None);
        assert_eq!(opened([6; 32], b"what", &file), None);
        assert!(!file.windows(8).any(|w| w == &pack[..8]), "it is encrypted");
        let other = sealed(&pack, 2);
        assert!(
            file[16..48] != other[16..48] && file[48..64] != other[48..64] && file[64..] != other[64..],
            "a salt and a key of its own"
        );
        assert_eq!(opened(DIR, b"what", &sealed(&[], 1)), Some(Vec::new()));
    }

    #[test]
    fn a_head_tells_a_whole_pack_for_what_it_is_from_others() {
        let file = sealed(&[7; 1000], 1);
        let with =
            |dir, what: &[u8], first: &[u8], bytes| check(&Secret::new(dir), what, first, bytes).is_ok();
        let (first, bytes) = (&file[..HEAD_BYTES], file.len() as u64);
        assert!(with(DIR, b"what", first, bytes) && with(DIR, b"what", &file, bytes));
        assert!(!with(DIR, b"what", first, bytes - 1) && !with(DIR, b"what", first, bytes + 1));
        assert!(!with(DIR, b"other", first, bytes) && !with([6; 32], b"what", first, bytes));
        assert!((0..HEAD_BYTES).all(|cut| !with(DIR, b"what", &first[..cut], bytes)));
        for at in 0..HEAD_BYTES {
            let mut changed = first.to_vec();
            changed[at] ^= 1;
            assert!(!with(DIR, b"what", &changed, bytes), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_changed_or_made_up_is_refused(at: prop::sample::Index, by in 1u8.., cut in 0usize..70, random: bool) {
            let mut file = sealed(b"sixteen COTs or so", 3);
            match random {
                true => file.iter_mut().skip(16).enumerate().for_each(|(i, b)| *b = (i as u8).wrapping_mul(by)),
                false => { let i = at.index(file.len()); file[i] ^= by; }
            }
            file.truncate(file.len().saturating_sub(cut));
            prop_assert_eq!(opened(DIR, b"what", &file), None);
        }
    }
}
