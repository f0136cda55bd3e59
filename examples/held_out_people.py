"""Set a third of the training people aside, to choose settings on: ``python held_out_people.py MANIFEST OUT``.

Train with ``--set data.manifest=OUT``. The validation people are left out, so that no choice is made on them. With the
images.csv of lfw-nirsim, OUT has the 85 *held-out people* of docs/experiments, and the 170 others to train on.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from facexfer.data.manifest import read_manifest, write_manifest

if len(sys.argv) != 3 or "--help" in sys.argv:
    sys.exit(__doc__)
manifest, out = map(Path, sys.argv[1:])
images = read_manifest(manifest).select(split="train").images
people = sorted({image.identity for image in images})
drawn = np.random.default_rng(7).permutation(len(people))[: len(people) // 3]
held_out = {people[place] for place in drawn}
write_manifest(out, [replace(image, split="val" if image.identity in held_out else "train") for image in images])
print(f"{out}: {len(held_out)} of {len(people)} people held out")
