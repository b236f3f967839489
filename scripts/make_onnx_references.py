#!/usr/bin/env python3
"""Record what onnxruntime answers, for the tests of the float evaluator.

    python3 scripts/make_onnx_references.py

Models from $OBLIVIA_DATA/models (by default ../shared/data/models beside the repository) and models/. Writes
crates/onnx/tests/references: uint8 inputs and float32 outputs as .npy (version 1.0, C order), references.json.
The CIFAR-sized inputs are smooth pseudo-random images, so that no image of unclear licence is shipped; for
the same models the answers to the first 20 images of cifar10/train4000_x.npy are kept without the images.
Needs numpy, onnxruntime and pillow.
"""

import csv
import hashlib
import json
import os
import pathlib

import numpy as np
import onnxruntime
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("OBLIVIA_DATA", ROOT.parent / "shared" / "data"))
OUT = ROOT / "crates" / "onnx" / "tests" / "references"
COUNT = 20

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISED = ([round(255 * m, 6) for m in IMAGENET_MEAN], [round(255 * s, 6) for s in IMAGENET_STD])
CIFAR_MODELS = [  # name, file, mean, std in grey levels
    ("resnet20", "resnet20_cifar10.onnx", *NORMALISED),
    ("resnet32", "resnet32_cifar10.onnx", *NORMALISED),
    ("resnet56", "resnet56_cifar10.onnx", *NORMALISED),
    ("resnet8", "resnet8_cifar10.onnx", [0.0] * 3, [1.0] * 3),
    ("minionn", "minionn_cifar10_relu.onnx", [0.0] * 3, [255.0] * 3),
]


# Larger models on the first images of cifar_like, every pixel repeated ENLARGED times each way and the middle cut out:
# name, file, mean, std, whether channels are blue, green, red.
ENLARGED, LARGE_COUNT = 8, 2
LARGE_MODELS = [
    ("squeezenet", "squeezenet1_0_deepcompressed.onnx", [104.0, 117.0, 123.0], [1.0] * 3, True),
    ("mobilenet", "mobilenet_v2_1.0_224_dequant.onnx", [128.0] * 3, [128.0] * 3, False),
    ("resnet18", "resnet18_imagenet.onnx", *NORMALISED, False),
]


def enlarged(pixels, side):
    """uint8 [N,3,side,side] from [N,3,32,32]."""
    large = pixels.repeat(ENLARGED, 2).repeat(ENLARGED, 3)
    at = (large.shape[2] - side) // 2
    return large[:, :, at:at + side, at:at + side]


def smooth_images(count, side=32, seed=20):
    """uint8 [count,3,side,side]: noise at four scales, added, with colour planes correlated."""
    rng = np.random.default_rng(seed)
    out = np.empty((count, 3, side, side), np.uint8)
    for i in range(count):
        total = np.zeros((3, side, side))
        for cells, weight in ((2, 1.0), (4, 0.7), (8, 0.45), (16, 0.25)):
            coarse = 0.6 * rng.normal(size=(1, cells + 1, cells + 1)) + 0.6 * rng.normal(size=(3, cells + 1, cells + 1))
            at = (np.arange(side) + 0.5) * cells / side
            lo = np.minimum(at.astype(int), cells - 1)
            f = at - lo
            rows = coarse[:, lo] * (1 - f)[None, :, None] + coarse[:, lo + 1] * f[None, :, None]
            total += weight * (rows[:, :, lo] * (1 - f) + rows[:, :, lo + 1] * f)
        contrast, level = rng.uniform(35, 75), rng.uniform(90, 165)
        out[i] = np.clip(np.rint(level + contrast * total), 0, 255).astype(np.uint8)
    return out


def answers(path, pixels, mean, std):
    """Outputs [N,K] of the model on uint8 [N,C,H,W]; (pixel - mean) / std in f64, then f32."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = (1, -1, 1, 1)
    x = ((pixels.astype(np.float64) - np.reshape(mean, shape)) / np.reshape(std, shape)).astype(np.float32)
    name = session.get_inputs()[0].name
    y = np.concatenate([session.run(None, {name: x[i:i + 1]})[0] for i in range(len(x))])
    ordered = np.sort(y, 1)
    margin = float((ordered[:, -1] - ordered[:, -2]).min() / np.abs(y).max())
    return y.astype(np.float32), session.get_inputs()[0].name, session.get_outputs()[0].name, margin


def save(name, array):
    np.save(OUT / name, np.ascontiguousarray(array))
    return name


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    digest = lambda p: hashlib.sha256(p.read_bytes()).hexdigest()
    models = []

    smooth = smooth_images(COUNT)
    save("cifar_like.inputs.npy", smooth)
    real = np.load(DATA / "cifar10" / "train4000_x.npy", mmap_mode="r")[:COUNT].transpose(0, 3, 1, 2)
    truth = np.load(DATA / "cifar10" / "train4000_y.npy")[:COUNT]
    for name, file, mean, std in CIFAR_MODELS:
        path = DATA / "models" / file
        out, source, sink, margin = answers(path, smooth, mean, std)
        cifar, _, _, cifar_margin = answers(path, real, mean, std)
        models.append({
            "name": name, "root": "data", "file": f"models/{file}", "sha256": digest(path),
            "input": source, "output": sink, "mean": mean, "std": std,
            "inputs": "cifar_like.inputs.npy", "outputs": save(f"{name}.outputs.npy", out),
            "smallest_top1_margin": margin,
            "cifar10_inputs": "cifar10/train4000_x.npy",
            "cifar10_outputs": save(f"{name}.cifar10.outputs.npy", cifar),
            "cifar10_smallest_top1_margin": cifar_margin,
        })
        print(name, "top-1 classes", sorted(set(out.argmax(1).tolist())), "margin", f"{margin:.2e}",
              "| cifar10 right", int((cifar.argmax(1) == truth).sum()), "of", COUNT, "margin", f"{cifar_margin:.2e}")

    for name, file, mean, std, bgr in LARGE_MODELS:
        path = DATA / "models" / file
        side = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape[2]
        pixels = enlarged(smooth[:LARGE_COUNT], side)
        out, source, sink, margin = answers(path, pixels[:, ::-1] if bgr else pixels, mean, std)
        models.append({
            "name": name, "root": "data", "file": f"models/{file}", "sha256": digest(path),
            "input": source, "output": sink, "mean": mean, "std": std, "bgr": bgr, "enlarged": ENLARGED, "side": side,
            "inputs": "cifar_like.inputs.npy", "outputs": save(f"{name}.outputs.npy", out),
            "smallest_top1_margin": margin,
        })
        print(name, "top-1 classes", out.argmax(1).tolist(), "margin", f"{margin:.2e}")

    folder = ROOT / "samples" / "mnist"
    with open(folder / "labels.csv", newline="") as f:
        rows = list(csv.DictReader(f))[:COUNT]
    digits = np.stack([np.asarray(Image.open(folder / r["file"])) for r in rows])[:, None]
    for name in ("mnist-cryptonets", "mnist-bm3"):
        path = ROOT / "models" / name / "model.onnx"
        out, source, sink, margin = answers(path, digits, [0.0], [255.0])
        models.append({
            "name": name, "root": "repository", "file": f"models/{name}/model.onnx", "sha256": digest(path),
            "input": source, "output": sink, "mean": [0.0], "std": [255.0],
            "inputs": save("mnist-cryptonets.inputs.npy", digits), "outputs": save(f"{name}.outputs.npy", out),
            "smallest_top1_margin": margin,
        })
        right = int((out.argmax(1) == [int(r["label"]) for r in rows]).sum())
        print(name, "right", right, "of", COUNT, "margin", f"{margin:.2e}")
    text = json.dumps({"onnxruntime": onnxruntime.__version__, "images": COUNT, "models": models}, indent=1)
    (OUT / "references.json").write_text(text + "\n")
    print(sum(p.stat().st_size for p in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
