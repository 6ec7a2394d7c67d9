"""Distributed training small enough to be a check: a convolutional network on real MNIST digits, data-parallel (gloo).

Each replica reports what NVML shows it, its share of the data, the loss of every epoch, the accuracy on digits that no
replica trained on, and a hash of its parameters after training: equal hashes mean that gradients really were exchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

from gpu_view import report, view  # type: ignore[import-not-found]  # mounted beside this file

DATA = Path("/opt/mnist")
SIDE = 28


def load(folder: Path = DATA) -> tuple[bytes, bytes]:
    """(images, labels): n * 784 bytes, 0 black to 255 white, and n bytes of 0..9.

    Raises ValueError if they do not match."""
    meta = json.loads((folder / "meta.json").read_text())
    images, labels = (folder / "images.u8").read_bytes(), (folder / "labels.u8").read_bytes()
    count = int(meta["count"])
    if len(images) != count * SIDE * SIDE or len(labels) != count:
        raise ValueError(f"{folder}: {len(images)} bytes of images, {len(labels)} of labels, for {count} digits")
    if labels and max(labels) > 9:
        raise ValueError(f"{folder}: label {max(labels)} is no digit")
    return images, labels


def split(count: int, train: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on, and held-out ones: the same on every replica, because the seed is."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order[:train], order[train:]


def share(indices: list[int], rank: int, world: int) -> list[int]:
    """Every world-th index: shares are disjoint, and equal in length (the rest is left out)."""
    even = len(indices) - len(indices) % world
    return indices[rank:even:world]


def batches(indices: list[int], size: int, seed: int) -> list[list[int]]:
    """The indices in a new order, in full batches."""
    order = list(indices)
    random.Random(seed).shuffle(order)
    return [order[i : i + size] for i in range(0, len(order) - size + 1, size)]


def model(torch: Any) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def parameter_hash(network: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128, help="of all replicas together: steps do not depend on them")
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    report("gpus", rank=rank, pod=os.environ.get("POD_NAME", ""), node=os.environ.get("NODE_NAME", ""), **view())

    import torch  # type: ignore[import-not-found]
    from torch import distributed

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    distributed.init_process_group("gloo")
    report("start", rank=rank, world=world, backend="gloo", compute=device.type, torch=torch.__version__)

    images, labels = load()
    pixels = torch.frombuffer(bytearray(images), dtype=torch.uint8).reshape(-1, 1, SIDE, SIDE)
    digits = torch.frombuffer(bytearray(labels), dtype=torch.uint8)
    train, held = split(len(labels), args.train, args.seed)
    mine = share(train, rank, world)

    def pick(indices: list[int]) -> tuple[Any, Any]:
        return pixels[indices].float().div(255).to(device), digits[indices].long().to(device)

    network = torch.nn.parallel.DistributedDataParallel(model(torch).to(device))
    optimizer = torch.optim.Adam(network.parameters(), lr=args.rate)
    for epoch in range(1, args.epochs + 1):
        total = torch.zeros(2, dtype=torch.float64)
        for chosen in batches(mine, max(1, args.batch // world), args.seed + epoch):
            x, y = pick(chosen)
            loss = torch.nn.functional.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(chosen), len(chosen)], dtype=torch.float64)
        distributed.all_reduce(total)
        with torch.no_grad():
            x, y = pick(held)
            right = int((network.module(x).argmax(1) == y).sum())
        if rank == 0:
            report("epoch", epoch=epoch, loss=float(total[0] / total[1]), accuracy=right / len(held))
    report(
        "final",
        rank=rank,
        world=world,
        samples=len(mine),
        held_out=len(held),
        accuracy=right / len(held),
        hash=parameter_hash(network.module),
    )
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
