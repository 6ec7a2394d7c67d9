"""What every kind of PyTorch training does: ranks find each other by their environment, and sum over all."""

from pathlib import Path

import torch
import torch.distributed

torch.distributed.init_process_group("gloo")
rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
total = torch.tensor([float(rank + 1)])
torch.distributed.all_reduce(total)
gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
print(f"rank {rank} of {size} sum {total.item():.0f} gpus {gpus}", flush=True)
torch.distributed.destroy_process_group()
