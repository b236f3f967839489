"""Prints the known answers of the transform tests. Python integers only: values of the polynomial at the roots
of unity by Horner's rule, primality by sympy.

    python3 tests/known/generate.py > tests/known/mod.rs && cargo fmt -p oblivia-ring
"""
from sympy import isprime


def prime_below(bits, step, taken):
    q = (1 << bits) // step * step + 1
    while q >= (1 << bits) or q in taken or not isprime(q):
        q -= step
    return q


def brv(i, bits):
    return int(format(i, f"0{bits}b")[::-1], 2)


def psi(q, order):
    x = 2
    while pow(x, (q - 1) // 2, q) == 1:
        x += 1
    return pow(x, (q - 1) // order, q)


def horner(a, x, q):
    v = 0
    for c in reversed(a):
        v = (v * x + c) % q
    return v


def case(kind, log_n, bits):
    n = 1 << log_n
    order = (4 if kind == "ConjugateInvariant" else 2) * n
    q = prime_below(bits, order, [])
    w = psi(q, order)
    a = [(i * i * 2654435761 + 12345 * i + 7) % q for i in range(n)]
    out = []
    for i in (0, 1, 2, 3, n // 2 - 1, n // 2, n - 2, n - 1):
        if kind == "Standard":
            x = pow(w, 2 * brv(i, log_n) + 1, q)
            v = horner(a, x, q)
        else:
            x = pow(w, 4 * brv(i, log_n) + 1, q)
            v = (horner(a, x, q) + horner(a, pow(x, -1, q), q) - a[0]) % q
        out.append((i, v))
    body = ", ".join(f"({i}, {v})" for i, v in out)
    return f"    (RingKind::{kind}, {log_n}, {q}, {w}, &[{body}]),"


print("//! Known answers, printed by generate.py.")
print()
print("use oblivia_ring::RingKind;")
print()
print("/// (bits, prime): drawn in this order, 1 modulo 32768, each below 2^bits and not drawn before.")
taken = []
for b in (34, 26, 33, 26, 33, 26, 39, 50, 50, 26):
    taken.append((b, prime_below(b, 32768, [q for _, q in taken])))
print(f"pub(crate) const PRIMES: &[(u32, u64)] = &{taken};")
print()
print("type Transform = (RingKind, u32, u64, u64, &'static [(usize, u64)]);")
print()
print("/// (kind, log n, q, psi, [(i, value at output i)]) for a_i = (2654435761 i^2 + 12345 i + 7) mod q.")
print("pub(crate) const TRANSFORMS: &[Transform] = &[")
for kind in ("Standard", "ConjugateInvariant"):
    for log_n, bits in ((3, 20), (4, 50), (6, 26), (10, 43), (13, 50), (13, 26), (14, 34)):
        print(case(kind, log_n, bits))
print("];")
