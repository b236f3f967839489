#!/usr/bin/env python3
"""Writes models/resnet50-imagenet/model.onnx: ResNet-50 v1.5 (stride in the 3x3 convolutions) for 224x224 images with random
weights, to measure what a network of its size costs. It classifies nothing.

    pip install numpy onnx
    python scripts/make_resnet50.py

The file has 102 MB and is not kept in the repository. Weights follow from the seed below: normal, with the variance that
He et al. (2015) derive for ReLU; the last convolution of a branch is halved so that sums of branches stay in range. There is
no batch normalisation: it would be folded into weights and biases, which are random as they are.
"""
import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 50
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # maps inside a block, blocks
EXPANSION = 4
CLASSES = 1000
FILE = Path(__file__).resolve().parent.parent / "models" / "resnet50-imagenet" / "model.onnx"

rng = np.random.Generator(np.random.PCG64(SEED))
nodes, weights = [], []


def constant(name, shape, deviation):
    values = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
    weights.append(numpy_helper.from_array(values, name))
    return name


def node(op, name, inputs, **attributes):
    nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
    return name


def conv(name, x, inputs, outputs, size, stride=1, gain=2.0):
    parts = [
        constant(f"{name}.weight", (outputs, inputs, size, size), np.sqrt(gain / (inputs * size * size))),
        constant(f"{name}.bias", (outputs,), 0.05),
    ]
    pad = size // 2
    return node(
        "Conv", name, [x, *parts], kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4
    )


def block(name, x, inputs, maps, stride):
    outputs = EXPANSION * maps
    y = node("Relu", f"{name}.relu1", [conv(f"{name}.conv1", x, inputs, maps, 1)])
    y = node("Relu", f"{name}.relu2", [conv(f"{name}.conv2", y, maps, maps, 3, stride)])
    y = conv(f"{name}.conv3", y, maps, outputs, 1, gain=0.5)
    if inputs != outputs or stride > 1:
        x = conv(f"{name}.shortcut", x, inputs, outputs, 1, stride, gain=1.0)
    return node("Relu", f"{name}.out", [node("Add", f"{name}.add", [y, x])])


x = node("Relu", "relu", [conv("conv1", "input", 3, 64, 7, 2)])
x = node("MaxPool", "pool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
channels = 64
for stage, (maps, blocks) in enumerate(STAGES, 1):
    for i in range(blocks):
        stride = 2 if stage > 1 and i == 0 else 1
        x = block(f"layer{stage}.{i}", x, channels, maps, stride)
        channels = EXPANSION * maps
x = node("Flatten", "flat", [node("GlobalAveragePool", "mean", [x])], axis=1)
parts = [constant("fc.weight", (CLASSES, channels), np.sqrt(1 / channels)), constant("fc.bias", (CLASSES,), 0.05)]
node("Gemm", "logits", [x, *parts], transB=1)

value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
graph = helper.make_graph(
    nodes, "resnet50", [value("input", [1, 3, 224, 224])], [value("logits", [1, CLASSES])], initializer=weights
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, FILE)
print(f"{FILE}: {FILE.stat().st_size} bytes, sha256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")
