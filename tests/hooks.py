"""The hooks of networks; torch has no public way to count them."""


def count_hooks(*networks):
    """How many forward hooks are left in all modules of the networks."""
    return sum(len(module._forward_hooks) for network in networks for module in network.modules())
