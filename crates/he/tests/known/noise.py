#!/usr/bin/env python3
"""Bits of one noise estimate, for `estimates_do_not_depend_on_the_machine` in tests/noise.rs.

Python floats are IEEE doubles and math.sqrt rounds correctly, so the same formulas in the same order must give
the same bits. Prints the double in hexadecimal.
"""
import struct
from math import sqrt

SIGMA = 3.2


def is_prime(n):
    return n > 1 and all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7, 11, 13))  # enough for these primes


def primes(bits, step, taken):
    out = []
    for b in bits:
        q = (1 << b) // step * step + 1
        while q >= 1 << b or q in taken or not is_prime(q):
            q -= step
        taken.append(q)
        out.append(q)
    return out


n = 8192
kappa = 2.0 * n
taken = []
p = primes([39], 4 * n, taken)
q = primes([34, 26, 33, 26, 33, 26], 4 * n, taken)
P = float(p[0])
scale = 2.0**33


def rss(a, b):
    return sqrt(a * a + b * b)


def rounding(s):
    return sqrt(kappa / 12.0) / s


def division(k, s, peak):
    return sqrt(kappa * float(k) / 12.0 * (1.0 + peak * (2.0 * kappa / 3.0))) / s


def key_errors(level, s, peak):
    total = 0.0
    for j in range(level):
        ratio = float(q[j]) / P
        total += 1.0 * (ratio * ratio)
    return peak * (kappa * sqrt(total * (SIGMA * SIGMA) / 12.0) / s)


# Average and worst slot: squares of the peak of s, peaks of key errors.
for secret_peak, key_peak in ((1.0, 1.0), (36.0, 12.0)):
    x = rss(SIGMA * sqrt(kappa) / scale, rounding(scale))
    x = rss(x, rss(key_errors(6, scale, key_peak), division(1, scale, secret_peak)))
    value, l1, l2, terms = 1.0, 3.0, 2.0, 25
    y = rss(x * l2, rounding(scale) * sqrt(float(terms)) * rss(value, x))
    value *= l1
    y = rss(2.0 * value * y, sqrt(3.0) * y * y)
    y = rss(y, division(1, scale, secret_peak))
    print("%#018x" % struct.unpack("<Q", struct.pack("<d", y))[0])
