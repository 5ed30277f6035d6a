"""Weights that are weaker on purpose: each tensor of the demo model with some noise, by a seed.

    .venv-vllm/bin/python -m bench.trust_weights MODEL OUT SEED NOISE

NOISE is the noise's standard deviation as a share of each tensor's own.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Write a copy of the model's folder with the weaker weights."""
    source, out, seed, noise = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    random = torch.Generator().manual_seed(seed)
    shutil.copytree(source, out, dirs_exist_ok=True)
    weights = load_file(source / "model.safetensors")
    for name, tensor in sorted(weights.items()):
        # Norms and biases are few, and all hangs on them.
        if tensor.dim() > 1:
            drawn = torch.randn(tensor.shape, generator=random) * tensor.float().std() * noise
            weights[name] = (tensor.float() + drawn).to(tensor.dtype)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
