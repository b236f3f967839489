"""Folding, range control, measurement and export of networks trained by train_quadratic.py.

A network is a list of layers (kind, name, weight, bias, (kernel, stride, padding)) in float64. Every wire that
is squared is rescaled per channel (x_j -> c_j x_j, next weights / c_j^2; the function is unchanged) so
that each channel's largest |x| over the training images, five left out, is 1 / margin. So the published bound of every
such wire and of its square is 1, and the row norm of a layer is its noise gain in units of the bounds.
"""

import numpy as np
import torch
import torch.nn.functional as F


# ---------------------------------------------------------------- folding


def folded(net):
    """The layers of a trained network with batch normalisation folded into weights."""
    layers, at = [], 0
    count = len(net.linear)
    for kind, *a in net.spec["layers"]:
        if kind == "pool":
            layers.append(["pool", "pool", None, None, (a[0], a[0], 0)])
            continue
        linear, norm = net.linear[at], net.norm[at]
        at += 1
        w = linear.weight.detach().double()
        std = (norm.running_var.double() + norm.eps).sqrt()
        if at == count:
            w = w / std
            b = linear.bias.detach().double() - w @ norm.running_mean.double()
            name = "logits"
        else:
            scale = norm.weight.detach().double() / std
            w = w * scale.view(-1, *[1] * (w.ndim - 1))
            b = norm.bias.detach().double() - scale * norm.running_mean.double()
            name = f"{kind}{at}"
        layers.append([kind, name, w.contiguous(), b, tuple(a[1:]) if kind == "conv" else None])
    return layers


def single(layers):
    """The layers in float32, as they are exported."""
    return [[k, n, None if w is None else w.float(), None if b is None else b.float(), g] for k, n, w, b, g in layers]


def run(layers, x, see=None, noise=None):
    """Logits of float32 layers. see(name, wire) is called with each linear output; noise(wire) is added to
    each linear output and to each square, in units of the wire's bound, which is 1 but for the logits."""
    for kind, name, w, b, geometry in layers:
        if kind == "pool":
            x = F.avg_pool2d(x, geometry[0])
            continue
        if kind == "conv":
            x = F.conv2d(x, w, b, geometry[1], geometry[2])
        else:
            x = F.linear(x.flatten(1), w, b)
        if see:
            see(name, x)
        if name == "logits":
            return x
        if noise:
            x = x + noise(name, x)
        x = x * x
        if noise:
            x = x + noise(name + "_square", x)
    raise AssertionError("a network ends with logits")


@torch.no_grad()
def in_batches(layers, prepare, images, see=None, size=500):
    """Logits of uint8 images."""
    images = torch.from_numpy(np.array(images))
    return torch.cat([run(layers, prepare(images[i:i + size]), see) for i in range(0, len(images), size)])


# ---------------------------------------------------------------- ranges


# Images whose values are left out of a channel's range: one freak image must not cost all others their precision.
LEFT_OUT = 5


class Wires:
    """Per wire: largest |x| of each channel in each image, and the sum of squares of each channel."""

    def __init__(self):
        self.each, self.square, self.count = {}, {}, {}

    def __call__(self, name, x):
        axes = (2, 3) if x.ndim == 4 else ()
        x = x.float()
        self.each.setdefault(name, []).append(x.abs().amax(axes) if axes else x.abs())
        self.square[name] = self.square.get(name, 0.0) + x.square().sum((0, *axes)).double()
        self.count[name] = self.count.get(name, 0) + x.numel()

    def close(self):
        self.each = {name: torch.cat(v) for name, v in self.each.items()}
        return self

    def scaled(self, name, factors):
        """To the values after each channel of a wire was multiplied."""
        self.each[name] *= factors.float()
        self.square[name] *= factors ** 2

    def top(self, name):
        """Per channel, the largest |x| over all images but LEFT_OUT."""
        return torch.topk(self.each[name], LEFT_OUT + 1, dim=0).values[-1].double()

    def max(self, name):
        return float(self.each[name].max())

    def rms(self, name):
        return float(self.square[name].sum() / self.count[name]) ** 0.5

    def outside(self, bounds):
        """Images with a value beyond a bound on some wire."""
        return int(torch.stack([v.amax(1) > bounds[name] for name, v in self.each.items()]).any(0).sum())


def normalised(layers, wires, margin):
    """The same function with every squared channel's wires.top at 1 / margin; wires follow."""
    out, before = [], None
    for kind, name, w, b, geometry in layers:
        if kind != "pool":
            if before is not None:
                # A dense layer reads each channel at every place.
                inverse = (before ** -2).repeat_interleave(w.shape[1] // len(before))
                w = w * inverse.view(1, -1, *[1] * (w.ndim - 2))
            if name != "logits":
                top = wires.top(name)
                before = 1 / (margin * top.clamp(min=0.05 * float(top.median())))
                w = w * before.view(-1, *[1] * (w.ndim - 1))
                b = b * before
                wires.scaled(name, before)
        out.append([kind, name, w, b, geometry])
    return out


# ---------------------------------------------------------------- files


def export_onnx(layers, spec, path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    nodes, weights, at, flat = [], [], "image", False
    for kind, name, w, b, geometry in layers:
        if kind == "pool":
            k = geometry[0]
            nodes.append(helper.make_node("AveragePool", [at], ["pool"], name="pool", kernel_shape=[k, k], strides=[k, k]))
            at = "pool"
            continue
        if kind == "dense" and not flat:
            nodes.append(helper.make_node("Flatten", [at], ["flat"], name="flatten", axis=1))
            at, flat = "flat", True
        names = [f"{name}.weight", f"{name}.bias"]
        weights += [numpy_helper.from_array(np.ascontiguousarray(t.numpy(), np.float32), n) for t, n in zip((w, b), names)]
        if kind == "conv":
            k, s, p = geometry
            nodes.append(helper.make_node("Conv", [at, *names], [name], name=name, kernel_shape=[k, k], strides=[s, s],
                                          pads=[p] * 4, dilations=[1, 1], group=1))
        else:
            nodes.append(helper.make_node("Gemm", [at, *names], [name], name=name, transB=1))
        at = name
        if name != "logits":
            nodes.append(helper.make_node("Mul", [name, name], [f"{name}_square"], name=f"{name}_square"))
            at = f"{name}_square"
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
    graph = helper.make_graph(nodes, spec["name"], [value("image", "N", spec["channels"], spec["side"], spec["side"])],
                              [value("logits", "N", len(spec["labels"]))], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="oblivia")
    model.ir_version = 7
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


MANIFEST = """\
# Manifest of a model: what a client must know beside the graph. Written by scripts/train_quadratic.py.

format = 1                          # version of this layout
name = "{name}"
version = "{version}"                   # of the weights; changes whenever model.onnx does
description = "{description}"
licence = "Apache-2.0 OR MIT"       # SPDX expression, of the weights
model = "model.onnx"                # file name, in the folder of this manifest

# One label per output class, in the order of the output tensor.
labels = [{labels}]

[input]
tensor = "image"                    # name of the graph's input
kind = "image"                      # only kind in format 1
width = {side}                          # pixels; an image of another size is refused, never resized
height = {side}
channels = {channels}                        # 1 = grey (8-bit luma), 3 = RGB
layout = "NCHW"                     # tensor [1, channels, height, width]
mean = [{mean}]       # one per channel, in grey levels 0..255
std = [{std}]           # one per channel: x = (pixel - mean) / std
range = [{low!r}, {high!r}]  # smallest and largest x that a pixel 0..255 can give

[output]
tensor = "logits"                   # name of the graph's output, shape [1, labels]
kind = "logits"                     # unnormalised scores; the largest wins, the first on a tie
policy = "argmax-and-logits"        # what a client may learn: "argmax" or "argmax-and-logits"

[ranges]
published = true                    # bounds depend on weights and training data, and are given to clients: a declared leak
margin = {margin}                       # bound = margin * (largest |x| over the {count} training images, the 5 largest of each channel left out)

# Bound on |x| of each tensor, by its ONNX name. "image" is exact (input.range), without margin; the wires that
# are squared are scaled so that their bound is 1. An unusual image may exceed a bound: they are no proof.
[ranges.bounds]
{bounds}
"""


def write_manifest(path, layers, spec, wires, count):
    low = min((0 - m) / s for m, s in zip(spec["mean"], spec["std"]))
    high = max((255 - m) / s for m, s in zip(spec["mean"], spec["std"]))
    up = lambda v: np.ceil(v * 1e4) / 1e4
    bounds, flat = {"image": up(max(-low, high))}, False
    for kind, name, *_ in layers:
        if kind == "dense" and not flat:
            bounds["flat"], flat = 1.0, True
        if name == "logits":
            bounds[name] = up(spec["margin"] * float(wires.top(name).max()))
        else:
            bounds[name] = 1.0
            if kind != "pool":
                bounds[f"{name}_square"] = 1.0
    listed = lambda v: ", ".join(str(float(x)) for x in v)
    path.write_text(MANIFEST.format(
        name=spec["name"], version=spec["version"], description=spec["description"],
        labels=", ".join(f'"{l}"' for l in spec["labels"]), side=spec["side"], channels=spec["channels"],
        mean=listed(spec["mean"]), std=listed(spec["std"]), low=low, high=high, margin=spec["margin"], count=count,
        bounds="\n".join(f"{k} = {v:.4f}" for k, v in bounds.items())))
    return bounds


def onnx_accuracy(path, spec, images, labels):
    """Accuracy of the exported file in onnxruntime, 500 images at a time; the first ten also one by one."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    mean = np.array(spec["mean"], np.float32).reshape(1, -1, 1, 1)
    std = np.array(spec["std"], np.float32).reshape(1, -1, 1, 1)
    x = lambda i, j: (images[i:j].astype(np.float32) - mean) / std
    out = np.concatenate([session.run(None, {"image": x(i, i + 500)})[0] for i in range(0, len(images), 500)])
    for i in range(10):
        one = session.run(None, {"image": x(i, i + 1)})[0]
        assert np.allclose(one, out[i:i + 1], atol=1e-3), "one image alone gives other logits"
    return float((out.argmax(1) == labels).mean()), out


# ---------------------------------------------------------------- noise


@torch.no_grad()
def noise_rows(layers, prepare, images, labels, logits_bound):
    """Argmax under noise: a row (bits, agreement, accuracy, rms and largest logit error / bound) for noise of
    standard deviation 2^-bits of the bound on every wire, and the growth to the logits of noise on one wire."""
    layers, generator = single(layers), torch.Generator().manual_seed(7)
    clean = in_batches(layers, prepare, images)
    shown, answers = torch.from_numpy(images), torch.from_numpy(labels)

    def noisy(std, only=None):
        add = lambda name, x: torch.randn(x.shape, generator=generator) * std if only in (None, name) else 0.0
        return torch.cat([run(layers, prepare(shown[i:i + 500]), None, add) for i in range(0, len(shown), 500)])

    rows = []
    for bits in (14, 12, 10, 9, 8):
        out = noisy(2.0 ** -bits)
        error = (out - clean) / logits_bound
        rows.append((bits, float((out.argmax(1) == clean.argmax(1)).float().mean()),
                     float((out.argmax(1) == answers).float().mean()),
                     float(error.square().mean().sqrt()), float(error.abs().max())))
    growth = {}
    for kind, name, *_ in layers:
        for wire in (name, name + "_square"):
            if kind != "pool" and name != "logits":
                error = (noisy(2.0 ** -12, wire) - clean) / logits_bound
                growth[wire] = float(error.square().mean().sqrt()) * 2 ** 12
    return rows, growth


# ---------------------------------------------------------------- all of it


def write(layers, spec, prepare, out, train, test):
    """Normalises, writes model.onnx and model.toml into `out` and returns (figures, tables for the README)."""
    images, _ = train
    on_train, on_test = Wires(), Wires()
    with torch.autocast("cpu", torch.bfloat16):
        trained = in_batches(single(layers), prepare, images, on_train).float()
    layers = normalised(layers, on_train.close(), spec["margin"])
    tested = in_batches(single(layers), prepare, test[0], on_test)
    on_test.close()
    export_onnx(layers, spec, out / "model.onnx")
    bounds = write_manifest(out / "model.toml", layers, spec, on_train, len(images))
    right, logits = onnx_accuracy(out / "model.onnx", spec, *test)
    assert np.abs(logits - tested.numpy()).max() < 1e-3 * bounds["logits"], "the exported file computes something else"
    jpeg = " (JPEG test set)" if spec["data"] == "cifar" else ""
    figures = {
        f"**10,000 test**{jpeg}, onnxruntime on the exported file": right,
        f"{len(images):,} of the training set{jpeg.replace('test', 'train')}, held-out ones included": float((trained.argmax(1).numpy() == train[1]).mean()),
        "training images outside a bound": on_train.outside(bounds),
        "test images outside a bound": on_test.outside(bounds),
        "parameters": sum(w.numel() + b.numel() for _, _, w, b, _ in layers if w is not None),
    }
    table, pooled = [], 1.0
    table.append("| wire | bound | max, training images | max, 10,000 test images | rms | bound / rms | row norm, largest | row norm, rms | gain |")
    table.append("|---|---|---|---|---|---|---|---|---|")
    before = bounds["image"]
    for kind, name, w, _, geometry in layers:
        if kind == "pool":
            pooled = 1 / geometry[0]
            continue
        norms = w.flatten(1).norm(dim=1) * (pooled if name == "logits" else 1.0)
        bound = bounds[name]
        table.append(f"| `{name}` | {bound:.4g} | {on_train.max(name):.4g} | {on_test.max(name):.4g} | {on_train.rms(name):.4g} | "
                     f"{bound / on_train.rms(name):.1f} | {norms.max():.3g} | {norms.square().mean().sqrt():.3g} | "
                     f"{float(norms.max()) * before / bound:.3g} |")
        before = 1.0
    some = [np.array(t[::10]) for t in test]
    rows, growth = noise_rows(layers, prepare, *some, bounds["logits"])
    noise = ["| noise on every wire, of its bound | argmax as without | accuracy, every tenth test image | logit error rms | largest |",
             "|---|---|---|---|---|"]
    noise += [f"| 2^-{b} | {a:.4f} | {c:.4f} | 2^{np.log2(r):.1f} | 2^{np.log2(m):.1f} |" for b, a, c, r, m in rows]
    grown = ["| noise on | growth to the logits (rms, both in units of the bound) |", "|---|---|"]
    grown += [f"| `{k}` | {v:.2f} |" for k, v in growth.items()]
    return figures, "\n".join(table), "\n".join(noise), "\n".join(grown)
