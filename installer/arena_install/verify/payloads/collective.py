"""What the ranks of one job do together: sum vectors (all-reduce) of several sizes, train a few steps, and, with more
than two nodes, send to each other in pairs. NCCL where PyTorch has it and there are GPUs, else gloo.

A replica has as many ranks as GPUs, a process each: only within a pod do they reach each other over NVLink. Each rank
reports its own times; arena_install.verify.checks.scale compares them. Sums are checked element by element.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file

WARM_UP = 2  # calls before one is timed: connections are made by the first
PATTERN = 7


def rounds(players: Sequence[int], limit: int) -> list[list[tuple[int, int]]]:
    """Everyone meets everyone, each once a round (the circle method), for at most `limit` rounds. Of an odd number, one
    rests in each round."""
    ring = [*players, *([-1] if len(players) % 2 else [])]
    found = []
    for _ in range(min(limit, len(ring) - 1)):
        half = len(ring) // 2
        pairs = zip(ring[:half], reversed(ring[half:]), strict=True)
        found.append([(min(a, b), max(a, b)) for a, b in pairs if -1 not in (a, b)])
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return found


class Team:
    """torch, which rank this is, and its clock."""

    def __init__(self, torch: Any, device: Any) -> None:
        self.torch, self.device, self.distributed = torch, device, torch.distributed
        self.rank, self.world = self.distributed.get_rank(), self.distributed.get_world_size()

    def seconds(self, work: Callable[[], object]) -> float:
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """For what was put before the GPU."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


def reduce(team: Team, size: int, repeat: int) -> None:
    """size: bytes of the vector. Reports the median time of one all-reduce, and how many of its sums are wrong."""
    torch = team.torch
    count = max(1, size // 4)
    ramp = torch.arange(count, device=team.device, dtype=torch.int32) % PATTERN
    vector = (ramp + team.rank).float()
    team.distributed.all_reduce(vector)
    right = (team.world * ramp + team.world * (team.world - 1) // 2).float()
    wrong = int((vector != right).sum())
    vector.zero_()
    for _ in range(WARM_UP):
        team.distributed.all_reduce(vector)
    times = [team.seconds(lambda: team.distributed.all_reduce(vector)) for _ in range(repeat)]
    report("reduced", rank=team.rank, bytes=4 * count, seconds=statistics.median(times), wrong=wrong)


def train(team: Team, steps: int, width: int) -> None:
    """Data-parallel training with the exchange apart from the computing: reports the median time of either. In one call
    with it, every rank would seem as slow as the slowest."""
    torch = team.torch
    torch.manual_seed(20)
    network = torch.nn.Sequential(
        torch.nn.Linear(width, 2 * width), torch.nn.ReLU(), torch.nn.Linear(2 * width, 10)
    ).to(team.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(64, width, device=team.device)
    y = torch.arange(64, device=team.device) % 10

    def compute() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()

    def exchange() -> None:
        for parameter in network.parameters():
            team.distributed.all_reduce(parameter.grad)
            parameter.grad /= team.world

    computing, exchanging = [], []
    for _ in range(steps):
        first = team.seconds(compute)
        exchanging.append(team.seconds(exchange))
        computing.append(first + team.seconds(optimizer.step))
    computing, exchanging = computing[WARM_UP:], exchanging[WARM_UP:]
    report(
        "steps",
        rank=team.rank,
        steps=len(computing),
        computing=statistics.median(computing),
        exchanging=statistics.median(exchanging),
    )


def pairs(team: Team, node: str, size: int, repeat: int, limit: int) -> None:
    """One rank of each node meets those of the others: two send to each other at once, whoever is not in a round
    waits. Reports the median time of each pair."""
    torch = team.torch
    nodes: list[str] = [""] * team.world
    team.distributed.all_gather_object(nodes, node)
    leaders = [nodes.index(name) for name in dict.fromkeys(nodes)]
    if len(leaders) < 3:
        return
    out, back = (torch.zeros(max(1, size // 4), device=team.device) for _ in range(2))
    for matches in rounds(leaders, limit):
        team.distributed.barrier()
        mine = next((pair for pair in matches if team.rank in pair), None)
        if mine is None:
            continue
        other = mine[0] + mine[1] - team.rank

        def swap(other: int = other) -> None:
            operations = [
                team.distributed.P2POp(team.distributed.isend, out, other),
                team.distributed.P2POp(team.distributed.irecv, back, other),
            ]
            for request in team.distributed.batch_isend_irecv(operations):
                request.wait()

        swap()
        times = [team.seconds(swap) for _ in range(repeat)]
        if team.rank == mine[0]:
            both = [nodes[rank] for rank in mine]
            report("pair", nodes=both, bytes=4 * out.numel(), seconds=statistics.median(times))
    team.distributed.barrier()


def launch(ranks: int) -> int:
    """Run this script once for each rank of this replica; gives the exit code. One that fails ends the others."""
    first, replicas = int(os.environ.get("RANK", "0")) * ranks, int(os.environ.get("WORLD_SIZE", "1"))
    started = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={
                **os.environ,
                "RANK": str(first + local),
                "WORLD_SIZE": str(replicas * ranks),
                "LOCAL_RANK": str(local),
            },
        )
        for local in range(ranks)
    ]
    while any(process.poll() is None for process in started):
        if any(process.poll() for process in started):
            for process in started:
                process.terminate()
        time.sleep(0.2)
    return max(abs(process.wait()) for process in started)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="1024,1048576", help="bytes of the vectors to sum, on CPUs")
    parser.add_argument("--sizes-cuda", default="1048576,67108864,1073741824", help="the same on GPUs")
    parser.add_argument("--ranks", type=int, default=1, help="of this replica")
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=16, help="at most so many of pairs")
    args = parser.parse_args()
    if "LOCAL_RANK" not in os.environ:
        sys.exit(launch(args.ranks))

    import torch  # type: ignore[import-not-found]
    from torch import distributed

    torch.set_num_threads(1)
    cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    backend = "nccl" if cuda else "gloo"
    distributed.init_process_group(backend)
    team = Team(torch, device)
    node = os.environ.get("NODE_NAME", "")
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    report("start", rank=team.rank, world=team.world, node=node, backend=backend, device=name, torch=torch.__version__)
    sizes = [int(size) for size in (args.sizes_cuda if cuda else args.sizes).split(",")]
    for size in sizes:
        reduce(team, size, args.repeat)
    train(team, args.steps, 4096 if cuda else 256)
    pairs(team, node, sizes[-1], args.repeat, args.rounds)
    report("end", rank=team.rank)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
