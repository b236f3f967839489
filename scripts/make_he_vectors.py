#!/usr/bin/env python3
"""Known answers for `ring` and `he`, from definitions only: Python integers, mpmath, SEAL.

    python3 scripts/make_he_vectors.py            # all
    python3 scripts/make_he_vectors.py --no-seal  # leaves crates/he/tests/vectors/seal.json as it is

Needs: mpmath, numpy, scipy (cross-checks) and tenseal (SEAL). Nothing here shares code with the Rust
crates, and no fast transform is used: transforms are evaluated point by point, RNS steps through
the integers they stand for. The formats are described in the README.md beside each set of files.
Everything but seal.json (fresh noise) is reproduced byte for byte.
"""

import argparse
import json
import pathlib

import mpmath
import numpy as np
import scipy.fft

ROOT = pathlib.Path(__file__).resolve().parent.parent
RING = ROOT / "crates" / "ring" / "tests" / "vectors"
HE = ROOT / "crates" / "he" / "tests" / "vectors"
STANDARD, CI = "standard", "conjugate-invariant"
MASK = (1 << 64) - 1


# ---------------------------------------------------------------- inputs


class SplitMix64:
    """Steele, Lea, Flood: state += 0x9e3779b97f4a7c15, then the finaliser below."""

    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def residues(self, q, count):
        return [self.next() % q for _ in range(count)]

    def reals(self, count):
        """In [-1, 1), multiples of 2^-52, exact in f64: ((x >> 11) - 2^52) / 2^52."""
        return [((self.next() >> 11) - (1 << 52)) / (1 << 52) for _ in range(count)]

    def ternary(self, count):
        return [self.next() % 3 - 1 for _ in range(count)]


assert SplitMix64(1234567).next() == 6457827717110365317  # published first output


# ---------------------------------------------------------------- number theory


def is_prime(n):
    if n < 2 or any(n % p == 0 for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37) if n != p):
        return False
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # deterministic below 3.3e24
        x = pow(a, d, n)
        if x in (0, 1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def primes(bits, order, count=1, skip=()):
    """The largest primes below 2^bits that are 1 mod order, descending."""
    out, q = [], ((1 << bits) - 1) // order * order + 1
    while len(out) < count:
        if q < 1 << bits and q not in skip and is_prime(q):
            out.append(q)
        q -= order
    return out


def order_of(ring, n):
    return 4 * n if ring == CI else 2 * n


def root(q, order):
    """psi = x^((q-1)/order) for the least quadratic non-residue x: a primitive order-th root."""
    x = 2
    while pow(x, (q - 1) // 2, q) == 1:
        x += 1
    psi = pow(x, (q - 1) // order, q)
    assert pow(psi, order // 2, q) == q - 1
    return psi


def brv(i, bits):
    return int(format(i, f"0{bits}b")[::-1], 2) if bits else 0


def exponents(ring, n):
    bits = n.bit_length() - 1
    return [(4 if ring == CI else 2) * brv(i, bits) + 1 for i in range(n)]


def evaluate(ring, n, a, q, psi):
    """f at psi^e(i) for every i, by the definition of the ring."""
    order = order_of(ring, n)
    power = [1] * order
    for k in range(1, order):
        power[k] = power[k - 1] * psi % q
    if ring == CI:
        power = [(power[k] + power[-k % order]) % q for k in range(order)]  # X^k + X^-k
    out = []
    for e in exponents(ring, n):
        first = a[0] * (1 if ring == CI else power[0])
        out.append((first + sum(a[k] * power[e * k % order] for k in range(1, n))) % q)
    return out


def to_laurent(ring, n, a):
    """The element as a polynomial in X modulo X^n+1 (standard) or X^2n+1 (CI)."""
    if ring == STANDARD:
        return list(a)
    full = [0] * (2 * n)
    full[0] = a[0]
    for i in range(1, n):
        full[i] += a[i]
        full[2 * n - i] -= a[i]  # X^-i = -X^(2n-i)
    return full


def from_laurent(ring, n, full):
    if ring == CI:
        assert full[n] == 0 and all(full[i] == -full[2 * n - i] for i in range(1, n))
    return full[:n]


def multiply(ring, n, a, b):
    """Schoolbook product over the integers."""
    fa, fb = to_laurent(ring, n, a), to_laurent(ring, n, b)
    m = len(fa)
    out = [0] * m
    for i, x in enumerate(fa):
        for j, y in enumerate(fb):
            if i + j < m:
                out[i + j] += x * y
            else:
                out[i + j - m] -= x * y
    return from_laurent(ring, n, out)


def automorphism(ring, n, a, g):
    """X -> X^g over the integers."""
    full = to_laurent(ring, n, a)
    m = len(full)
    out = [0] * m
    for i, x in enumerate(full):
        k = i * g % (2 * m)
        out[k % m] += x if k < m else -x
    return from_laurent(ring, n, out)


def gather(ring, n, g):
    """pi with NTT(sigma_g f)[i] = NTT(f)[pi(i)]."""
    e = exponents(ring, n)
    order = order_of(ring, n)
    where = {x: i for i, x in enumerate(e)}
    if ring == CI:  # the value at e and at -e is the same
        where.update({-x % order: i for i, x in enumerate(e)})
    return [where[g * x % order] for x in e]


def centred(x, q):
    """Representative in (-q/2, q/2), q odd."""
    x %= q
    return x - q if x > q // 2 else x


def crt(residues, moduli):
    q = int(np.prod([int(m) for m in moduli], dtype=object))
    return sum(r * (q // m) * pow(q // m, -1, m) for r, m in zip(residues, moduli)) % q


def product(xs):
    out = 1
    for x in xs:
        out *= x
    return out


# ---------------------------------------------------------------- (a) NTT, (c) automorphisms


def ntt_cases():
    cases = []
    for ring in (STANDARD, CI):
        for n in (16, 64, 1024):
            for bits in (26, 34, 43, 50):
                q = primes(bits, order_of(ring, n))[0]
                psi = root(q, order_of(ring, n))
                seed = (1 if ring == CI else 0) << 32 | n << 8 | bits
                rng = SplitMix64(seed)
                a, b = rng.residues(q, n), rng.residues(q, n)
                case = dict(ring=ring, n=n, bits=bits, q=q, psi=psi, seed=seed)
                if n <= 64:
                    case["input"] = a
                    case["input_b"] = b
                    case["product"] = [x % q for x in multiply(ring, n, a, b)]
                case["output"] = evaluate(ring, n, a, q, psi)
                cases.append(case)
    return cases


def automorphism_cases():
    cases = []
    for ring in (STANDARD, CI):
        for n in (16, 64, 1024):
            order = order_of(ring, n)
            q = primes(43, order)[0]
            psi = root(q, order)
            rng = SplitMix64(0xA0 << 32 | n)
            a = rng.residues(q, n)
            steps = {"5": 5, "25": 25, "5^-1": pow(5, -1, order), "5^7": pow(5, 7, order)}
            if ring == STANDARD:
                steps["-1"] = order - 1
            for name, g in steps.items():
                if n == 1024 and name not in ("5", "-1"):
                    continue
                case = dict(ring=ring, n=n, g=g, name=name, gather=gather(ring, n, g))
                if n <= 64:
                    image = [x % q for x in automorphism(ring, n, a, g)]
                    na, ni = evaluate(ring, n, a, q, psi), evaluate(ring, n, image, q, psi)
                    assert ni == [na[i] for i in case["gather"]]
                    case.update(q=q, psi=psi, input=a, image=image, input_ntt=na, image_ntt=ni)
                cases.append(case)
    return cases


# ---------------------------------------------------------------- (b) encoding


FRAC = 180  # fractional bits of the cosine table


def cosines(order):
    mpmath.mp.prec = 260
    return [int(mpmath.nint(mpmath.cos(2 * mpmath.pi * k / order) * (1 << FRAC))) for k in range(order)]


def rounded(num, bits):
    """(nearest integer to num/2^bits, distance of the fraction from one half)."""
    floor, frac = num >> bits, num & ((1 << bits) - 1)
    half = 1 << (bits - 1)
    return floor + (frac >= half), abs(frac - half) / (1 << bits)


def encoding_cases():
    cases = []
    for ring in (STANDARD, CI):
        for n in (64, 1024):
            order = order_of(ring, n)
            cos = cosines(order)
            slots = n if ring == CI else n // 2
            five = [pow(5, j, order) for j in range(slots)]
            for log_scale in (20, 33, 40):
                seed = 0xE0 << 32 | n << 8 | log_scale
                rng = SplitMix64(seed)
                re = rng.reals(slots)
                im = rng.reals(slots) if ring == STANDARD else [0.0] * slots
                zr = [int(x * (1 << 52)) for x in re]
                zi = [int(x * (1 << 52)) for x in im]
                quarter = order // 4
                coefficients, from_half = [], []
                for i in range(n):
                    # CI: (1/n) sum z_j cos(2 pi e_j i / 4n); standard: (2/n) Re sum z_j zeta^(-e_j i).
                    total = 0
                    for j in range(slots):
                        k = five[j] * i % order
                        total += zr[j] * cos[k]
                        if ring == STANDARD:
                            total += zi[j] * cos[(k - quarter) % order]  # sin
                    total <<= log_scale
                    down = FRAC + 52 + (n.bit_length() - 1) - (1 if ring == STANDARD else 0)
                    value, distance = rounded(total, down)
                    coefficients.append(value)
                    from_half.append(distance)
                check_encoding(ring, n, five, re, im, log_scale, coefficients)
                # Decode: what the rounded integers stand for, correctly rounded to f64.
                out_re, out_im = [], []
                for j in range(slots):
                    r = s = 0
                    for i in range(n):
                        k = five[j] * i % order
                        r += coefficients[i] * cos[k] * (2 if ring == CI and i else 1)
                        if ring == STANDARD:
                            s += coefficients[i] * cos[(k - quarter) % order]
                    down = mpmath.mpf(2) ** (FRAC + log_scale)
                    out_re.append(float(mpmath.mpf(r) / down))
                    out_im.append(float(mpmath.mpf(s) / down))
                case = dict(ring=ring, n=n, log_scale=log_scale, seed=seed, re=re)
                if ring == STANDARD:
                    case["im"] = im
                case.update(coefficients=coefficients,
                            near_ties=[i for i, d in enumerate(from_half) if d < 2.0 ** -20],
                            closest_to_half=min(from_half), decoded_re=out_re)
                if ring == STANDARD:
                    case["decoded_im"] = out_im
                if n == 1024:  # the generator gives them; keep the file small
                    del case["re"]
                    case.pop("im", None)
                    case.pop("decoded_im", None)
                    del case["decoded_re"]
                cases.append(case)
    return cases


def check_encoding(ring, n, five, re, im, log_scale, coefficients):
    """Cross-check with a library transform in double precision."""
    if ring == CI:
        y = np.zeros(n)
        for e, z in zip(five, re):
            y[(min(e, 4 * n - e) - 1) // 2] = z
        a = scipy.fft.dct(y, type=2) / (2 * n)
    else:
        spectrum = np.zeros(2 * n, complex)
        for e, x, y in zip(five, re, im):
            spectrum[e] = complex(x, y)
            spectrum[2 * n - e] = complex(x, -y)
        a = np.fft.fft(spectrum).real[:n] / n
    error = np.abs(a * 2.0 ** log_scale - np.array(coefficients, float)).max()
    assert error <= 0.5 + 2.0 ** (log_scale - 44), (ring, n, log_scale, error)


# ---------------------------------------------------------------- (d) RNS


def digit_lift(residues, digit):
    """Sum of y_i (D/q_i), y_i = [x (D/q_i)^-1]_{q_i} centred, as an integer, and u with
    sum = x + u D for centred x."""
    d = product(digit)
    total = sum(centred(r * pow(d // q, -1, q), q) * (d // q) for r, q in zip(residues, digit))
    x = centred(crt(residues, digit), d)
    u, zero = divmod(total - x, d)
    assert zero == 0 and abs(u) <= (len(digit) + 1) // 2
    return total, u


def columns(rows):
    return [list(c) for c in zip(*rows)]


def rns_cases():
    n = 32
    order = 4 * n  # serves both rings
    q = [primes(34, order)[0]] + [None] * 5
    p26, p33 = primes(26, order, 3), primes(33, order, 2)
    q[1], q[3], q[5] = p26
    q[2], q[4] = p33
    p = primes(39, order, 2)
    rng = SplitMix64(0xD0 << 32)

    def signed_edges(modulus):
        """Integers near 0 and near +-modulus/2, where centring goes wrong first."""
        h = modulus // 2
        return [0, 1, -1, h, -h, h - 1, 1 - h]

    lifts = []
    for digit, target in (
        ([q[0]], q[1:] + p[:1]),
        ([q[1]], [q[0]] + q[2:] + p[:1]),
        (q[0:2], q[2:] + p),
        (q[2:4], q[0:2] + q[4:] + p),
        (q[0:3], q[3:] + p),
    ):
        d = product(digit)
        xs = signed_edges(d)
        xs += [crt([rng.next() % m for m in digit], digit) for _ in range(n - len(xs))]
        rows = [[x % m for m in digit] for x in xs]
        totals = [digit_lift(r, digit) for r in rows]
        lifts.append(dict(digit=digit, target=target, input=columns(rows),
                          output=columns([[t % m for m in target] for t, _ in totals]),
                          u=[u for _, u in totals]))

    downs = []
    for keep, drop, what in (
        (q[:3], p[:1], "ModDown, one special prime"),
        (q[:6], p[:1], "ModDown, one special prime"),
        (q[:4], p[:2], "ModDown, two special primes"),
        (q[:5], q[5:6], "rescale by the last limb (26 bits)"),
        (q[:4], q[4:5], "rescale by the last limb (33 bits)"),
        (q[:1], q[1:2], "rescale to one limb"),
        (q[:3], [q[3]] + p[:1], "ModDown merged with rescale: by P*q_last"),
    ):
        every, by = keep + drop, product(drop)
        big = product(every)
        xs = signed_edges(big) + [by, -by, by // 2, by // 2 + 1, -(by // 2), -(by // 2) - 1]
        xs += [crt([rng.next() % m for m in every], every) for _ in range(n - len(xs))]
        xs = [centred(x, big) for x in xs]
        out, us = [], []
        for x in xs:
            t, u = digit_lift([x % m for m in drop], drop)
            y, zero = divmod(x - t, by)
            assert zero == 0
            exact = (2 * x + by) // (2 * by)  # round half up; no tie, by is odd
            assert y == exact - u
            out.append(y)
            us.append(u)
        downs.append(dict(what=what, keep=keep, drop=drop,
                          input=columns([[x % m for m in every] for x in xs]),
                          output=columns([[y % m for m in keep] for y in out]), u=us))
    return dict(n=n, order=order, q=q, p=p, digit_lift=lifts, mod_down=downs)


def key_switch_cases():
    """The whole key switch with zero errors in the key, in coefficient form."""
    n, order = 32, 4 * 32
    q = [primes(34, order)[0], primes(26, order)[0], primes(33, order)[0], primes(26, order, 2)[1]]
    special = primes(39, order, 2)
    cases = []
    for ring in (STANDARD, CI):
        for alpha in (1, 2):
            p = special[:alpha]
            big_p = product(p)
            qp = q + p
            rng = SplitMix64(0x5A << 32 | (ring == CI) << 8 | alpha)
            s_from, s_to = rng.ternary(n), rng.ternary(n)
            digits = [list(range(i, min(i + alpha, len(q)))) for i in range(0, len(q), alpha)]
            keys = []
            for digit in digits:
                a = [rng.residues(m, n) for m in qp]
                b = []
                for limb, m in enumerate(qp):
                    gadget = big_p % m if limb in digit else 0
                    row = multiply(ring, n, a[limb], s_to)
                    b.append([(-x + gadget * s) % m for x, s in zip(row, s_from)])
                keys.append(dict(b=b, a=a))
            for level in (len(q), 2):  # number of live limbs
                live = [i for i in range(len(qp)) if i < level or i >= len(q)]
                moduli = [qp[i] for i in live]
                c = [rng.residues(m, n) for m in q[:level]]
                acc = [[[0] * n for _ in moduli] for _ in range(2)]
                for digit, key in zip(digits, keys):
                    own = [i for i in digit if i < level]
                    if not own:
                        continue
                    total = [digit_lift([c[i][k] for i in own], [q[i] for i in own])[0] for k in range(n)]
                    for pos, (limb, m) in enumerate(zip(live, moduli)):
                        for half, part in enumerate(("b", "a")):
                            row = multiply(ring, n, [t % m for t in total], key[part][limb])
                            acc[half][pos] = [(x + y) % m for x, y in zip(acc[half][pos], row)]
                out = []
                for half in range(2):
                    rows = []
                    for k in range(n):
                        x = crt([acc[half][pos][k] for pos in range(len(moduli))], moduli)
                        t, _ = digit_lift([x % m for m in p], p)
                        y, zero = divmod(x - t, big_p)
                        assert zero == 0
                        rows.append([y % m for m in q[:level]])
                    out.append(columns(rows))
                # out_0 + out_1 s_to = c s_from up to the rounding of ModDown.
                modulus = product(q[:level])
                o = [[crt([out[h][i][k] for i in range(level)], q[:level]) for k in range(n)] for h in range(2)]
                x = [crt([c[i][k] for i in range(level)], q[:level]) for k in range(n)]
                left = [u + v for u, v in zip(o[0], multiply(ring, n, o[1], s_to))]
                right = multiply(ring, n, x, s_from)
                error = [centred(u - v, modulus) for u, v in zip(left, right)]
                # Each ModDown rounds by less than (k+1)/2; the second one meets 2n ternary terms.
                assert max(map(abs, error)) <= (alpha + 1) / 2 * (2 * n + 1), error
                cases.append(dict(ring=ring, n=n, q=q, p=p, alpha=alpha, level=level, s_from=s_from,
                                  s_to=s_to, keys=keys, input=c, output0=out[0], output1=out[1],
                                  error=error))
    return cases


# ---------------------------------------------------------------- (e) SEAL


def seal_values():
    import tenseal.sealapi as seal
    degree, sizes, scale = 8192, [50, 40, 40, 50], 2.0 ** 40
    parms = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parms.set_poly_modulus_degree(degree)
    parms.set_coeff_modulus(seal.CoeffModulus.Create(degree, sizes))
    context = seal.SEALContext(parms, True, seal.SEC_LEVEL_TYPE.TC128)
    keygen = seal.KeyGenerator(context)
    public, relin, galois = seal.PublicKey(), seal.RelinKeys(), seal.GaloisKeys()
    keygen.create_public_key(public)
    keygen.create_relin_keys(relin)
    keygen.create_galois_keys(galois)
    encoder, ev = seal.CKKSEncoder(context), seal.Evaluator(context)
    encryptor = seal.Encryptor(context, public)
    decryptor = seal.Decryptor(context, keygen.secret_key())
    slots = degree // 2
    seed = 0x5EA1
    rng = SplitMix64(seed)
    x, y = np.array(rng.reals(slots)), np.array(rng.reals(slots))

    def encrypt(v):
        plain, out = seal.Plaintext(), seal.Ciphertext()
        encoder.encode([float(t) for t in v], scale, plain)
        encryptor.encrypt(plain, out)
        return out

    def decrypt(c):
        plain = seal.Plaintext()
        decryptor.decrypt(c, plain)
        return np.array(encoder.decode_double(plain))

    def rotate(c, r):
        out = seal.Ciphertext()
        ev.rotate_vector(c, r, galois, out)
        return out

    def times(a, b):
        out = seal.Ciphertext()
        ev.multiply(a, b, out)
        ev.relinearize_inplace(out, relin)
        ev.rescale_to_next_inplace(out)
        return out

    cx, cy = encrypt(x), encrypt(y)
    results = {}

    def record(name, what, c, exact):
        got = decrypt(c)
        results[name] = dict(what=what, first=got[:64].tolist(), last=got[-4:].tolist(),
                             max_error_against_exact=float(np.abs(got - exact).max()))
        assert np.abs(got - exact).max() < 1e-4

    record("fresh", "x", cx, x)
    for r in (1, 7, 100, 4095):
        record(f"rotate_{r}", f"x rotated left by {r}", rotate(cx, r), np.roll(x, -r))
    record("add", "x + y", (lambda o: (ev.add(cx, cy, o), o)[1])(seal.Ciphertext()), x + y)
    record("multiply", "x * y, relinearised, rescaled", times(cx, cy), x * y)
    square = times(cx, cx)
    record("square", "x * x, relinearised, rescaled", square, x * x)
    record("square_rotate_5", "x * x rotated left by 5", rotate(square, 5), np.roll(x * x, -5))
    record("fourth_power", "(x * x)^2, two levels", times(square, square), x ** 4)
    plain, product_plain = seal.Plaintext(), seal.Ciphertext()
    encoder.encode([float(t) for t in y], scale, plain)
    ev.multiply_plain(cx, plain, product_plain)
    ev.rescale_to_next_inplace(product_plain)
    record("multiply_plain", "x * plaintext y, rescaled", product_plain, x * y)
    dot = times(cx, cy)
    step = slots // 2
    while step:
        ev.add_inplace(dot, rotate(dot, step))
        step //= 2
    record("dot", "sum of x * y in every slot, by 12 folds", dot, np.full(slots, float(x @ y)))
    return dict(library="Microsoft SEAL through TenSEAL", ring=STANDARD, n=degree, slots=slots,
                coeff_modulus_bits=sizes, log_scale=40, seed=seed, results=results)


# ---------------------------------------------------------------- files


def write(path, value):
    """JSON with one top-level list item or key per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dump = lambda v: json.dumps(v, separators=(",", ":"))
    if isinstance(value, list):
        text = "[\n" + ",\n".join(dump(v) for v in value) + "\n]\n"
    else:
        text = "{\n" + ",\n".join(f"{dump(k)}:{dump(v)}" for k, v in value.items()) + "\n}\n"
    path.write_text(text)
    print(f"{path.relative_to(ROOT)}: {len(text)} bytes")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--no-seal", action="store_true")
    args = ap.parse_args()
    write(RING / "ntt.json", ntt_cases())
    write(RING / "automorphism.json", automorphism_cases())
    write(RING / "rns.json", rns_cases())
    write(HE / "encoding.json", encoding_cases())
    write(HE / "key_switch.json", key_switch_cases())
    if not args.no_seal:
        write(HE / "seal.json", seal_values())


if __name__ == "__main__":
    main()
