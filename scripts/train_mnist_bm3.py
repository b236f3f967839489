#!/usr/bin/env python3
"""Train the MiniONN network for MNIST ("BM3") and export it as ONNX.

    conv 5x5 (16 maps)   28x28 -> 16x24x24, ReLU, max-pool 2x2 -> 16x12x12
    conv 5x5 (16 maps)         -> 16x8x8,   ReLU, max-pool 2x2 -> 16x4x4
    dense 256 -> 100, ReLU, dense 100 -> 10

Needs: numpy, jax[cpu], optax, onnx (and onnxruntime for the final check).

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python3 scripts/train_mnist_bm3.py

Reads the four idx.gz files from $OBLIVIA_DATA/mnist, by default ../shared/data/mnist beside the repository. Data,
augmentation, optimiser and loop are those of train_mnist_cryptonets.py. The same seed on the same machine with the
same library versions gives the same weights. The test images are read once, after training has ended, for the number
that is reported; nothing is chosen with them.
"""

import argparse
import json
import pathlib

import train_mnist_cryptonets as mnist

import jax
import jax.numpy as jnp
import numpy as np
import optax

MAPS, HIDDEN, CLASSES = 16, 100, 10
FLAT = MAPS * 4 * 4
NAME = "mnist-bm3"
WIRES = ("conv1", "conv2", "dense1", "logits")


def initial(key):
    k = jax.random.split(key, 4)
    normal = lambda key, fan, *shape: jax.random.normal(key, shape) * np.sqrt(2.0 / fan)
    return {
        "w0": normal(k[0], 25, MAPS, 1, 5, 5), "b0": jnp.zeros(MAPS),
        "w1": normal(k[1], 25 * MAPS, MAPS, MAPS, 5, 5), "b1": jnp.zeros(MAPS),
        "w2": normal(k[2], FLAT, FLAT, HIDDEN), "b2": jnp.zeros(HIDDEN),
        "w3": normal(k[3], HIDDEN, HIDDEN, CLASSES), "b3": jnp.zeros(CLASSES),
    }


def conv(x, w, b):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID") + b[None, :, None, None]


def max_pool(x):
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))


def network(p, x):
    """The outputs of the four linear layers for x [B,28,28]."""
    u = conv(x[:, None], p["w0"], p["b0"])
    v = conv(max_pool(jax.nn.relu(u)), p["w1"], p["b1"])
    h = max_pool(jax.nn.relu(v)).reshape(x.shape[0], FLAT) @ p["w2"] + p["b2"]
    return u, v, h, jax.nn.relu(h) @ p["w3"] + p["b3"]


def logits_of(p, x):
    return network(p, x)[-1]


def loss_of(args):
    def loss(params, key, x, y):
        logits = logits_of(params, mnist.augment(key, x, args.augment))
        smooth = optax.smooth_labels(jax.nn.one_hot(y, CLASSES), args.smooth)
        return optax.softmax_cross_entropy(logits, smooth).mean()
    return loss


def ranges(params, images):
    """Largest |x|, rms and 99.99th percentile of |x| of each linear layer's outputs over the images."""
    tops, squares, counts, samples = [0.0] * 4, [0.0] * 4, [0] * 4, [[] for _ in range(4)]
    for out in mnist.in_batches(network, params, images):
        for i, wire in enumerate(np.abs(np.asarray(o)).reshape(-1) for o in out):
            tops[i] = max(tops[i], float(wire.max()))
            squares[i] += float((wire.astype(np.float64) ** 2).sum())
            counts[i] += wire.size
            samples[i].append(wire[::97])
    return {name: dict(max=tops[i], rms=float(np.sqrt(squares[i] / counts[i])),
                       p9999=float(np.quantile(np.concatenate(samples[i]), 0.9999)))
            for i, name in enumerate(WIRES)}


def export(params, path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    w = {
        "conv1.weight": params["w0"], "conv1.bias": params["b0"],
        "conv2.weight": params["w1"], "conv2.bias": params["b1"],
        "dense1.weight": params["w2"].T, "dense1.bias": params["b2"],
        "dense2.weight": params["w3"].T, "dense2.bias": params["b3"],
    }
    node = helper.make_node
    pool = dict(kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    window = dict(kernel_shape=[5, 5], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1)
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], name="conv1", **window),
        node("Relu", ["conv1"], ["relu1"], name="relu1"),
        node("MaxPool", ["relu1"], ["pool1"], name="pool1", **pool),
        node("Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"], name="conv2", **window),
        node("Relu", ["conv2"], ["relu2"], name="relu2"),
        node("MaxPool", ["relu2"], ["pool2"], name="pool2", **pool),
        node("Flatten", ["pool2"], ["flat"], name="flatten", axis=1),
        node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["dense1"], name="dense1", transB=1),
        node("Relu", ["dense1"], ["relu3"], name="relu3"),
        node("Gemm", ["relu3", "dense2.weight", "dense2.bias"], ["logits"], name="dense2", transB=1),
    ]
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
    graph = helper.make_graph(
        nodes, NAME, [value("image", "N", 1, 28, 28)], [value("logits", "N", CLASSES)],
        [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in w.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="oblivia")
    model.ir_version = 7
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def read_weights(path):
    """The parameters of an exported model."""
    import onnx
    from onnx import numpy_helper
    w = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    return {
        "w0": w["conv1.weight"], "b0": w["conv1.bias"], "w1": w["conv2.weight"], "b1": w["conv2.bias"],
        "w2": w["dense1.weight"].T, "b2": w["dense1.bias"], "w3": w["dense2.weight"].T, "b3": w["dense2.bias"],
    }


MANIFEST = """\
# Manifest of a model: what a client must know beside the graph. Written by scripts/train_mnist_bm3.py.

format = 1                          # version of this layout
name = "mnist-bm3"                  # [a-z0-9-]+, as given on the command line
version = "{version}"                   # of the weights; changes whenever model.onnx does
description = "MiniONN on MNIST: conv 5x5 (16 maps), ReLU, max-pool, conv 5x5 (16 maps), ReLU, max-pool, dense 100, ReLU, dense 10"
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

# Bound on |x| of each tensor, by its ONNX name. "image" is exact (input.range), without margin.
# An unusual image may exceed a bound: they are no proof.
[ranges.bounds]
image = 1.0000
{bounds}
"""

README = """\
# mnist-bm3

The network of MiniONN for MNIST (benchmark 3 of the two-party literature), {parameters:,} parameters. `model.onnx` (opset 13, f32: Conv, Relu,
MaxPool, Flatten, Gemm), its manifest `model.toml` and this file are written by `scripts/train_mnist_bm3.py`.

| tensor | shape | made by |
|---|---|---|
| `image` | N,1,28,28 | pixel / 255 |
| `conv1`, `relu1`, `pool1` | N,16,24,24; N,16,12,12 | convolution 5x5, bias; ReLU; maximum over 2x2 |
| `conv2`, `relu2`, `pool2` | N,16,8,8; N,16,4,4 | convolution 5x5, bias; ReLU; maximum over 2x2 |
| `flat` | N,256 | flattened channel by channel |
| `dense1`, `relu3` | N,100 | `flat` times `dense1.weight` [100,256] transposed, bias; ReLU |
| `logits` | N,10 | `relu3` times `dense2.weight` [10,100] transposed, bias |

## Accuracy (version {version})

| images | accuracy |
|---|---|
| {trained:,} trained on | {train:.4f} |
| {held_out:,} validation (the last of the training set) | {validation:.4f} |
| **10,000 test**, onnxruntime on the exported file | **{test:.4f}** |

First 1,000 test images: {first} right.

## Recipe

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python3 scripts/train_mnist_bm3.py

Seed {seed}, one core, {minutes:.0f} minutes of wall time at low priority on a machine busy with other work. {epochs} epochs of {batch}, AdamW (peak {lr}, linear warm-up, cosine
decay; decoupled weight decay {decay} on weights), gradient norm clipped at 1, average of weights at {ema} per step, labels smoothed by {smooth}.
Images are rotated, scaled, sheared, shifted and bent at random as for `mnist-cryptonets`, at strength {augment}. Nothing was chosen with
the test images. Libraries: {versions}.

## Range of each wire

Over the {count:,} training images, before the margin of {margin} in `model.toml`:

| tensor | max abs | rms | 99.99th percentile (of every 97th value) |
|---|---|---|---|
{table}
"""


def write_texts(folder, args, result, stats, count, margin=1.5):
    up = lambda v: np.ceil(v * 1e4) / 1e4
    bound = {k: up(margin * v["max"]) for k, v in stats.items()}
    after = {"conv1": ("relu1", "pool1"), "conv2": ("relu2", "pool2", "flat"), "dense1": ("relu3",), "logits": ()}
    lines = [f"{k} = {bound[wire]:.4f}" for wire in WIRES for k in (wire, *after[wire])]
    (folder / "model.toml").write_text(
        MANIFEST.format(bounds="\n".join(lines), margin=margin, count=count, version=args.version))
    table = [f"| `{k}` | {v['max']:.4g} | {v['rms']:.4g} | {v['p9999']:.4g} |" for k, v in stats.items()]
    figures = {k: v for k, v in result.items() if k != "ranges"}
    (folder / "README.md").write_text(README.format(
        table="\n".join(table), margin=margin, count=count, version=args.version, trained=count - args.held_out,
        held_out=args.held_out, seed=args.seed, epochs=args.epochs, batch=args.batch, lr=args.lr, decay=args.decay,
        ema=args.ema, smooth=args.smooth, augment=args.augment, **figures))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--epochs", type=int, default=12)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--decay", type=float, default=0.05)
    ap.add_argument("--ema", type=float, default=0.999)
    ap.add_argument("--augment", type=float, default=0.7)
    ap.add_argument("--smooth", type=float, default=0.05)
    ap.add_argument("--held-out", type=int, default=5000, help="validation images: the last ones of the training set")
    ap.add_argument("--train-images", type=int, default=0, help="use only this many (quick trials)")
    ap.add_argument("--version", default="1.0.0", help="version written to the manifest")
    ap.add_argument("--trial", action="store_true", help="validation accuracy only; never opens the test set")
    ap.add_argument("--finish", type=float, metavar="MINUTES", help="do not train: measure the exported model, and "
                    "write manifest and README with this training time")
    ap.add_argument("--out", type=pathlib.Path, default=mnist.ROOT / "models" / NAME)
    args = ap.parse_args()
    started = mnist.time.time()

    images, labels = mnist.load_idx("train")
    cut = len(images) - args.held_out
    val_x, val_y = images[cut:], labels[cut:]
    train_x, train_y = images[:cut], labels[:cut]
    if args.train_images:
        train_x, train_y = train_x[:args.train_images], train_y[:args.train_images]
    path = args.out / "model.onnx"
    params = read_weights(path) if args.finish else mnist.fit(
        initial(jax.random.PRNGKey(args.seed)), loss_of(args), train_x, train_y, args.seed,
        args.epochs, args.batch, args.lr, args.decay, args.ema,
        lambda p: f"val {mnist.accuracy(logits_of, p, val_x, val_y):.4f}")
    result = {
        "minutes": args.finish or max((mnist.time.time() - started) / 60, 1),
        "train": mnist.accuracy(logits_of, params, train_x, train_y),
        "validation": mnist.accuracy(logits_of, params, val_x, val_y),
        "parameters": sum(v.size for v in params.values()),
    }
    if not args.trial:
        import onnx
        import onnxruntime
        if not args.finish:
            export(params, path)
        test_x, test_y = mnist.load_idx("t10k")
        result["test"] = mnist.onnx_accuracy(path, test_x, test_y)
        result["first"] = round(1000 * mnist.onnx_accuracy(path, test_x[:1000], test_y[:1000]))
        result["versions"] = ", ".join(f"{m.__name__} {m.__version__}" for m in (jax, optax, np, onnx, onnxruntime))
        write_texts(args.out, args, result, ranges(params, images), len(images))
    print(json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
