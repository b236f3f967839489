//! Products of matrices in slots against the definition, in clear and encrypted, with their operations.

mod common;

use common::{exact, row_chain, scattered};
use oblivia_base::Prg;
use oblivia_he::SecretKey;
use oblivia_he::bfv::{Context, Decryptor, Encoder, Encryptor, Evaluator};
use oblivia_pack::circuit::MatrixProduct;
use oblivia_pack::*;
use std::sync::{Arc, LazyLock};

fn number(seed: u64, i: usize) -> f64 {
    (scattered(seed, i) % 15) as f64 - 7.0
}

fn matrix(seed: u64, elements: usize) -> Vec<f64> {
    (0..elements).map(|i| number(seed, i)).collect()
}

/// Row-major.
fn definition([rows, inner, columns]: [usize; 3], a: &[f64], b: &[f64]) -> Vec<f64> {
    let element = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum();
    (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
}

const SHAPES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [2, 2, 2],
    [4, 4, 4],
    [3, 5, 4],
    [8, 8, 8],
    [5, 16, 10],
    [16, 3, 2],
    [1, 13, 7],
    [32, 32, 32],
];

#[test]
fn products_of_any_shape_are_the_definition_both_ways() {
    for shape @ [rows, inner, columns] in SHAPES {
        for slots in [1024, 4096] {
            let product = MatrixProduct::new(rows, inner, columns, slots).unwrap();
            let (a, b) = (matrix(1, rows * inner), matrix(2, inner * columns));
            let expected = definition(shape, &a, &b);
            let mut s = ClearSlots::new(slots);
            let [x, y] = [product.left(&a), product.right(&b)];
            let c = product.run(&mut s, [&x, &y], &product.plains(), [Scale(1.0); 2]).unwrap();
            assert_eq!(product.gather(&c), expected, "{shape:?}");
            let plains = product.known_plains(&b);
            assert_eq!(plains.len(), 2 * product.side() - 1);
            let c = product.run_known(&mut s, &product.left_turned(&a), &plains, Scale(1.0)).unwrap();
            assert_eq!(product.gather(&c), expected, "{shape:?}, B known");
        }
    }
}

#[test]
fn matrices_that_do_not_fit_are_refused() {
    assert!(MatrixProduct::new(33, 2, 2, 1024).is_err());
    assert!(MatrixProduct::new(32, 2, 2, 1024).is_ok());
    assert!(MatrixProduct::new(0, 2, 2, 1024).is_err() && MatrixProduct::new(2, 2, 2, 1000).is_err());
    assert!(MatrixProduct::new(usize::MAX, 2, 2, 1024).is_err());
}

static CONTEXT: LazyLock<Context> = LazyLock::new(|| exact(20));

fn counter() -> Counter {
    Counter::exact(row_chain(&CONTEXT))
}

#[test]
fn the_counts_are_those_of_the_paper() {
    for d in [4usize, 8, 16, 32] {
        let product = MatrixProduct::new(d, d, d, 4096).unwrap();
        let mut both = counter();
        let x = both.input(4, Scale(1.0));
        let plains = vec![(); product.plains().len()];
        let y = product.run(&mut both, [&x, &x], &plains, [Scale(1.0); 2]).unwrap();
        assert_eq!(y, Traced { level: 2, scale: Scale(1.0) });
        let c = both.counts();
        // σ: 2d − 1 diagonals, τ: d, φ: 2 masks for all but one of d; d products, one relinearisation.
        assert_eq!(c.pt_mul, (2 * d - 1 + d + 1 + 2 * d - 1) as u64);
        assert_eq!((c.ct_mul, c.relin), (d as u64, 1));
        // φ takes 2(d − 1), ψ d − 1; babies and giants of σ and τ are fewer than 8√d.
        let (rotations, root) = (c.rotations + c.hoisted, (d as f64).sqrt());
        assert!(rotations >= 3 * (d as u64 - 1));
        assert!(rotations as f64 <= 3.0 * (d as f64 - 1.0) + 8.0 * root, "{d}: {rotations}");
        let mut known = counter();
        let plains = vec![(); product.known_plains(&[]).len()];
        product.run_known(&mut known, &x, &plains, Scale(1.0)).unwrap();
        let k = known.counts();
        assert_eq!((k.pt_mul, k.ct_mul), (2 * d as u64 - 1, 0));
        println!("side {d}: both encrypted {c:?}, {} keys; B known {k:?}", both.keys().len());
    }
}

#[test]
fn encrypted_products_are_exact_at_the_counted_cost() {
    let (context, row) = (&*CONTEXT, CONTEXT.slots() / 2);
    let mut rng = Prg::new(&[3; 32], "matrix products", &[]);
    let sk = SecretKey::generate(context.params(), &mut rng);
    let encoder = Encoder::new(context);
    for shape @ [rows, inner, columns] in [[8, 8, 8], [5, 16, 10]] {
        let product = MatrixProduct::new(rows, inner, columns, row).unwrap();
        let (a, b) = (matrix(1, rows * inner), matrix(2, inner * columns));
        let expected = definition(shape, &a, &b);
        let mut encrypt = |values: &[f64]| {
            let twice: Vec<i64> = values.iter().chain(values).map(|&v| v as i64).collect();
            let pt = encoder.encode(&twice, 4, context.level_factor(4).unwrap()).unwrap();
            let ciphertext = Encryptor::new(context).encrypt_symmetric(&sk, &pt, &mut rng).unwrap();
            BfvVector { ciphertext, scale: Scale(1.0) }
        };
        let inputs = [product.left(&a), product.right(&b), product.left_turned(&a)].map(|v| encrypt(&v));
        for known in [false, true] {
            let plains = if known { product.known_plains(&b) } else { product.plains() };
            let mut counter = counter();
            let x = counter.input(4, Scale(1.0));
            let units = vec![(); plains.len()];
            match known {
                true => product.run_known(&mut counter, &x, &units, Scale(1.0)).unwrap(),
                false => product.run(&mut counter, [&x, &x], &units, [Scale(1.0); 2]).unwrap(),
            };
            let mut keys_rng = Prg::new(&[4; 32], "keys", &[]);
            let keys = context.evaluation_keys(&sk, counter.keys(), b"", &mut keys_rng).unwrap();
            let evaluator = Evaluator::new(Arc::new(keys));
            let uses = counter.plains();
            let prepare = |(p, at): (&Plain, &PlainUse)| BfvPlain::prepare(&encoder, p, *at).unwrap();
            let prepared: Vec<BfvPlain> = plains.iter().zip(uses).map(prepare).collect();
            evaluator.take_counts();
            let mut s = BfvSlots::new(&evaluator, &encoder);
            let y = match known {
                true => product.run_known(&mut s, &inputs[2], &prepared, Scale(1.0)).unwrap(),
                false => product.run(&mut s, [&inputs[0], &inputs[1]], &prepared, [Scale(1.0); 2]).unwrap(),
            };
            assert_eq!(evaluator.take_counts(), counter.counts());
            let decryptor = Decryptor::new(context, &sk).unwrap();
            let values = encoder.decode(&decryptor.decrypt(&y.ciphertext).unwrap()).unwrap();
            let values: Vec<f64> = values.into_iter().map(|v| v as f64).collect();
            assert_eq!(product.gather(&values), expected, "{shape:?}, known: {known}");
            assert!(decryptor.noise(&y.ciphertext).unwrap().spare_bits > 1.0);
        }
    }
}
