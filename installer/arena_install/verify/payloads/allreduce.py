"""One rank of an MPI job: sums a vector over all ranks, compares it with what must come out, says where it ran.

Started by mpirun in a worker's pod; what it prints comes out at the launcher.
"""

from __future__ import annotations

import json
import socket
from array import array

from mpi4py import MPI  # type: ignore[import-not-found]

LENGTH = 1 << 16


def main() -> None:
    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    mine = array("d", (number * (rank + 1) for number in range(LENGTH)))
    total = array("d", bytes(8 * LENGTH))
    world.Allreduce([mine, MPI.DOUBLE], [total, MPI.DOUBLE])
    # Whole numbers below 2**53: the sum is exact in any order.
    factor = size * (size + 1) // 2
    record = {
        "kind": "rank",
        "rank": rank,
        "size": size,
        "pod": socket.gethostname().split(".")[0],
        "wrong": sum(found != number * factor for number, found in enumerate(total)),
        "sum": sum(total),
    }
    # One rank after the other, so that lines do not run into each other.
    for turn in range(size):
        if turn == rank:
            print(f"\nARENA-VERIFY {json.dumps(record)}", flush=True)
        world.Barrier()


if __name__ == "__main__":
    main()
