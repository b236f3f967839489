#!/usr/bin/env python3
"""Writes models/relu-64k and models/relu-2m: a ReLU of 2^16 and of 2^21 values and 64 means of them, so that little is
opened, for `oblivia bench`.

    pip install onnx
    python scripts/make_relu_models.py
"""
from pathlib import Path

import onnx
from onnx import TensorProto, helper

MANIFEST = """\
# Manifest of a model: what a client must know beside the graph. Written by scripts/make_relu_models.py.

format = 1
name = "{name}"
version = "1.0.0"
description = "ReLU of {n} values of 32 bits, to measure comparisons, and 64 means of them"
licence = "Apache-2.0 OR MIT"
model = "model.onnx"
labels = []

[input]
tensor = "x"
kind = "tensor"
range = [-1.0, 1.0]

[output]
tensor = "y"
kind = "logits"
policy = "argmax-and-logits"

[fixed_point]
published = true
bits = 32
weight_bits = 8
"""

for name, shape in (("relu-64k", [64, 32, 32]), ("relu-2m", [64, 256, 128])):
    n = shape[0] * shape[1] * shape[2]
    folder = Path(__file__).parent.parent / "models" / name
    folder.mkdir(exist_ok=True)
    value = lambda v, dims: helper.make_tensor_value_info(v, TensorProto.FLOAT, [1, *dims])
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["m"], "means"),
        helper.make_node("Flatten", ["m"], ["y"], "flat", axis=1),
    ]
    graph = helper.make_graph(nodes, name, [value("x", shape)], [value("y", [64])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    (folder / "model.toml").write_text(MANIFEST.format(name=name, n=n))
    (folder / "README.md").write_text(
        f"# {name}\n\nReLU of {n} values of 32 bits, and 64 means of them, which are local: what comparisons cost on their own.\n\n"
        f"```\noblivia bench hybrid/{name} --images 1 --runs 3\n```\n\n"
        "Made by `scripts/make_relu_models.py`.\n"
    )
