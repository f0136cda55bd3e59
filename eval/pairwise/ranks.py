"""The ranks of a distributed run that share the work of an evaluation; outside of one there is a single rank."""

import torch
from torch import Tensor, distributed


def place() -> tuple[int, int]:
    """This process's number, and how many there are."""
    if distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def sum_over_ranks(counts: Tensor) -> None:
    """Add up what the ranks have counted, in place and the same on each.

    Counts lie where the products were made, which may be the host in a run on GPUs; NCCL's own sum takes tensors of
    GPUs alone.

    Args:
        counts: Of whole numbers, of one shape on every rank.
    """
    everybodys = [counts.cpu()] * place()[1]
    if len(everybodys) > 1:
        distributed.all_gather_object(everybodys, counts.cpu())
        counts.copy_(torch.stack(everybodys).sum(dim=0))
