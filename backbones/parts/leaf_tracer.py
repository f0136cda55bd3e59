"""The graph of a network with its innermost modules as nodes."""

from torch import fx, nn


class LeafTracer(fx.Tracer):
    """Trace into every module that has others in it, and into no other.

    Example:
        >>> graph = LeafTracer().trace(nn.Sequential(nn.Sequential(nn.ReLU())))
        >>> [node.target for node in graph.nodes if node.op == "call_module"]
        ['0.0']
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module has no others in it."""
        return next(m.children(), None) is None
