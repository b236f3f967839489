#!/usr/bin/env python3
"""Write the first 200 MNIST test images as 28x28 8-bit grey PNGs with their labels.

    python3 scripts/make_mnist_samples.py

Reads $OBLIVIA_DATA/mnist (by default ../shared/data/mnist beside the repository), writes samples/mnist:
NNNN.png, NNNN the index in the test set, and labels.csv (file,label). Needs numpy and pillow.
"""

import gzip
import os
import pathlib

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("OBLIVIA_DATA", ROOT.parent / "shared" / "data")) / "mnist"
OUT = ROOT / "samples" / "mnist"
COUNT = 200


def main():
    with gzip.open(DATA / "t10k-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(DATA / "t10k-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    OUT.mkdir(parents=True, exist_ok=True)
    rows = ["file,label"]
    for i in range(COUNT):
        path = OUT / f"{i:04}.png"
        Image.fromarray(images[i], mode="L").save(path, optimize=True)
        assert (np.asarray(Image.open(path)) == images[i]).all() and Image.open(path).mode == "L"
        rows.append(f"{path.name},{labels[i]}")
    (OUT / "labels.csv").write_text("\n".join(rows) + "\n")
    print(f"{COUNT} images, {sum(p.stat().st_size for p in OUT.glob('*.png'))} bytes")


if __name__ == "__main__":
    main()
