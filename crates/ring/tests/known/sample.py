"""Prints the cumulative table of the Gaussian sampler, its distance from the true distribution, and the known
answers of the sampler tests. mpmath and Python integers only; shares no code with the crate.

    python3 tests/known/sample.py
"""
from mpmath import exp, floor, log, mp, mpf

mp.prec = 400
SIGMA = mpf("3.2")
WIDE = 400

weight = [exp(-mpf(x * x) / (2 * SIGMA**2)) for x in range(WIDE)]
total = weight[0] + 2 * sum(weight[1:])
magnitude = [weight[0] / total] + [2 * w / total for w in weight[1:]]

table, c = [], mpf(0)
for p in magnitude:
    c += p
    t = int(floor(c * 2**63 + mpf(1) / 2))
    if t >= 2**63:
        break
    table.append(t)

edges = [0] + table + [2**63]
sampled = [mpf(edges[i + 1] - edges[i]) / 2**63 for i in range(len(edges) - 1)]
sampled += [mpf(0)] * (WIDE - len(sampled))
distance = sum(abs(a - b) for a, b in zip(sampled, magnitude)) / 2
print(f"// largest magnitude {len(table)}, statistical distance 2^{float(log(distance, 2)):.2f},",
      f"tail beyond it 2^{float(log(sum(magnitude[len(table) + 1:]), 2)):.2f}")
variance = sum(i * i * p for i, p in enumerate(sampled))
print(f"// variance 10.24 * (1 + {float(variance / SIGMA**2 - 1):.2e})")
for t in table:
    print(f"    {t:#018x},")


class SplitMix:
    """The byte stream of the tests: SplitMix64 draws, little-endian."""

    def __init__(self, seed):
        self.state, self.buffer = seed, b""

    def take(self, count):
        while len(self.buffer) < count:
            self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
            z = self.state
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
            self.buffer += (z ^ z >> 31).to_bytes(8, "little")
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out


def uniform(q, n, seed):
    """Consecutive groups of ceil(log2 q) bits of the stream, least significant first; those >= q are dropped."""
    stream, bits = SplitMix(seed), q.bit_length()
    pool, have, row = 0, 0, []
    while len(row) < n:
        if have < bits:
            pool |= int.from_bytes(stream.take(8), "little") << have
            have += 64
        x = pool & ((1 << bits) - 1)
        pool, have = pool >> bits, have - bits
        if x < q:
            row.append(x)
    return row


def ternary(n, seed):
    stream, out = SplitMix(seed), []
    while len(out) < n:
        b = stream.take(1)[0]
        if b < 243:
            out += [b // 3**k % 3 - 1 for k in range(5)]
    return out[:n]


def gaussian(n, seed):
    stream, out = SplitMix(seed), []
    for _ in range(n):
        u = int.from_bytes(stream.take(8), "little")
        k = sum(u >> 1 >= t for t in table)
        out.append(-k if u & 1 else k)
    return out


def digest(values):
    """sum (i + 1) v_i modulo 2^61 - 1."""
    return sum((i + 1) * v for i, v in enumerate(values)) % (2**61 - 1)


for q, n in ((17179672577, 8192), (67043329, 4096), (1125899904679937, 8192), (12289, 4096), (769, 8), (5, 1000)):
    row = uniform(q, n, 2026)
    print(f"    ({q}, {n}, {row[:4]}, {digest(row)}),")
t, g = ternary(8192, 2027), gaussian(8192, 2028)
print(t[:12], digest(t))
print(g[:12], digest(g))
