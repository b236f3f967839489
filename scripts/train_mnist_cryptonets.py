#!/usr/bin/env python3
"""Train the CryptoNets network on MNIST and export it as ONNX.

    conv 5x5 stride 2, 5 maps, one row/column of zeros at the top and left   28x28 -> 5x13x13
    square, dense 845 -> 100, square, dense 100 -> 10

Needs: numpy, jax[cpu], optax, onnx (and onnxruntime for the final check).

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python3 scripts/train_mnist_cryptonets.py

Reads the four idx.gz files from $OBLIVIA_DATA/mnist, by default ../shared/data/mnist
beside the repository. The same seed on the same machine with the same library versions gives
the same weights. The test images are read once, after training has ended, for the number that
is reported; nothing is chosen with them.
"""

import argparse
import functools
import gzip
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("OBLIVIA_DATA", ROOT.parent / "shared" / "data")) / "mnist"
MAPS, SIDE, HIDDEN, CLASSES = 5, 13, 100, 10
FLAT = MAPS * SIDE * SIDE


def load_idx(split):
    """uint8 images [N,28,28] and int32 labels [N] of "train" or "t10k"."""
    with gzip.open(DATA / f"{split}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(DATA / f"{split}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int32)
    assert len(images) == len(labels)
    return images, labels


# ---------------------------------------------------------------- augmentation


def upsample_matrix(coarse, fine=28):
    """Cubic-spline-like smooth interpolation matrix [fine, coarse] (raised-cosine weights)."""
    at = np.linspace(0, coarse - 1, fine)
    d = np.abs(at[:, None] - np.arange(coarse)[None, :])
    return np.where(d < 1, 0.5 * (1 + np.cos(np.pi * d)), 0.0).astype(np.float32)


UP = jnp.asarray(upsample_matrix(6))
AXIS = jnp.arange(28, dtype=jnp.float32) - 13.5


def augment(key, x, strength):
    """Random rotation, scale, shear, shift and smooth displacement of x [B,28,28] in [0,1]."""
    batch = x.shape[0]
    k = jax.random.split(key, 5)
    unit = lambda kk, shape: jax.random.uniform(kk, shape, minval=-1.0, maxval=1.0)
    angle = unit(k[0], (batch,)) * (strength * np.deg2rad(12.0))
    scale = 1.0 + unit(k[1], (batch, 2)) * (strength * 0.12)
    shear = unit(k[2], (batch,)) * (strength * 0.12)
    shift = unit(k[3], (batch, 2)) * (strength * 1.6)
    bend = jax.random.normal(k[4], (2, batch, 6, 6)) * (strength * 0.7)
    bend = jnp.einsum("ip,cbpq,jq->cbij", UP, bend, UP)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    row, col = AXIS[None, :, None], AXIS[None, None, :]
    b = lambda v: v[:, None, None]
    sr = b(scale[:, 0]) * (b(cos) * row - b(sin) * col)
    sc = b(scale[:, 1]) * (b(sin) * row + (b(cos) + b(shear)) * col)
    sr = sr + b(shift[:, 0]) + bend[0] + 13.5
    sc = sc + b(shift[:, 1]) + bend[1] + 13.5
    sr, sc = jnp.clip(sr, -1.0, 28.0), jnp.clip(sc, -1.0, 28.0)
    r0, c0 = jnp.floor(sr), jnp.floor(sc)
    fr, fc = sr - r0, sc - c0
    # One zero row/column before and two after, so every tap below is inside.
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2))).reshape(batch, 31 * 31)
    base = ((r0 + 1) * 31 + (c0 + 1)).astype(jnp.int32).reshape(batch, 784)
    tap = lambda off: jnp.take_along_axis(
        padded, base + off, axis=1, mode="promise_in_bounds").reshape(batch, 28, 28)
    top = tap(0) * (1 - fc) + tap(1) * fc
    bottom = tap(31) * (1 - fc) + tap(32) * fc
    return top * (1 - fr) + bottom * fr


# ---------------------------------------------------------------- network


def patches(x):
    """x [B,28,28] -> [B,169,25], the 5x5 windows at stride 2 of the image padded top and left."""
    p = jnp.pad(x, ((0, 0), (1, 0), (1, 0)))
    cols = [p[:, a:a + 25:2, b:b + 25:2] for a in range(5) for b in range(5)]
    return jnp.stack(cols, -1).reshape(x.shape[0], SIDE * SIDE, 25)


def initial(key):
    k = jax.random.split(key, 3)
    return {
        "w0": jax.random.normal(k[0], (25, MAPS)) * 0.15, "b0": jnp.zeros(MAPS),
        "w1": jax.random.normal(k[1], (FLAT, HIDDEN)) * 0.05, "b1": jnp.zeros(HIDDEN),
        "w2": jax.random.normal(k[2], (HIDDEN, CLASSES)) * 0.1, "b2": jnp.zeros(CLASSES),
    }


def network(p, x):
    """(conv, square, dense1, square, logits); rows of w1 are channel-major as Flatten gives them."""
    u = (patches(x) @ p["w0"] + p["b0"]).transpose(0, 2, 1).reshape(x.shape[0], FLAT)
    h = u * u
    v = h @ p["w1"] + p["b1"]
    g = v * v
    return u, h, v, g, g @ p["w2"] + p["b2"]


# ---------------------------------------------------------------- training


def optimiser(lr, steps, decay):
    schedule = optax.warmup_cosine_decay_schedule(0.0, lr, min(1000, steps // 10), steps, lr * 1e-3)
    weights_only = lambda params: {k: k[0] == "w" for k in params}
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, weight_decay=decay, mask=weights_only))


def fit(params, loss_fn, images, labels, seed, epochs, batch, lr, decay, ema, report):
    """AdamW with warm-up and cosine decay; returns the exponential moving average of the weights."""
    steps_per_epoch = len(images) // batch
    opt = optimiser(lr, epochs * steps_per_epoch, decay)
    state = opt.init(params)
    average = params

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def epoch(params, state, average, order, key, images, labels):
        def step(carry, inp):
            params, state, average, key = carry
            key, sub = jax.random.split(key)
            x = images[inp].astype(jnp.float32) / 255.0
            loss, grad = jax.value_and_grad(loss_fn)(params, sub, x, labels[inp])
            update, state = opt.update(grad, state, params)
            params = optax.apply_updates(params, update)
            average = jax.tree.map(lambda a, p: ema * a + (1 - ema) * p, average, params)
            return (params, state, average, key), loss
        (params, state, average, _), losses = jax.lax.scan(
            step, (params, state, average, key), order)
        return params, state, average, losses.mean()

    average = jax.tree.map(jnp.copy, average)
    rng = np.random.default_rng(seed)
    started = time.time()
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    for e in range(epochs):
        order = rng.permutation(len(images))[:steps_per_epoch * batch].reshape(-1, batch)
        params, state, average, loss = epoch(
            params, state, average, jnp.asarray(order),
            jax.random.PRNGKey(seed * 1_000_003 + e), images, labels)
        if e % 5 == 4 or e + 1 == epochs or e == 0:
            print(f"epoch {e + 1}/{epochs} loss {float(loss):.4f} {report(average)} "
                  f"{time.time() - started:.0f}s", flush=True)
    return jax.tree.map(np.asarray, average)


def in_batches(f, params, images, size=1000):
    run = jax.jit(f)
    return [run(params, jnp.asarray(images[i:i + size]).astype(jnp.float32) / 255.0)
            for i in range(0, len(images), size)]


def accuracy(logits_fn, params, images, labels):
    out = np.concatenate([np.asarray(o) for o in in_batches(logits_fn, params, images)])
    return float((out.argmax(1) == labels).mean())


def logits_of(p, x):
    return network(p, x)[-1]


def loss_of(args):
    def loss(params, key, x, y):
        u, _, v, _, o = network(params, augment(key, x, args.augment))
        # Outliers before a square: the encrypted evaluation has one fixed precision per wire.
        kurtosis = lambda w: jnp.mean(w ** 4) / (jnp.mean(w ** 2) ** 2 + 1e-9)
        entropy = optax.softmax_cross_entropy_with_integer_labels(o, y).mean()
        return entropy + args.tame * (kurtosis(v) + kurtosis(u))
    return loss


# ---------------------------------------------------------------- ranges and export


def wires(params, images):
    """Per layer: max |x|, rms and 99.99th percentile of |x| over the images."""
    out = in_batches(network, params, images)
    stats = {}
    for i, name in enumerate(("conv", "conv_square", "dense1", "dense1_square", "logits")):
        w = np.abs(np.concatenate([np.asarray(o[i]) for o in out]))
        stats[name] = dict(max=float(w.max()), rms=float(np.sqrt(np.mean(w.astype(np.float64) ** 2))),
                           p9999=float(np.quantile(w[::7], 0.9999)))
    return stats


def normalise(params, images):
    """Use the freedom c_j of every squared unit (x_j -> c_j x_j, next weights / c_j^2), which
    leaves the function unchanged: all units of a layer get the same max |x| over the images, and
    the layer gets rms 1."""
    p = {k: np.asarray(v, np.float64) for k, v in params.items()}

    def unit_stats(index, units):
        top, square, count = np.zeros(units), 0.0, 0
        for o in in_batches(network, {k: jnp.asarray(v, jnp.float32) for k, v in p.items()}, images):
            w = np.asarray(o[index], np.float64).reshape(len(o[index]), units, -1)
            top = np.maximum(top, np.abs(w).max((0, 2)))
            square = square + (w ** 2).sum((0, 2))
            count += w.shape[0] * w.shape[2]
        return top, square / count

    for index, units, w_in, b_in, w_out in ((0, MAPS, "w0", "b0", "w1"), (2, HIDDEN, "w1", "b1", "w2")):
        top, mean_square = unit_stats(index, units)
        c = 1.0 / top
        c = c / np.sqrt(np.mean(mean_square * c * c))
        p[w_in] = p[w_in] * c
        p[b_in] = p[b_in] * c
        rows = np.repeat(c, p[w_out].shape[0] // units)
        p[w_out] = p[w_out] / (rows * rows)[:, None]
    return {k: v.astype(np.float32) for k, v in p.items()}


def export(params, path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    w = {
        "conv.weight": params["w0"].T.reshape(MAPS, 1, 5, 5), "conv.bias": params["b0"],
        "dense1.weight": params["w1"].T, "dense1.bias": params["b1"],
        "dense2.weight": params["w2"].T, "dense2.bias": params["b2"],
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], name="conv",
                         kernel_shape=[5, 5], strides=[2, 2], pads=[1, 1, 0, 0],
                         dilations=[1, 1], group=1),
        helper.make_node("Mul", ["conv", "conv"], ["conv_square"], name="conv_square"),
        helper.make_node("Flatten", ["conv_square"], ["flat"], name="flatten", axis=1),
        helper.make_node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["dense1"],
                         name="dense1", transB=1),
        helper.make_node("Mul", ["dense1", "dense1"], ["dense1_square"], name="dense1_square"),
        helper.make_node("Gemm", ["dense1_square", "dense2.weight", "dense2.bias"], ["logits"],
                         name="dense2", transB=1),
    ]
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
    graph = helper.make_graph(
        nodes, "mnist-cryptonets", [value("image", "N", 1, 28, 28)], [value("logits", "N", CLASSES)],
        [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in w.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)],
                              producer_name="oblivia")
    model.ir_version = 7
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


MANIFEST = """\
# Manifest of a model: what a client must know beside the graph. Written by scripts/train_mnist_cryptonets.py.

format = 1                          # version of this layout
name = "mnist-cryptonets"           # [a-z0-9-]+, as given on the command line
version = "{version}"                   # of the weights; changes whenever model.onnx does
description = "CryptoNets on MNIST: conv 5x5 stride 2 (5 maps), square, dense 100, square, dense 10"
licence = "Apache-2.0 OR MIT"       # SPDX expression, of the weights
model = "model.onnx"                # file name, in the folder of this manifest

# One label per output class, in the order of the output tensor.
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

[input]
tensor = "image"                    # name of the graph's input
kind = "image"                      # only kind in format 1
width = 28                          # pixels; an image of another size is refused, never resized
height = 28
channels = 1                        # 1 = grey (8-bit luma), 3 = RGB
layout = "NCHW"                     # tensor [1, channels, height, width]
mean = [0.0]                        # one per channel, in grey levels 0..255
std = [255.0]                       # one per channel: x = (pixel - mean) / std
range = [0.0, 1.0]                  # smallest and largest x that a pixel 0..255 can give

[output]
tensor = "logits"                   # name of the graph's output, shape [1, labels]
kind = "logits"                     # unnormalised scores; the largest wins, the first on a tie
policy = "argmax-and-logits"        # what a client may learn: "argmax" or "argmax-and-logits"

[ranges]
published = true                    # bounds depend on weights and training data, and are given to clients: a declared leak
margin = {margin}                        # bound = margin * (largest |x| over the {count} training images)

# Bound on |x| of each tensor, by its ONNX name. "image" is exact (input.range), without margin;
# a square has the square of its input's bound. An unusual image may exceed a bound: they are no proof.
[ranges.bounds]
{bounds}
"""


def write_manifest(path, stats, count, version, margin=1.5):
    """Bounds, rounded up to four decimals, from the wires of the whole training set."""
    up = lambda v: np.ceil(v * 1e4) / 1e4
    conv, dense1, logits = (up(margin * stats[k]["max"]) for k in ("conv", "dense1", "logits"))
    bounds = {"image": 1.0, "conv": conv, "conv_square": up(conv ** 2), "flat": up(conv ** 2),
              "dense1": dense1, "dense1_square": up(dense1 ** 2), "logits": logits}
    lines = "\n".join(f"{k} = {v:.4f}" for k, v in bounds.items())
    path.write_text(MANIFEST.format(bounds=lines, margin=margin, count=count, version=version))


def onnx_accuracy(path, images, labels):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    right = 0
    for i in range(0, len(images), 1000):
        x = images[i:i + 1000, None].astype(np.float32) / 255.0
        right += int((session.run(None, {"image": x})[0].argmax(1) == labels[i:i + 1000]).sum())
    return right / len(images)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--epochs", type=int, default=60)
    ap.add_argument("--batch", type=int, default=256)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--ema", type=float, default=0.999)
    ap.add_argument("--augment", type=float, default=0.7)
    ap.add_argument("--tame", type=float, default=1e-3)
    ap.add_argument("--held-out", type=int, default=5000, help="validation images: the last ones of the training set")
    ap.add_argument("--train-images", type=int, default=0, help="use only this many (quick trials)")
    ap.add_argument("--version", default="1.0.0", help="version written to the manifest")
    ap.add_argument("--trial", action="store_true", help="validation accuracy only; never opens the test set")
    ap.add_argument("--out", type=pathlib.Path, default=ROOT / "models" / "mnist-cryptonets" / "model.onnx")
    args = ap.parse_args()
    print(" ".join(sys.argv[1:]), flush=True)

    images, labels = load_idx("train")
    cut = len(images) - args.held_out
    val_x, val_y = images[cut:], labels[cut:]
    train_x, train_y = images[:cut], labels[:cut]
    if args.train_images:
        train_x, train_y = train_x[:args.train_images], train_y[:args.train_images]

    params = fit(
        initial(jax.random.PRNGKey(args.seed)), loss_of(args), train_x, train_y, args.seed,
        args.epochs, args.batch, args.lr, args.decay, args.ema,
        lambda p: f"val {accuracy(logits_of, p, val_x, val_y):.4f}")
    params = normalise(params, images)
    result = {
        "train": accuracy(logits_of, params, train_x, train_y),
        "validation": accuracy(logits_of, params, val_x, val_y),
        "wires over the training set": wires(params, images),
        "largest |weight|": {k: float(np.abs(v).max()) for k, v in params.items()},
    }
    if not args.trial:
        export(params, args.out)
        write_manifest(args.out.with_name("model.toml"), result["wires over the training set"],
                       len(images), args.version)
        test_x, test_y = load_idx("t10k")
        result["test (onnxruntime on the exported file)"] = onnx_accuracy(args.out, test_x, test_y)
        result["train (onnxruntime on the exported file)"] = onnx_accuracy(args.out, train_x, train_y)
    print(json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
