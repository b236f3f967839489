#!/usr/bin/env python3
"""Writes models/relu-64k and models/relu-2m: one ReLU of 2^16 and of 2^21 values, for `oblivia bench`.

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
description = "One ReLU of {n} values of 32 bits, to measure comparisons"
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

for name, n in (("relu-64k", 1 << 16), ("relu-2m", 1 << 21)):
    folder = Path(__file__).parent.parent / "models" / name
    folder.mkdir(exist_ok=True)
    value = lambda v: helper.make_tensor_value_info(v, TensorProto.FLOAT, [1, n])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], name, [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    (folder / "model.toml").write_text(MANIFEST.format(name=name, n=n))
    (folder / "README.md").write_text(
        f"# {name}\n\nOne ReLU of {n} values of 32 bits: what comparisons cost on their own.\n\n"
        f"```\noblivia bench hybrid/{name} --images 1 --runs 3\n```\n\n"
        "Made by `scripts/make_relu_models.py`.\n"
    )
