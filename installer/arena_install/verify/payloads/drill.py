"""A job that goes on for a while and ends badly when a replica is lost, as training does: replicas sum ones, again and
again. Started anew, it begins anew."""

from __future__ import annotations

import argparse
import os
import time

from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()

    import torch  # type: ignore[import-not-found]
    from torch import distributed

    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    for step in range(args.steps):
        ones = torch.ones(1)
        distributed.all_reduce(ones)
        if int(ones) != world:
            raise SystemExit(f"step {step}: {world} replicas sum to {int(ones)}")
        if step == 0:
            report("working", rank=rank, pod=os.environ.get("POD_NAME", ""))
        time.sleep(0.1)
    report("final", rank=rank, world=world, steps=args.steps)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
