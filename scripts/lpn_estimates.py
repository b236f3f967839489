#!/usr/bin/env python3
"""Known attacks on the LPN sets of oblivia_mpc::silent: log2 of the operations of each, by formula.

A set is k unknown bits, t blocks of b = 2^d samples with one error each, N = t·b. Our sets are over GF(16): k/4 unknowns, N/4
samples with one error in each block of b/4, rows of weight 10. Formulas are for bits; they are evaluated at (k/4, t, d - 2), an
operation on elements of GF(16) counts as one on bits, and an error counts as known once its place is; which of the four bits it is
in would be one more unknown. Over GF(2) the same system has four times the unknowns and at least as many
entries in a row; there the least row of each set is three to four bits higher.

    python3 scripts/lpn_estimates.py             the table of crates/mpc/README.md
    python3 scripts/lpn_estimates.py --dense     the same for sets over GF(2) chosen for a random matrix, which are refused
    python3 scripts/lpn_estimates.py --search    with k = 2^(d+7) the most blocks that leave 129 bits in every row
    python3 scripts/lpn_estimates.py --toy       domain reduction carried out on a small set, success against formula
    python3 scripts/lpn_estimates.py --subspaces some bits of each unknown instead of some unknowns: a search, with numpy
    python3 scripts/lpn_estimates.py --checks    the lightest parity checks there may be, and what they would be worth
    python3 scripts/lpn_estimates.py --estimator algorithms of the PyPI package cryptographic_estimators on the refused, 60 s each

Rows "random matrix" see the weight of the rows as k/2, as published estimators do. Those "sparse matrix" use that it is ten.
Unless a row says otherwise a cost is in bit operations and an entry of a list costs 64.

Sources: Esser, Santini (CRYPTO 2024, ePrint 2023/1568) for regular ISD; Briaud, Øygarden (EUROCRYPT 2023, 2023/176) for the
algebraic attack; Liu, Wang, Yang, Yu (EUROCRYPT 2024, 2022/712) for ISD on primal LPN and their charge for an iteration; Chen,
Shu, Zhou (COLT 2025, arXiv 2407.19215) for the idea of domain reduction of sparse LPN; Hamdaoui, Sendrier (2013/162) for BJMM.
"""

import random
import sys
from functools import cache
from heapq import heapify, heappop, heappush
from math import comb, cosh, exp, inf, lgamma, log, log2

SETS = {
    "B8": (1 << 15, 1408, 8),
    "B9": (1 << 16, 1536, 9),
    "B10": (1 << 17, 1664, 10),
    "B11": (1 << 18, 1792, 11),
    "B12": (1 << 19, 2048, 12),
}
# Over GF(2), of emp-ot 1.0, chosen there for 128 bits on a random matrix.
DENSE = {
    "2^16, 850, 10": (1 << 16, 850, 10),
    "2^17, 1170, 11": (1 << 17, 1170, 11),
    "2^18, 1520, 12": (1 << 18, 1520, 12),
    "2^19, 1900, 13": (1 << 19, 1900, 13),
}
WEIGHT = 10
SPARSE = "sparse matrix, weight 10"
STRASSEN = 2.807
ENTRY = 6  # log2 of the bits of a list's entry that are looked at


def log_comb(n, r):
    return (lgamma(n + 1) - lgamma(r + 1) - lgamma(n - r + 1)) / log(2) if 0 <= r <= n else -inf


def log_sum(*terms):
    top = max(terms)
    return top + log2(sum(2 ** (x - top) for x in terms)) if top > -inf else -inf


def miss(t, b, positions):
    """-log2 of the probability that t errors, one in each block of b, avoid `positions` spread evenly over the blocks."""
    share = positions / (t * b)
    return inf if share >= 1 else -t * log2(1 - share)


# One error pattern in an information set of k0 samples: Perm (p = 0) and Enum of Esser and Santini.


def regular_isd(k0, t, b, algebra, entry, room=inf):
    """min over p, l of (algebra + lists) / probability that k0 + l samples have p errors, half of them in each half of the blocks.
    At most `room` samples are there. Returns (bits, p, log2 of a list)."""
    best = (algebra + miss(t, b, k0), 0, 0.0)
    for p in range(2, 17, 2):
        for l in range(1, 128):
            v = (k0 + l) / t
            if k0 + l > room or v >= b or t < 2 * p:
                break
            size = log_comb(t // 2, p // 2) + p / 2 * log2(v)
            right = log_comb(t // 2, p // 2) + log_comb(t - t // 2, p // 2)
            right += p * log2(v / b) + (t - p) * log2(1 - v / b)
            best = min(best, (log_sum(algebra, entry + size + 1, entry + 2 * size - l) - right, p, size))
    return best


# ISD for t errors anywhere, with the parities (N - t samples, k - t unknowns), charged as by Liu et al.: an iteration takes
# N·((N - k - l)·N/log(N - k - l) + lists).


def anywhere(n, k, t, l, p, lists, found):
    gauss = log2((n - k - l) * n / log2(n - k - l))
    return log2(n) + log_sum(gauss, lists) - (log_comb(n - k - l, t - p) + found - log_comb(n, t))


def sd_isd(k, t, b):
    n, k = t * b - t, k - t
    best = inf
    for p in range(0, 21, 2):
        half = log_comb((k + 60) // 2, p // 2)
        for l in {max(1, round(half + x)) for x in range(-6, 7)}:
            half = log_comb((k + l) // 2, p // 2)
            best = min(best, anywhere(n, k, t, l, p, log_sum(half + 1, 2 * half - l + 1), 2 * half))
    return best


def bjmm(k, t, b):
    """Two levels of representations; r1, r2 from the number of representations."""
    n, k = t * b - t, k - t
    best = inf
    for p2 in range(2, 9, 2):
        for e2 in range(0, p2):
            p1 = 2 * (p2 - e2)
            for e1 in range(0, p1):
                p = 2 * (p1 - e1)
                if p > 20:
                    continue
                for l in range(8, 240, 4):
                    m = k + l
                    base = log_comb(m // 2, p2 // 2)
                    mu2 = log_comb(p2, e2) + log_comb(m - p2, p2 - e2) - log_comb(m, p2)
                    mu1 = log_comb(p1, e1) + log_comb(m - p1, p1 - e1) - log_comb(m, p1)
                    r2 = min(max(0, int(mu2 + 4 * base - log_comb(m, p1))), l - 1)
                    r1 = min(max(0, int(mu1 + 2 * log_comb(m, p1) - log_comb(m, p)) - r2), l - r2 - 1)
                    c3 = 2 * base - r2
                    c2 = 2 * c3 - r1
                    s1 = min(mu2 + c2, log_comb(m, p1) - r1 - r2)
                    c1 = 2 * s1 - (l - r1 - r2)
                    s0 = min(mu1 + c1, log_comb(m, p) - l)
                    lists = log_sum(base + 3, c3 + 2, c2 + 1, c1 + 1)
                    if log_comb(n - k - l, t - p) + l + s0 < log_comb(n, t):
                        best = min(best, anywhere(n, k, t, l, p, lists, l + s0))
    return best


def statistical(k, t, b):
    """Parity checks of k + 1 samples, as by Liu et al."""
    n, k = t * b - t, k - t
    return log2(k + 1) + 2 * t * log2((n - t + 1) / (n - k - t))


# Algebraic: unknown e, equations e_i·e_j = 0 within a block, sums of blocks 1, N - k parity checks; mu samples in each of f
# blocks are guessed free of errors. Degree D suffices if of the monomials, less the equations, only the constant is left, where
# the number up to D is the sum of the first coefficients of (1 + (b-1)z)^(t-f) (1 + (b-1-mu)z)^f / (1 + z)^(N-k).


def series(t, b, f, mu, checks, degree):
    """Monomials, and monomials less equations, up to `degree`."""
    whole = [comb(t - f, i) * (b - 1) ** i for i in range(degree + 1)]
    guessed = [comb(f, i) * (b - 1 - mu) ** i for i in range(degree + 1)]
    blocks = [sum(whole[i] * guessed[j - i] for i in range(j + 1)) for j in range(degree + 1)]
    inverse = [(-1) ** j * comb(checks + j - 1, j) for j in range(degree + 1)]
    return sum(blocks), sum(blocks[i] * inverse[j - i] for j in range(degree + 1) for i in range(j + 1))


def guesses(k, t, b, degree, blocks=24):
    """For f: the least mu with which degree `degree` suffices (only the constant is left), and monomials."""
    for f in sorted({max(1, round(t * i / blocks)) for i in range(blocks + 1)}):
        low, high = 0, min(b - 2, (k - t) // f)
        if series(t, b, f, high, t * b - k, degree)[1] > 1:
            continue
        while low < high:
            mid = (low + high) // 2
            low, high = (low, mid) if series(t, b, f, mid, t * b - k, degree)[1] <= 1 else (mid + 1, high)
        yield f, low, -f * log2(1 - low / b)


def algebraic(k, t, b):
    """Briaud and Øygarden: Wiedemann on all monomials in e, rows of weight k + 1 - f·mu."""
    return min(
        (2 * log2(series(t, b, f, mu, t * b - k, d)[0]) + log2(3 * (k + 1 - f * mu)) + lost, d, f, mu)
        for d in (2, 3, 4)
        for f, mu, lost in guesses(k, t, b, d)
    )


def algebraic_strassen(k, t, b):
    """The parity checks are solved first: monomials in k' = k - t - f·mu unknowns, dense elimination."""
    cost = lambda d, g: STRASSEN * log2(sum(comb(k - t - g, j) for j in range(d + 1)))
    return min((cost(d, f * mu) + lost, d, f, mu) for d in (2, 3, 4) for f, mu, lost in guesses(k, t, b, d))


def algebraic_two_stages(k, t, b, published):
    """AGB 2.0: eliminate after a smaller guess of mu1 in each of f blocks; a further guess costs only what is left, R columns.
    Published (script of Liu et al.): first Wiedemann on all monomials in e, then 5.64·R^2.8; else both times Strassen after the
    parity checks. Degree 2."""
    best = (inf,)
    for f, mu, lost in guesses(k, t, b, 2):
        for mu1 in range(0, mu + 1):
            monomials, left = series(t, b, f, mu1, t * b - k, 2)
            unknown = k - t - f * mu1
            if unknown < 2:
                break
            if published:
                first = 2 * log2(monomials) + log2(3 * (k + 1 - f * mu1))
                then = log2(5.64) + 2.8 * log2(max(1, min(left, monomials - left)))
            else:
                first = STRASSEN * log2(comb(unknown, 2) + unknown)
                then = STRASSEN * log2(max(1, left - 1))
            best = min(best, (log_sum(first - f * log2(1 - mu1 / b), then + lost), f, mu, mu1))
    return best


# The matrix is sparse: samples whose columns all lie in a set of columns form a system of their own. It need only have `SPARE`
# samples more than columns, to tell right from wrong.

SPARE = 64


def random_columns(k, n, weight, spare=SPARE):
    """Least size of a random set of columns."""
    low, high = 1, k
    while low < high:
        mid = (low + high) // 2
        low, high = (low, mid) if n * (mid / k) ** weight >= mid + spare else (mid + 1, high)
    return low


DROPPED = (0.1, 0.03, 0.01, 0)


def choose(support, k, spare, rng, dropped):
    """Drop this share of the columns at random and then always one with the fewest samples, as long as there are `spare` samples more
    than columns. Returns the number of columns and the samples within them."""
    samples = [[] for _ in range(k)]
    for i, columns in enumerate(support):
        for c in set(columns):
            samples[c].append(i)
    left = [len(x) for x in samples]
    queue = [(0, rng.random(), c) for c in rng.sample(range(k), round(dropped * k))] + [(x, rng.random(), c) for c, x in enumerate(left)]
    heapify(queue)
    size, inside, kept = k, len(support), [True] * len(support)
    while True:
        x, _, c = heappop(queue)
        if left[c] < 0 or x not in (0, left[c]):
            continue
        if inside - left[c] < size - 1 + spare:
            return size, [i for i, keep in enumerate(kept) if keep]
        size, inside, left[c] = size - 1, inside - left[c], -1
        for i in samples[c]:
            if kept[i]:
                kept[i] = False
                for o in set(support[i]):
                    if left[o] >= 0:
                        left[o] -= 1
                        heappush(queue, (left[o], rng.random(), o))


@cache
def chosen_share(load, weight, k=1 << 12, seed=1):
    """Least share of the columns that is left. It depends on load = N/k alone; carried out on 2^12 columns."""
    rng = random.Random(seed)
    support = [rng.choices(range(k), k=weight) for _ in range(round(load * k))]
    return min(choose(support, k, 0, rng, dropped)[0] for dropped in DROPPED) / k


def least_columns(k, n, weight):
    """Size below which a random matrix is not expected to have a set of columns with as many samples (first moment)."""
    low, high = k // 100, k
    while low < high:
        mid = (low + high) // 2
        inside, a = (mid / k) ** weight, mid / n
        excess = a * log2(a / inside) + (1 - a) * log2((1 - a) / (1 - inside)) if a > inside else 0
        low, high = (low, mid) if log_comb(k, mid) >= n * excess else (mid + 1, high)
    return low


def domain_reduction(size, t, b, weight, lists):
    """Block Wiedemann, 3·weight·size^2 bit operations, solves the system or gives the checks that lists need. Any set of samples
    avoids the errors as miss() says, and those of two tries have little in common."""
    algebra = log2(3 * weight) + 2 * log2(size)
    return regular_isd(size, t, b, algebra, ENTRY, size + SPARE if lists else 0)


def algebraic_sparse(k, t, b, weight):
    """Degree 2 in the k unknowns, without parities: an equation has (1 + weight)^2 monomials, Wiedemann on k + C(k, 2)."""
    best = inf
    for mu in range(0, b // 2):
        g, pairs = t * mu, t * comb(b - mu, 2)
        if g < k and comb(k - g, 2) + (k - g) <= pairs:
            best = 2 * log2(comb(k, 2) + k) + log2(3 * (1 + weight) ** 2) + miss(t, b, g)
            break
    return best


@cache
def rows(k, t, d):
    weight = WEIGHT
    b = 1 << d
    n = t * b
    size = random_columns(k, n, weight)
    chosen = round(k * chosen_share(n / k, weight))
    return {
        "random matrix": None,
        "pooled Gauss, k^2 a try": 2 * log2(k) + miss(t, b, k - t),
        "pooled Gauss, k^2.8 a try": STRASSEN * log2(k - t) + miss(t, b, k - t),
        "regular ISD as published, (N-k)^2 a try, times N": log2(n) + regular_isd(k - t, t, b, 2 * log2(n - k + t), 0)[0],
        "regular ISD, k^2.8 a try": regular_isd(k - t, t, b, STRASSEN * log2(k - t), ENTRY)[0],
        "SD-ISD as by Liu et al.": sd_isd(k, t, b),
        "BJMM as by Liu et al.": bjmm(k, t, b),
        "statistical decoding": statistical(k, t, b),
        "algebraic, Wiedemann": algebraic(k, t, b)[0],
        "algebraic, Strassen": algebraic_strassen(k, t, b)[0],
        "algebraic, AGB 2.0": algebraic_two_stages(k, t, b, True)[0],
        "algebraic, two stages, Strassen": algebraic_two_stages(k, t, b, False)[0],
        SPARSE: None,
        "algebraic, sparse Wiedemann": algebraic_sparse(k, t, b, weight),
        "domain reduction, size^2 a try": 2 * log2(size) + miss(t, b, size),
        "domain reduction, Wiedemann": domain_reduction(size, t, b, weight, False)[0],
        "domain reduction, regular ISD": domain_reduction(size, t, b, weight, True)[0],
        "the same, columns chosen": domain_reduction(chosen, t, b, weight, True)[0],
        "bound for any choice of whole columns": domain_reduction(least_columns(k, n, weight), t, b, weight, True)[0],
    }


def symbols(k, t, d):
    """The formulas' parameters of a set over GF(16)."""
    return k // 4, t, d - 2


def net(k, t, d):
    return ((t << d) - k - t * d - 128) / (t << d)


def table(named, of=symbols):
    columns = {name: rows(*of(*s)) for name, s in named.items()}
    print("| bits |" + "".join(f" {name} |" for name in columns))
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        cells = [c[row] for c in columns.values()]
        print(f"| {row} |" + "".join(" |" if x is None else f" {x:.1f} |" for x in cells))


def times(a, b):
    """In GF(16) = GF(2)[x] / (x^4 + x + 1)."""
    product = 0
    for i in range(4):
        product ^= a << i if b >> i & 1 else 0
    for i in range(6, 3, -1):
        product ^= 0b10011 << (i - 4) if product >> i & 1 else 0
    return product


POWERS = (1, 1, 2, 2, 4, 4, 8, 8, 3, 3)  # the coefficients of a row


def toy(k=512, t=200, d=7, seed=1):
    """Domain reduction for real: choose columns, solve the system within them, believe it if 24 spare bits of samples agree."""
    rng = random.Random(seed)
    n, columns = t << d, k // 4
    secret = rng.getrandbits(k)
    # Two from each half of the columns for every power.
    support = [[rng.randrange(columns // 2) + columns // 2 * (j % 2) for j in range(WEIGHT)] for _ in range(n // 4)]
    errors = {(i << d) + rng.randrange(1 << d) for i in range(t)}
    # Bit `bit` of a product with a fixed element, as a mask of the bits of the unknown.
    functional = {p: [sum((times(p, 1 << c) >> bit & 1) << c for c in range(4)) for bit in range(4)] for p in POWERS}
    masks = [[0] * 4 for _ in support]
    for lines, s in zip(masks, support):
        for p, c in zip(POWERS, s):
            for bit in range(4):
                lines[bit] ^= functional[p][bit] << 4 * c

    def at_random():
        size = random_columns(columns, n // 4, WEIGHT, 6)
        within = set(rng.sample(range(columns), size))
        return size, [i for i, s in enumerate(support) if within.issuperset(s)]

    picks = [("random", at_random, 1000)]
    for dropped in (0.1, 0):
        name = f"chosen after {dropped:.0%} at random"
        picks.append((name, lambda dropped=dropped: choose(support, columns, 6, rng, dropped), 300))
    for name, pick, tries in picks:
        used = sizes = right = 0
        for _ in range(tries):
            size, inside = pick()
            sizes += size
            used += len(inside)
            basis = {}
            for i in inside:
                for bit, mask in enumerate(masks[i]):
                    row = mask | ((mask & secret).bit_count() + (4 * i + bit in errors) & 1) << k
                    while row and (top := (row & ~(1 << k)).bit_length()) in basis:
                        row ^= basis[top]
                    if row:
                        basis[top] = row
            right += 0 not in basis and all((r & secret).bit_count() & 1 == r >> k for r in basis.values())
        reduced, pooled = (tries * 2 ** -miss(t, 1 << d, x) for x in (4 * used / tries, k))
        print(f"k {k}, t {t}, N {n}, columns {name}: {sizes / tries:.0f} of {columns} hold {used / tries:.0f} samples of four bits")
        print(f"of {tries} tries {right} give the secret; formula: {reduced:.0f}, and {pooled:.0f} without reduction")


def subspaces():
    """An attacker may keep of each unknown x some bits only: those that functionals of a subspace U of GF(16) give, v -> Tr(u·v·x).
    Sample times u is of use if U of its every column holds u times the coefficient. Columns draw U at random, with the weights that
    cost the fewest unknown bits for as many equations; that none beats whole unknowns or nothing is found by search, not proven."""
    from collections import Counter
    from itertools import combinations

    import numpy as np

    def span(vectors):
        found = {0}
        for v in vectors:
            found |= {x ^ v for x in found}
        return frozenset(found)

    spaces = sorted({span(v) for r in range(5) for v in combinations(range(1, 16), r)}, key=lambda s: (len(s), sorted(s)))
    at = {s: i for i, s in enumerate(spaces)}
    dim = np.array([len(s).bit_length() - 1 for s in spaces])
    within = np.array([[a <= b for b in spaces] for a in spaces], float)
    # Σ over W in X of mobius[W] is the dimension of X.
    mobius = np.zeros(len(spaces))
    for i, s in enumerate(spaces):
        mobius[i] = dim[i] - sum(mobius[at[w]] for w in spaces if w < s)
    full, none = at[frozenset(range(16))], at[frozenset([0])]

    def search(coefficients, load, rng, steps):
        moved = [([at[frozenset(times(c, x) for x in s)] for s in spaces], m) for c, m in Counter(coefficients).items()]

        def excess(p):
            chance = np.log(np.maximum(within @ p, 1e-300))
            return load * (mobius @ np.exp(sum(m * chance[of] for of, m in moved))) - p @ dim

        def least(p, q):
            """The point nearest to q on the way from p, which has enough equations, that has them too."""
            low, high = 0.0, 1.0
            for _ in range(30):
                mid = (low + high) / 2
                low, high = (mid, high) if excess((1 - mid) * p + mid * q) >= 0 else (low, mid)
            return (1 - low) * p + low * q

        unit = np.eye(len(spaces))
        best = 1.0
        for start in range(len(spaces)):
            p = least(unit[full], unit[start])
            for _ in range(steps):
                i, j = rng.choice(len(spaces), p=p / p.sum()), rng.integers(len(spaces))
                q = p + (unit[j] - unit[i]) * p[i] * rng.random()
                # As few unknown bits as there may be then.
                q = least(q, q - (unit[full] - unit[none]) * q[full]) if excess(q) >= 0 else p
                p = q if q @ dim < p @ dim else p
            if p @ dim > 0.01:
                best = min(best, p @ dim / 4)
        return best

    rng = np.random.default_rng(1)
    for name, coefficients in (("as in use", POWERS), ("all 1, for comparison", (1,) * WEIGHT)):
        for load in (11, 16):
            least = search(coefficients, load, rng, 300)
            print(f"coefficients {name}, N/k {load}: {least:.3f} of the bits; whole unknowns {load ** (-1 / 9):.3f}", flush=True)
    for name, coefficients in (("as in use", POWERS), ("all 1, for comparison", (1,) * WEIGHT)):
        for load in (11, 16):
            bits, whole = (drop_least(coefficients, load, random.Random(1), parts) for parts in (True, False))
            print(f"coefficients {name}, N/k {load}, always what loses least: {bits:.3f} of the bits; whole unknowns {whole:.3f}", flush=True)


def drop_least(coefficients, load, rng, parts, k=512):
    """Carried out: from k unknowns drop always the bit (if not `parts`: the unknown) that loses the fewest equations. Sets of
    elements of GF(16) are masks of 16 bits. Returns the share of the bits that is left."""
    inverse = {c: next(x for x in range(1, 16) if times(c, x) == 1) for c in coefficients}
    kernels = [sum(1 << x for x in range(16) if not (x & h).bit_count() & 1) for h in range(1, 16)] if parts else [1]
    # For a coefficient: the useful u when an unknown keeps what it keeps of `kernels`.
    useful = {c: [sum(1 << times(inverse[c], x) for x in range(16) if m >> x & 1) for m in kernels] for c in coefficients}
    samples = [list(zip(rng.sample(range(k), WEIGHT), coefficients)) for _ in range(load * k)]
    uses = [[] for _ in range(k)]
    for i, sample in enumerate(samples):
        for c, coefficient in sample:
            uses[c].append((i, coefficient))
    dim = lambda mask: mask.bit_count().bit_length() - 1
    kept, inside = [0xFFFF] * k, [0xFFFF] * len(samples)
    bits, equations = 4 * k, 4 * len(samples)
    lost = [[sum(dim(inside[i]) - dim(inside[i] & useful[a][h]) for i, a in uses[c]) for h in range(len(kernels))] for c in range(k)]
    gone = lambda c, h: dim(kept[c]) - dim(kept[c] & kernels[h])
    moves = [(lost[c][h] / gone(c, h), rng.random(), c, h) for c in range(k) for h in range(len(kernels))]
    heapify(moves)
    while True:
        price, _, c, h = heappop(moves)
        # A price only falls, and what falls is put in again.
        if not gone(c, h) or price != lost[c][h] / gone(c, h):
            continue
        if equations - lost[c][h] < bits - gone(c, h):
            return bits / (4 * k)
        bits, equations, kept[c] = bits - gone(c, h), equations - lost[c][h], kept[c] & kernels[h]
        for i, coefficient in uses[c]:
            old, new = inside[i], inside[i] & useful[coefficient][h]
            if old == new:
                continue
            inside[i] = new
            for o, a in samples[i]:
                for g, mask in enumerate(useful[a]):
                    change = dim(old) - dim(old & mask) - dim(new) + dim(new & mask)
                    if change:
                        lost[o][g] -= change
                        if gone(o, g):
                            heappush(moves, (lost[o][g] / gone(o, g), rng.random(), o, g))


def light_checks():
    """Of w rows the combinations that vanish: the least w for which a random matrix is expected to have one (first moment), and
    -2·log2 of its bias, the samples that a distinguisher takes if all it needs are found for nothing."""

    def vanishes(w, unknowns, generating):
        """log2 of the probability that w rows of ten entries each sum up to 0; `generating`(x) = ln of the mean over characters."""
        entries = WEIGHT * w
        exponent = lambda at: unknowns * generating(exp(at)) - entries * at
        low, high = -12.0, 5.0
        for _ in range(80):
            a, b = low + (high - low) / 3, high - (high - low) / 3
            low, high = (low, b) if exponent(a) < exponent(b) else (a, high)
        return (exponent(low) + lgamma(entries + 1) - entries * log(unknowns)) / log(2)

    def lightest(n, unknowns, generating, scalars):
        w = 4
        while log_comb(n, w) + w * log2(scalars) + vanishes(w, unknowns, generating) <= 0:
            w = w * 201 // 200 + 1
        return w

    means = [sum((-1) ** (f & p).bit_count() for p in POWERS) / WEIGHT for f in range(16)]
    of_bits = [sum((-1) ** (times(p, f) >> c & 1) for p in POWERS for c in range(4)) / (4 * WEIGHT) for f in range(16)]
    # Rows times random elements; rows as they are; one bit of each row; all over GF(2). An error of four values has a product that a
    # functional sees with mean -1/15, or, for one bit, 1/2.
    random_scalars = lambda x: log((exp(x) + 15 * exp(-x / 15)) / 16)
    scalars_one = lambda x: log(sum(exp(x * m) for m in means) / 16)
    one_bit = lambda x: log(sum(exp(x * m) for m in of_bits) / 16)
    for name, (k, t, d) in SETS.items():
        unknowns, n = k // 4, t << (d - 2)
        cases = (
            ("over GF(16)", n, lightest(n, unknowns, random_scalars, 15), 16 / 15),
            ("with all scalars 1", n, lightest(n, unknowns, scalars_one, 1), 1 / 2),
            ("of one bit of each row", n, lightest(n, unknowns, one_bit, 4), 1 / 2),
            ("of as many bits over GF(2)", 4 * n, lightest(4 * n, k, lambda x: log(cosh(x)), 1), 2),
        )
        for case, n, w, loss in cases:
            print(f"{name} {case}: {w} rows, {-2 * t * log2(1 - loss * w / n):.1f} bits", flush=True)


def search():
    named = {}
    for log_k in range(15, 20):
        d = log_k - 7
        for load in range(20, 8, -1):
            s = (1 << log_k, (load << log_k) >> d, d)
            if all(x is None or x >= 129 for x in rows(*symbols(*s)).values()):
                named[f"2^{log_k}, {s[1]}, {d}, net {net(*s):.3f}"] = s
                break
    table(named)


def estimator(limit=60):
    import signal
    import warnings

    warnings.filterwarnings("ignore")
    from cryptographic_estimators.RegSDEstimator import RegSDAlgorithms as regular
    from cryptographic_estimators.RegSDEstimator import RegSDProblem
    from cryptographic_estimators.SDEstimator import SDAlgorithms as plain
    from cryptographic_estimators.SDEstimator import SDProblem

    # Their choice of the block of elimination tries N - k sizes, with numbers of N bits: forty do.
    helper = sys.modules["cryptographic_estimators.SDEstimator.sd_helper"]
    elimination = helper._gaussian_elimination_complexity
    sys.modules["cryptographic_estimators.SDEstimator.sd_algorithm"]._optimize_m4ri = lambda n, k, mem=inf: min(
        range(40), key=lambda r: elimination(n, k, r)
    )

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    access = ("free", "log", "square root", "cube root")
    for name, (k, t, d) in DENSE.items():
        problem = RegSDProblem(t << d, k, t, nsolutions=0)
        algorithms = ("RegularISDPerm", "RegularISDEnum", "RegularISDRep", "CCJ", "CCJLin")
        jobs = [(getattr(regular, a), problem, m) for a in algorithms for m in range(4)]
        problem = SDProblem(t << d, k - t, t, nsolutions=0)
        algorithms = "Prange Dumer Stern BJMMpdw MayOzerov BallCollision BothMay BJMM BJMMdw BJMMplus".split()
        jobs += [(getattr(plain, a), problem, 0) for a in algorithms]
        for algorithm, problem, m in jobs:
            signal.alarm(limit)
            try:
                found = algorithm(problem, bit_complexities=1, memory_access=m)
                result = f"{found.time_complexity():.1f}, memory {found.memory_complexity():.1f}"
            except TimeoutError:
                result = f"not in {limit} s"
            signal.alarm(0)
            print(f"{name} {algorithm.__name__}, memory access {access[m]}: {result}", flush=True)


if __name__ == "__main__":
    {
        "--dense": lambda: table(DENSE, lambda *s: s),
        "--search": search,
        "--toy": toy,
        "--subspaces": subspaces,
        "--checks": light_checks,
        "--estimator": estimator,
    }.get((sys.argv + [""])[1], lambda: table(SETS))()
