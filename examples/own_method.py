"""Your own method in one file: ``python own_method.py WEIGHTS MANIFEST OUT``.

It draws each embedding to the one that the source gives to the same picture, by the cosine between the two.
"""

import sys

from torch import Tensor
from torch.nn.functional import cosine_similarity

import facexfer
from facexfer.transfer.stages import Passes, StageSetting


class AngleToSource(facexfer.Term):
    """``1 - cos`` between the two networks' embeddings of a picture, a mean over the batch."""

    reads_source = True

    def __init__(self, setting: StageSetting) -> None:
        super().__init__()

    def forward(self, passes: Passes) -> Tensor:
        """Compute the term."""
        assert passes.source_embeddings is not None
        return (1 - cosine_similarity(passes.target_embeddings, passes.source_embeddings)).mean()


@facexfer.register_method("angle")
def angle(alpha: float = 1.0) -> tuple[facexfer.Stage, ...]:
    """Fine-tune everything; the arguments are the method's options in a recipe."""
    return (facexfer.Stage("angle", (facexfer.WeightedTerm("angle", alpha, AngleToSource),)),)


weights, manifest, out = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
result = facexfer.train(
    {
        "source": {"backbone": "mobilefacenet_slim", "weights": weights},
        "data": {"manifest": manifest},
        "method": {"name": "angle", "alpha": 0.5},
        "optimizer": {"epochs": 2, "batch_size": 8},
        "evaluation": {"fars": [0.1]},
    },
    out,
)
print(result["untouched"], "->", result["figures"])
