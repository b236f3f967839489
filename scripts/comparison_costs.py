#!/usr/bin/env python3
"""Bits, COTs and messages of DReLU and selection by width and radix, from the specification's leaf and merge costs and the
cheapest of all ways to cut a number into as many digits as the radix has: the table of crates/mpc/tests/shares/cost.rs."""

from fractions import Fraction
from functools import cache
from math import ceil


def leaf(bits, lowest):
    """Flips and table; the lowest digit needs no equality, that of one bit is local."""
    if lowest:
        return bits + 2**bits - 1
    return 2 if bits == 1 else bits + 2 * (2**bits - 1)


@cache
def rest(bits, digits):
    """Least leaf bits of digits above the lowest."""
    if digits == 0:
        return 0 if bits == 0 else 10**9
    return min((rest(bits - m, digits - 1) + leaf(m, False) for m in range(1, min(4, bits) + 1)), default=10**9)


def row(width, m):
    n = width - 1
    if m == 1:
        digits, leaves = n, 2 * n
    else:
        digits = 1 + ceil(Fraction(max(n - 4, 0)) / m)
        leaves = min(rest(n - a, digits - 1) + leaf(a, True) for a in range(1, min(4, n) + 1))
    levels = (digits - 1).bit_length()
    return [leaves + 6 * (digits - 1) - 2 * levels, n + 2 * (digits - 1), levels + 2]


for width in (8, 16, 20, 32, 37, 64):
    print(f"({width}, {[row(width, m) for m in (1, 2, Fraction(5, 2), 3, 4)]}),")
