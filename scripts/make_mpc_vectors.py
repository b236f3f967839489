#!/usr/bin/env python3
"""Known answers for the kernels of `mpc`, from definitions only: Python integers, no packages.

    python3 scripts/make_mpc_vectors.py   # writes crates/mpc/tests/vectors/kernels.json, byte for byte the same

AES is written out from FIPS 197 and checked against its appendix C.1 before anything is made. Blocks are hexadecimal
integers; byte i of a block of AES is bits 8i ... 8i+7. The fields are those of the functions of `kernel/mod.rs`.
"""

import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "mpc" / "tests" / "vectors" / "kernels.json"
M64 = (1 << 64) - 1
M128 = (1 << 128) - 1


def xtime(a):
    return ((a << 1) ^ (0x11B if a & 0x80 else 0)) & 0xFF


def gmul(a, b):
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a, b = xtime(a), b >> 1
    return out


def sbox_entry(a):
    inverse = next((b for b in range(256) if gmul(a, b) == 1), 0)
    return inverse ^ 0x63 ^ sum_rotations(inverse)


def sum_rotations(v):
    out = 0
    for r in range(1, 5):
        out ^= ((v << r) | (v >> (8 - r))) & 0xFF
    return out


SBOX = [sbox_entry(a) for a in range(256)]


def key_schedule(key):
    words = [list(key[4 * i : 4 * i + 4]) for i in range(4)]
    constant = 1
    for i in range(4, 44):
        word = list(words[-1])
        if i % 4 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = xtime(constant)
        words.append([a ^ b for a, b in zip(word, words[i - 4])])
    return [sum(words[4 * r : 4 * r + 4], []) for r in range(11)]


class Aes:
    def __init__(self, key):
        self.keys = key_schedule(key)

    def __call__(self, block):
        s = [a ^ b for a, b in zip(block.to_bytes(16, "little"), self.keys[0])]
        for r in range(1, 11):
            s = [SBOX[b] for b in s]
            s = [s[(i + 4 * (i % 4)) % 16] for i in range(16)]
            if r < 10:
                mixed = []
                for c in range(4):
                    col = s[4 * c : 4 * c + 4]
                    for i in range(4):
                        a, b, d, e = (col[(i + k) % 4] for k in range(4))
                        mixed.append(xtime(a) ^ xtime(b) ^ b ^ d ^ e)
                s = mixed
            s = [a ^ b for a, b in zip(s, self.keys[r])]
        return int.from_bytes(bytes(s), "little")


class SplitMix64:
    def __init__(self, seed):
        self.state = seed & M64

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & M64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        return z ^ (z >> 31)

    def block(self):
        return self.next() | self.next() << 64

    def blocks(self, n):
        return [self.block() for _ in range(n)]


def field_mul(a, b):
    out = 0
    for i in range(128):
        if b >> i & 1:
            out ^= a << i
    for i in range(255, 127, -1):
        if out >> i & 1:
            out ^= 0x100000000000000000000000000000087 << (i - 128)
    return out


def sigma(x):
    left, right = x >> 64, x & M64
    return (left ^ right) << 64 | left


def tccr(aes, x, tweak):
    y = aes(x)
    return aes(y ^ tweak) ^ y


def mmo(aes, x):
    return aes(x) ^ x


def grow(aes, nodes, mask):
    half = len(nodes) // 2
    left = [aes(sigma(p)) ^ sigma(p) for p in nodes[:half]]
    right = [p ^ c for p, c in zip(nodes, left)]
    total = 0
    for c in left:
        total ^= c
    return [v & mask for v in left + right], total


def times16(a, b):
    """In GF(16) = GF(2)[x] / (x^4 + x + 1)."""
    product = 0
    for i in range(4):
        product ^= a << i if b >> i & 1 else 0
    for i in range(6, 3, -1):
        product ^= 0b10011 << (i - 4) if product >> i & 1 else 0
    return product


class Large:
    """The table of 2^17 lines with block i = (i + 1)·0x9e3779b97f4a7c15f39cc0605cedc835 mod 2^128."""

    def __len__(self):
        return 4 << 17

    def __getitem__(self, blocks):
        return [(i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 & M128 for i in range(blocks.start, blocks.stop)]


def lpn(aes, nonce, mask, table, out):
    elements = lambda line: [sum((v >> bit & 1) << c for c, v in enumerate(line)) for bit in range(128)]
    result = []
    for r in range(-(-len(out) // 4)):
        sums = elements([v & mask for v in out[4 * r : 4 * r + 4]])
        for j, power in enumerate((1, 2, 4, 8, 3)):
            for half in range(2):
                word = 10 * (r % 8) + 2 * j + half
                block = aes(nonce << 64 | 12 * (r // 8) + word // 8)
                line = (block >> 16 * (word % 8) & 0xFFFF) % (len(table) // 8) + half * len(table) // 8
                sums = [s ^ times16(power, e) for s, e in zip(sums, elements(table[4 * line : 4 * line + 4]))]
        result += [sum((s >> c & 1) << bit for bit, s in enumerate(sums)) for c in range(4)]
    return result[: len(out)]


def text(v):
    return [text(x) for x in v] if isinstance(v, list) else f"{v:x}"


def main():
    plain = int.from_bytes(bytes.fromhex("00112233445566778899aabbccddeeff"), "little")
    cipher = int.from_bytes(bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a"), "little")
    assert Aes(bytes(range(16)))(plain) == cipher, "FIPS 197, C.1"
    rng = SplitMix64(1)
    key = rng.block()
    aes = Aes(key.to_bytes(16, "little"))
    tweak = rng.block() & ~(1 << 63)
    inputs = rng.blocks(70)
    tree = rng.blocks(64)
    table = rng.blocks(128)
    mask = M128 ^ 1
    nonce = rng.next()
    grown, total = grow(aes, tree, mask)
    products = [[a, b, field_mul(a, b)] for a, b in zip(rng.blocks(20), rng.blocks(20))]
    vectors = {
        "key": key,
        "tweak": tweak,
        "inputs": inputs,
        "counter": [aes(nonce << 64 | 5 + i) for i in range(70)],
        "tccr": [tccr(aes, x, tweak + i) for i, x in enumerate(inputs)],
        "tccr_of_groups": [tccr(aes, x ^ key, tweak + 3 * i) for i, x in enumerate(inputs)],
        "mmo": [mmo(aes, x ^ tweak) for x in inputs],
        "tree": tree,
        "grown": grown,
        "left_sum": total,
        "nonce": nonce,
        "table": table,
        "lpn": lpn(aes, nonce, mask, table, inputs),
        "lpn_of_a_large_table": lpn(aes, nonce, M128, Large(), inputs),
        "products": products,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'  "{k}": {json.dumps(text(v))}' for k, v in vectors.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
