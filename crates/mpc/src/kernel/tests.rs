use super::*;
use oblivia_base::Prg;
use oblivia_base::seed::EntropySource;
use proptest::prelude::*;
use std::sync::Mutex;

/// The path is of the whole process: tests that select one take turns.
static PATH: Mutex<()> = Mutex::new(());

/// What `f` returns on every path of this machine.
fn on_every_path<T>(mut f: impl FnMut() -> T) -> Vec<T> {
    let _turn = PATH.lock().unwrap_or_else(|e| e.into_inner());
    let before = Path::active();
    let results = Path::available().iter().map(|p| {
        assert!(p.select());
        f()
    });
    let results = results.collect();
    before.select();
    results
}

fn blocks(n: usize, seed: u8) -> Vec<u128> {
    let mut bytes = vec![0; 16 * n];
    let rng: &mut dyn EntropySource = &mut Prg::new(&[seed; 32], "kernel tests", &[]);
    rng.fill_bytes(&mut bytes);
    bytes.as_chunks::<16>().0.iter().map(|b| u128::from_le_bytes(*b)).collect()
}

/// Values of FIPS 197, appendix A.1 and C.1.
#[test]
fn aes_agrees_with_the_standard() {
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let plain = u128::from_be_bytes(std::array::from_fn(|i| 0x11 * i as u8)).swap_bytes();
    let expected = 0x69c4e0d86a7b0430d8cdb78070b4c55a_u128.swap_bytes();
    for out in on_every_path(|| {
        let mut out = [0];
        Cipher::new(&key).counter((plain >> 64) as u64, plain as u64, &mut out);
        out[0]
    }) {
        assert_eq!(out, expected);
    }
}

#[test]
fn multiplication_is_that_of_the_field() {
    let slow = |a: u128, b: u128| {
        (0..128).rev().fold(0, |sum, i| times_x(sum) ^ if b >> i & 1 == 1 { a } else { 0 })
    };
    let (a, b) = (blocks(200, 1), blocks(200, 2));
    for (a, b) in a.iter().zip(&b).chain([(&u128::MAX, &u128::MAX), (&(1 << 127), &(1 << 127)), (&1, &5)]) {
        assert!(on_every_path(|| times(*a, *b)).iter().all(|p| *p == slow(*a, *b)), "{a:x} · {b:x}");
    }
}

#[test]
fn a_transposed_bit_is_where_its_row_and_column_say() {
    let table = blocks(ROWS * STRIDE, 3);
    for out in on_every_path(|| {
        let mut out = vec![0; COLUMNS];
        for (i, out) in out.chunks_exact_mut(SQUARES).enumerate() {
            transpose(&table, LINE * i, out);
        }
        out
    }) {
        for (c, block) in out.iter().enumerate() {
            for r in 0..ROWS {
                assert_eq!(block >> r & 1, table[r * STRIDE + c / 128] >> (c % 128) & 1);
            }
        }
    }
}

#[test]
fn streams_are_summed_up_as_the_bits_of_their_indices_say() {
    let slow = |k: usize, n: usize, streams: &[Vec<u128>], of: &dyn Fn(usize, usize) -> bool| {
        let sum = |b: usize, i: usize| {
            (0..1 << k).filter(|x| of(*x, b)).fold(0, |sum, x: usize| sum ^ streams[x][i])
        };
        (0..k).map(|b| (0..n).map(|i| sum(b, i)).collect()).collect::<Vec<Vec<u128>>>()
    };
    for (k, n, point) in [(2, 8, 1), (4, BLOCKS, 6), (8, 16, 0xa7)] {
        let leaves: Vec<Cipher> = blocks(1 << k, 4).iter().map(|s| Cipher::new(&s.to_le_bytes())).collect();
        let start = u64::MAX - 4;
        let streams: Vec<Vec<u128>> = leaves
            .iter()
            .map(|leaf| {
                let mut stream = vec![0; n];
                leaf.counter(0, start, &mut stream);
                stream
            })
            .collect();
        let bit = |b: usize| point >> b & 1 == 1;
        let masks: Vec<u128> = (0..k).map(|b| if bit(b) { u128::MAX } else { 0 }).collect();
        let difference = blocks(n - 3, 5);
        let bytes: Vec<u8> = difference.iter().flat_map(|v| v.to_le_bytes()).collect();
        let correction = Correction { masks: &masks, difference: &bytes };
        let plain = slow(k, n, &streams, &|x, b| x >> b & 1 == 1);
        let mut corrected = slow(k, n, &streams, &|x, b| (x ^ point) >> b & 1 == 1);
        for row in corrected.iter_mut().enumerate().filter(|(b, _)| bit(*b)).map(|(_, row)| row) {
            row.iter_mut().zip(&difference).for_each(|(v, d)| *v ^= d);
        }
        for (expected, correction) in [(plain, None), (corrected, Some(correction))] {
            for (sum, rows) in on_every_path(|| {
                let (mut sum, mut rows) = (vec![7; n], vec![7; k * STRIDE]);
                sum_streams(&leaves, start, correction, &mut sum, &mut rows);
                (sum, rows)
            }) {
                assert!((0..n).all(|i| sum[i] == streams.iter().fold(0, |sum, r| sum ^ r[i])));
                assert!((0..k).all(|b| rows[b * STRIDE..][..n] == expected[b]), "{k}");
            }
        }
    }
}

#[test]
fn rows_are_hashed_one_by_one_and_hashes_summed_up() {
    let (table, a) = (blocks(ROWS * STRIDE, 3), blocks(BLOCKS, 4));
    for n in [0, 1, 31, BLOCKS] {
        for (hashes, scaled) in on_every_path(|| {
            let mut hashes = [1; ROWS];
            inner_of_rows(&a[..n], &table, &mut hashes);
            let mut scaled = hashes;
            add_and_scale(a[1], table.first_chunk().unwrap(), &mut scaled);
            (hashes, scaled)
        }) {
            for r in 0..ROWS {
                assert_eq!(hashes[r], inner(&a[..n], &table[r * STRIDE..]));
                assert_eq!(scaled[r], times(hashes[r] ^ table[r], a[1]));
            }
        }
    }
}

#[test]
fn sigma_and_sigma_plus_identity_are_permutations() {
    // Linear over GF(2): a permutation if the images of the unit vectors are independent.
    let sigma = |x: u128| x.rotate_left(64) ^ (x & !u128::from(u64::MAX));
    for map in [&sigma as &dyn Fn(u128) -> u128, &|x| sigma(x) ^ x] {
        let mut images: Vec<u128> = (0..128).map(|i| map(1 << i)).collect();
        let mut rank = 0;
        for bit in 0..128 {
            let Some(at) = images.iter().position(|v| v >> bit & 1 == 1) else { continue };
            let pivot = images.swap_remove(at);
            rank += 1;
            images.iter_mut().filter(|v| **v >> bit & 1 == 1).for_each(|v| *v ^= pivot);
        }
        assert_eq!(rank, 128);
    }
}

proptest! {
    #[test]
    fn paths_agree_bit_for_bit(
        n in 0usize..200, log_n in 1usize..10, key: [u8; 16], tweak: u128, stride in 0u32..20, seed: u8,
    ) {
        let x = blocks(n, seed);
        let results = on_every_path(|| {
            let cipher = Cipher::new(&key);
            let mut counted = vec![0; n];
            cipher.counter(tweak as u64, u64::MAX - 40, &mut counted);
            let mut hashed = vec![0; n];
            cipher.tccr(tweak, stride, tweak.rotate_left(7), &x, &mut hashed);
            let mut fed_forward = vec![0; n];
            cipher.mmo(tweak, &x, &mut fed_forward);
            let mut tree = blocks(1 << log_n, seed);
            let sum = cipher.grow(&mut tree, !1, None);
            let table = table(8 << log_n, seed ^ 1);
            let mut sums = x.clone();
            let first = usize::from(seed) * 5;
            cipher.lpn(tweak as u64, first, &table, &x, &mut sums);
            let patch = Patch { at: [seed.into(), 1], values: [tweak, 5] };
            let mut patched = tree.clone();
            patch.apply(&mut patched);
            let patched_sum = cipher.grow(&mut tree.clone(), tweak, Some(&patch));
            let powers = raise(&x, &(0..n as u32).map(|e| e * 7).collect::<Vec<_>>(), 11);
            let (mut pairs, mut words, mut bits) = (vec![[0; 2]; n], vec![0; n], vec![0; n]);
            pair_up(&x, &hashed, &mut pairs);
            low_words(&x, &mut words);
            low_bits(&x, &mut bits);
            let mut around = blocks(1 << log_n, seed);
            let known = Children { of: u32::from(seed) % (1 << (log_n - 1)), values: [tweak, 5] };
            cipher.grow_around(&mut around, tweak | 1, &known);
            ((counted, pairs, words, bits, around, fed_forward), hashed, tree, sum, sums, inner(&x, &hashed_twin(&x)), polynomial(tweak, &x), (patched, patched_sum, powers))
        });
        for r in &results[1..] {
            prop_assert_eq!(r, &results[0]);
        }
    }
}

proptest! {
    #[test]
    fn rows_of_lpn_are_the_same_from_wherever_they_are_made(rows in 0usize..300, from in 0usize..100, seed: u8) {
        let matrix = Cipher::new(&[seed; 16]);
        let (table, leaves) = (table(512, seed), blocks(rows + from, seed ^ 1));
        let results = on_every_path(|| {
            let mut all = vec![0; leaves.len()];
            matrix.lpn(9, 0, &table, &leaves, &mut all);
            let mut some = vec![0; rows];
            let (low, high) = some.split_at_mut(rows / 2);
            matrix.lpn(9, from, &table, &leaves[from..from + rows / 2], low);
            matrix.lpn(9, from + rows / 2, &table, &leaves[from + rows / 2..], high);
            assert_eq!(some, all[from..]);
            some
        });
        for r in &results[1..] {
            prop_assert_eq!(r, &results[0]);
        }
    }
}

#[test]
fn tables_of_all_sizes_give_the_same_on_every_path() {
    let (matrix, table, leaves) = (Cipher::new(&[7; 16]), large_table(), blocks(300, 3));
    for log_n in 1..=MAX_LOG_TABLE {
        for (first, rows) in [(0, 300), (5, 250), (31, 2), (33, 97), (1023, 290)] {
            let results = on_every_path(|| {
                let mut out = vec![0; rows];
                matrix.lpn(u64::MAX, first, &table[..1 << log_n], &leaves[..rows], &mut out);
                out
            });
            assert!(results.iter().all(|r| *r == results[0]), "2^{log_n} lines, {rows} rows from {first}");
        }
    }
}

/// The largest table, as the vectors have it.
fn large_table() -> Vec<Line> {
    let block = |i: u128| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (0..1 << MAX_LOG_TABLE).map(|line| Line(std::array::from_fn(|c| block(4 * line + c as u128)))).collect()
}

/// A table of LPN.
fn table(n: usize, seed: u8) -> Vec<Line> {
    lines(&blocks(n, seed))
}

fn lines(blocks: &[u128]) -> Vec<Line> {
    blocks.as_chunks().0.iter().map(|line| Line(*line)).collect()
}

fn hashed_twin(x: &[u128]) -> Vec<u128> {
    x.iter().map(|v| v.rotate_left(37)).collect()
}

/// `tests/vectors/kernels.json` of `scripts/make_mpc_vectors.py`.
fn vector(name: &str) -> Vec<u128> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/kernels.json")).unwrap();
    fn flatten(v: &serde_json::Value, out: &mut Vec<u128>) {
        match v.as_array() {
            Some(items) => items.iter().for_each(|v| flatten(v, out)),
            None => out.push(u128::from_str_radix(v.as_str().unwrap(), 16).unwrap()),
        }
    }
    let mut out = Vec::new();
    flatten(&file[name], &mut out);
    out
}

#[test]
fn kernels_agree_with_an_independent_implementation() {
    let (tweak, nonce) = (vector("tweak")[0], vector("nonce")[0] as u64);
    let large = large_table();
    on_every_path(|| {
        let cipher = Cipher::new(&vector("key")[0].to_le_bytes());
        let mut out = vec![0; 70];
        cipher.counter(nonce, 5, &mut out);
        assert_eq!(out, vector("counter"));
        let inputs = vector("inputs");
        for (name, stride, offset) in [("tccr", 1, 0), ("tccr_of_groups", 3, vector("key")[0])] {
            out = vec![0; inputs.len()];
            cipher.tccr(tweak, stride, offset, &inputs, &mut out);
            assert_eq!(out, vector(name));
        }
        cipher.mmo(tweak, &inputs, &mut out);
        assert_eq!(out, vector("mmo"));
        out = inputs;
        let leaves: Vec<u128> = vector("inputs").iter().map(|v| v & !1).collect();
        cipher.lpn(nonce, 0, &lines(&vector("table")), &leaves, &mut out);
        assert_eq!(out, vector("lpn"));
        cipher.lpn(nonce, 0, &large, &vector("inputs"), &mut out);
        assert_eq!(out, vector("lpn_of_a_large_table"));
        out = vector("tree");
        assert_eq!(vec![cipher.grow(&mut out, !1, None)], vector("left_sum"));
        assert_eq!(out, vector("grown"));
        for p in vector("products").chunks(3) {
            assert_eq!(times(p[0], p[1]), p[2]);
        }
    });
}

#[test]
fn polynomials_and_powers_are_what_they_say() {
    let (x, c) = (blocks(150, 1), 0x1234_5678_9abc_def0_u128 << 17);
    for p in on_every_path(|| polynomial(c, &x)) {
        let mut power = 1;
        let sum = x.iter().fold(0, |sum, b| {
            power = times(power, c);
            sum ^ times(power, *b)
        });
        assert_eq!(p, sum);
    }
    for n in [0, 1, 4, 70] {
        for p in on_every_path(|| powers(c, n)) {
            let mut power = 1;
            assert!(
                p.len() == n
                    && p.iter().all(|p| {
                        power = times(power, c);
                        *p == power
                    })
            );
        }
    }
    for p in on_every_path(|| raise(&x, &[0, 1, 2, 21, 1024], 11)) {
        let slow = |b: u128, e: u32| (0..e).fold(1, |p, _| times(p, b));
        assert_eq!(p, [0, 1, 2, 21, 1024].iter().zip(&x).map(|(e, b)| slow(*b, *e)).collect::<Vec<_>>());
    }
}

#[test]
fn a_patched_level_has_two_nodes_replaced_and_grows_as_it_would_then() {
    let cipher = Cipher::new(&[3; 16]);
    for n in [2u32, 4, 16, 64] {
        for at in 0..n {
            let patch = Patch { at: [at, at ^ 1], values: [77, 78] };
            let mut expected = blocks(n as usize, 2);
            (expected[at as usize], expected[at as usize ^ 1]) = (77, 78);
            let mut grown = [&expected[..], &expected].concat();
            let sum = cipher.grow(&mut grown, !1, None);
            for (nodes, level, found) in on_every_path(|| {
                let mut nodes = blocks(n as usize, 2);
                let mut level = [&nodes[..], &nodes].concat();
                patch.apply(&mut nodes);
                let found = cipher.grow(&mut level, !1, Some(&patch));
                (nodes, level, found)
            }) {
                assert!(nodes == expected && level == grown && found == sum, "{n} {at}");
            }
        }
    }
}

#[test]
fn known_children_are_where_they_belong_and_all_others_as_they_would_be() {
    let cipher = Cipher::new(&[3; 16]);
    for n in [1u32, 2, 4, 16, 64] {
        for of in 0..n {
            for mask in [u128::MAX, !1] {
                let mut expected = blocks(2 * n as usize, 2);
                cipher.grow(&mut expected, mask, None);
                (expected[of as usize], expected[(of + n) as usize]) = (77, 78);
                for level in on_every_path(|| {
                    let mut level = blocks(2 * n as usize, 2);
                    cipher.grow_around(&mut level, mask, &Children { of, values: [77, 78] });
                    level
                }) {
                    assert_eq!(level, expected, "{of} of {n}");
                }
            }
        }
    }
}

#[test]
fn words_and_bits_of_blocks_are_in_their_order() {
    let (a, b) = (blocks(45, 1), blocks(45, 2));
    for (pairs, words, bits) in on_every_path(|| {
        let (mut pairs, mut words, mut bits) = ([[0; 2]; 45], [0; 45], [0; 45]);
        pair_up(&a, &b, &mut pairs);
        low_words(&a, &mut words);
        low_bits(&a, &mut bits);
        (pairs, words, bits)
    }) {
        for i in 0..45 {
            assert_eq!(
                (pairs[i], words[i], bits[i]),
                ([a[i] as u64, b[i] as u64], a[i] as u64, a[i] as u8 & 1)
            );
        }
    }
}
