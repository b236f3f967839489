//! Packed rows: round trips, sizes, and refusals.

use oblivia_base::Prg;
use oblivia_base::codec::{Fault, Reader, Writer};
use oblivia_ring::packing::{
    poly_bytes, read_packed, read_poly, read_row, row_bytes, write_packed, write_poly, write_row,
};
use oblivia_ring::{
    Basis, Modulus, Ntt, PackedPolys, Poly, RingKind, RingShape, prime_below, primes_below, sample,
};
use rand_core::Rng;

fn packed(m: &Modulus, row: &[u64]) -> Vec<u8> {
    let mut w = Writer::new();
    write_row(m, row, &mut w);
    w.into_bytes()
}

#[test]
fn rows_of_every_width_and_length_come_back() {
    let mut rng = Prg::new(&[3; 32], "packing tests", &[]);
    for bits in 2..=50 {
        let m = Modulus::new(prime_below(bits, 2, &[]).unwrap()).unwrap();
        assert_eq!(m.bits(), bits);
        for n in [0, 1, 3, 7, 8, 64, 100] {
            let mut row: Vec<u64> = (0..n).map(|_| rng.next_u64() % m.value()).collect();
            if let Some(last) = row.last_mut() {
                *last = m.value() - 1;
            }
            let bytes = packed(&m, &row);
            assert_eq!(bytes.len(), row_bytes(&m, n));
            assert_eq!(bytes.len(), (n * bits as usize).div_ceil(8));
            let mut back = vec![1; n];
            let mut r = Reader::new(&bytes);
            read_row(&m, &mut r, &mut back).unwrap();
            r.finish().unwrap();
            assert_eq!(back, row);
        }
    }
}

#[test]
fn bits_lie_least_significant_first() {
    // Residues 1, 2, 3, … of five bits, laid out by hand.
    let m = Modulus::new(31).unwrap();
    assert_eq!(packed(&m, &[1, 2, 3]), [0b0100_0001, 0b0000_1100]);
}

#[test]
fn residues_that_are_not_canonical_padding_and_short_input_are_refused() {
    let m = Modulus::new(29).unwrap();
    let mut out = [0; 3];
    let mut read = |bytes: &[u8]| read_row(&m, &mut Reader::new(bytes), &mut out).map_err(|e| e.fault);
    let encode = |v: [u16; 3]| (v[0] | v[1] << 5 | v[2] << 10).to_le_bytes();
    assert_eq!(read(&encode([28, 0, 28])), Ok(()));
    for bad in [[29, 0, 0], [0, 31, 0], [0, 0, 29]] {
        assert_eq!(read(&encode(bad)), Err(Fault::Invalid));
    }
    let mut padded = encode([1, 2, 3]);
    padded[1] |= 0x80;
    assert_eq!(read(&padded), Err(Fault::Invalid));
    assert_eq!(read(&[0]), Err(Fault::Truncated));
}

#[test]
fn polynomials_come_back_and_truncated_ones_are_refused() {
    let shape = RingShape::new(RingKind::ConjugateInvariant, 4).unwrap();
    let basis = Basis::new(shape, &primes_below(&[34, 26, 50], shape.order(), &[]).unwrap()).unwrap();
    let mut p = Poly::<Ntt>::zero(&basis);
    let mut rng = Prg::new(&[4; 32], "packing tests", &[]);
    for (m, row) in basis.moduli().zip(p.rows_mut()) {
        row.fill_with(|| m.reduce_u64(rng.next_u64()));
    }
    let mut w = Writer::new();
    write_poly(&p, &mut w);
    let bytes = w.into_bytes();
    assert_eq!((bytes.len(), poly_bytes(&basis)), (2 * (34 + 26 + 50), bytes.len()));
    let mut r = Reader::new(&bytes);
    assert_eq!(read_poly::<Ntt>(&basis, &mut r).unwrap(), p);
    r.finish().unwrap();
    for cut in [0, 1, bytes.len() - 1] {
        let e = read_poly::<Ntt>(&basis, &mut Reader::new(&bytes[..cut])).unwrap_err();
        assert_eq!(e.fault, Fault::Truncated);
    }
}

#[test]
fn packed_polynomials_have_the_same_encoding_and_refuse_what_is_not_canonical() {
    let shape = RingShape::new(RingKind::ConjugateInvariant, 9).unwrap();
    let basis = Basis::new(shape, &primes_below(&[34, 26, 50, 43], shape.order(), &[]).unwrap()).unwrap();
    let mut rng = Prg::new(&[5; 32], "packing tests", &[]);
    let polys: Vec<Poly<Ntt>> = (0..3).map(|_| sample::uniform(&basis, &mut rng)).collect();
    let refs: Vec<_> = polys.iter().collect();
    let packed = PackedPolys::pack(&basis, &refs);
    assert_eq!((packed.count(), packed.basis()), (3, &basis));
    let bytes: Vec<Vec<u8>> = polys
        .iter()
        .map(|p| {
            let mut w = Writer::new();
            write_poly(p, &mut w);
            w.into_bytes()
        })
        .collect();
    let mut back = PackedPolys::<Ntt>::zero(&basis, 3);
    let copy = packed.clone();
    for k in 0..3 {
        for packed in [&packed, &copy] {
            let mut w = Writer::new();
            write_packed(packed, k, &mut w);
            assert_eq!(w.into_bytes(), bytes[k]);
            assert_eq!(packed.unpack(k), polys[k]);
        }
        let mut r = Reader::new(&bytes[k]);
        read_packed(&mut back, k, &mut r).unwrap();
        r.finish().unwrap();
        assert_eq!(back.unpack(k), polys[k]);
    }
    // Every row in turn, its first and its last residue too large by as little as can be.
    let mut start = 0;
    for m in basis.moduli() {
        let bits = m.bits() as usize;
        for entry in [0, 77, 511] {
            let mut bad = bytes[0].clone();
            for bit in 0..bits {
                let at = 8 * start + entry * bits + bit;
                bad[at / 8] = bad[at / 8] & !(1 << (at % 8)) | ((m.value() >> bit & 1) as u8) << (at % 8);
            }
            let e = read_packed(&mut back, 0, &mut Reader::new(&bad)).unwrap_err();
            assert_eq!(e.fault, Fault::Invalid);
        }
        start += row_bytes(m, 512);
    }
    for cut in [0, 1, bytes[0].len() - 1] {
        let e = read_packed(&mut back, 0, &mut Reader::new(&bytes[0][..cut])).unwrap_err();
        assert_eq!(e.fault, Fault::Truncated);
    }
}
