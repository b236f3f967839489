#!/usr/bin/env python3
"""Known answers for exact arithmetic in `he`, from definitions only: Python integers, no packages.

    python3 scripts/make_exact_vectors.py   # writes crates/he/tests/vectors/exact.json, byte for byte the same

Nothing here shares code with the Rust crates; transforms are sums over all points, divisions act on the integers that
residues stand for. The format is described in crates/he/tests/vectors/README.md.
"""

import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "he" / "tests" / "vectors" / "exact.json"
MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, q, count):
        return [self.next() % q for _ in range(count)]


assert SplitMix64(1234567).next() == 6457827717110365317  # published first output


def is_prime(n):
    if n < 2:
        return False
    for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        if n % p == 0:
            return n == p
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        x = pow(a, d, n)
        if x in (1, n - 1):
            continue
        if all((x := x * x % n) != n - 1 for _ in range(s - 1)):
            return False
    return True


def primes(bits, order, taken):
    """The largest unused prime of each size that is 1 mod order, in this order."""
    out = []
    for b in bits:
        q = ((1 << b) - 1) // order * order + 1
        while q >= 1 << b or q in taken or q in out or not is_prime(q):
            q -= order
        out.append(q)
    return out


def centred(x, q):
    x %= q
    return x - q if x > q // 2 else x


def product(xs):
    p = 1
    for x in xs:
        p *= x
    return p


def crt(residues, moduli):
    big = product(moduli)
    return sum(r * (big // q) * pow(big // q, -1, q) for r, q in zip(residues, moduli)) % big


def root(q, order):
    """psi = x^((q-1)/order), x the least quadratic non-residue."""
    x = next(x for x in range(2, q) if pow(x, (q - 1) // 2, q) == q - 1)
    return pow(x, (q - 1) // order, q)


def slot_exponents(n):
    """Row 0: 5^j; row 1: -5^j."""
    first = [pow(5, j, 2 * n) for j in range(n // 2)]
    return first + [2 * n - e for e in first]


def encode(n, t, values):
    """Coefficients mod t, centred, of the polynomial with f(psi^e_j) = values_j: an inverse Fourier sum over all odd
    exponents, checked by evaluating it."""
    psi, exponents = root(t, 2 * n), slot_exponents(n)
    power = [pow(psi, k, t) for k in range(2 * n)]
    inverse = pow(n, -1, t)
    a = [inverse * sum(v * power[-e * i % (2 * n)] for v, e in zip(values, exponents)) % t for i in range(n)]
    for v, e in list(zip(values, exponents))[:: max(1, n // 16)]:
        assert sum(c * power[e * i % (2 * n)] for i, c in enumerate(a)) % t == v % t
    return [centred(c, t) for c in a]


def multiply(n, a, b):
    """In Z[X]/(X^n + 1)."""
    out = [0] * n
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if i + j < n:
                out[i + j] += x * y
            else:
                out[i + j - n] -= x * y
    return out


def divide(x, drop, t):
    """The integer x divided by D = product of drop so that the result is x/D modulo t: delta from the residues modulo the
    dropped primes by centred terms, u = [-delta/D]_t centred, (x - delta - D u)/D."""
    d = product(drop)
    delta = sum(centred(x % q * pow(d // q, -1, q), q) * (d // q) for q in drop)
    u = centred(-delta * pow(d, -1, t), t)
    y, zero = divmod(x - delta - d * u, d)
    assert zero == 0
    assert (y * d - x) % t == 0
    assert abs(x - y * d) <= d * (t + len(drop) + 1) // 2
    return y


def columns(rows):
    return [list(c) for c in zip(*rows)]


def encode_cases():
    cases = []
    for n, bits in ((8, 17), (64, 32), (64, 50), (256, 20)):
        t = primes([bits], 2 * n, [])[0]
        rng = SplitMix64(0xE0 << 32 | n << 8 | bits)
        values = [centred(v, t) for v in rng.below(t, n)]
        cases.append(dict(n=n, t=t, values=values, coefficients=encode(n, t, values)))
    return cases


def division_cases():
    n = 32
    q = primes([46, 44, 44], 2 * n, [])
    p = primes([49, 48], 2 * n, q)
    t = primes([32], 2 * n, q + p)[0]
    rng = SplitMix64(0xE1 << 32)
    cases = []
    for what, keep, drop in (
        ("switch", q[:2], q[2:]),
        ("switch", q[:1], q[1:2]),
        ("special", q, p[:1]),
        ("special", q, p),
        ("special", q[:1], p),
        ("merged", q[:2], q[2:] + p[:1]),
        ("merged", q[:2], q[2:] + p),
        ("merged", q[:1], q[1:2] + p),
    ):
        every = keep + drop
        d, big = product(drop), product(every)
        h = big // 2
        xs = [0, 1, -1, h, -h, d, -d, d // 2, d // 2 + 1, -(d // 2), -(d // 2) - 1, t, -t, t * d, t // 2, 1 - t]
        xs += [crt([rng.next() % m for m in every], every) for _ in range(n - len(xs))]
        ys = [divide(centred(x, big), drop, t) for x in xs]
        cases.append(dict(what=what, t=t, keep=keep, drop=drop,
                          input=columns([[x % m for m in every] for x in xs]),
                          output=columns([[y % m for m in keep] for y in ys])))
    return cases


def decrypt_cases():
    """Ciphertexts put together from their definition, and what they mean."""
    n = 64
    q = primes([46, 44, 44], 2 * n, [])
    p = primes([49], 2 * n, q)
    t = primes([32], 2 * n, q + p)[0]
    rng = SplitMix64(0xE2 << 32)
    cases = []
    # The last one decrypts only if what is cut is put back by its middle.
    for level, noise_bits, factor, cut in ((3, 3, 1, None), (3, 100, 12345, None), (2, 57, t - 1, None),
                                           (1, 12, 3, None), (1, 3, 1, [9, 3]), (1, 11, 5, [13, 0])):
        moduli = q[:level]
        big = product(moduli)
        s = [x - 1 for x in rng.below(3, n)]
        values = [centred(v, t) for v in rng.below(t, n)]
        message = encode(n, t, [factor * v for v in values])
        e = [(rng.next() << 64 | rng.next()) % (2 << noise_bits) - (1 << noise_bits) for _ in range(n)]
        phase = [m + t * x for m, x in zip(message, e)]
        assert 2 * max(map(abs, phase)) < big
        a = [crt([rng.next() % m for m in moduli], moduli) for _ in range(n)]
        c0 = [(v - x) % big for v, x in zip(phase, multiply(n, a, s))]
        rows = [columns([[x % m for m in moduli] for x in c]) for c in (c0, a)]
        case = dict(n=n, q=q, p=p, t=t, level=level, factor=factor, s=s, c0=rows[0], c1=rows[1], values=values,
                    largest=max(map(abs, phase)) / t, rms=(sum(x * x for x in phase) / n) ** 0.5 / t)
        if cut:
            inverse = pow(t, -1, big)
            reply = [[x * inverse % big >> c for x in half] for half, c in zip((c0, a), cut)]
            # m' = round(t (c0 + c1 s)/q) and m = -q m'/factor, from the reply alone.
            r0, r1 = [[(x << c) + (1 << c) // 2 for x in half] for half, c in zip(reply, cut)]
            bfv = [x + y for x, y in zip(r0, multiply(n, r1, s))]
            back = [(2 * t * (x % big) + big) // (2 * big) * -big * pow(factor, -1, t) for x in bfv]
            assert all((x - y * pow(factor, -1, t)) % t == 0 for x, y in zip(back, message))
            case.update(cut=cut, reply=reply)
        cases.append(case)
    return cases


def main():
    value = dict(encode=encode_cases(), divide=division_cases(), decrypt=decrypt_cases())
    dump = lambda v: json.dumps(v, separators=(",", ":"))
    lines = [f"{dump(k)}:[\n" + ",\n".join(map(dump, v)) + "\n]" for k, v in value.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    OUT.write_text(text)
    print(f"{OUT.name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
