"""AFA from a dict, compared with its source: ``python transfer_from_a_dict.py WEIGHTS MANIFEST OUT``."""

import sys

import facexfer

weights, manifest, out = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
recipe = {
    "source": {"backbone": "mobilefacenet_slim", "weights": weights},
    "data": {"manifest": manifest, "modality": "nir"},
    "method": {"name": "afa", "spatial_alpha": 1e-4, "channel_alpha": 1e-4},
    "optimizer": {"epochs": 2, "batch_size": 8},
    "evaluation": {"fars": [0.1], "pairs": [{"probe": "nir"}]},
}
result = facexfer.train(recipe, out)
print(result["figures"])
source = facexfer.load(weights, "mobilefacenet_slim")
found = facexfer.evaluate(out, manifest, split="val", probe="nir", fars=[0.1], before=source)
print(found.table())
found.report(f"{out}/report")
