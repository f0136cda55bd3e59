"""TAR at FAR on photos in a folder per person: ``python tar_of_a_folder.py MODEL PHOTOS DETECTOR``.

Aligned crops need no detector.
"""

import sys

import facexfer

model, photos, *detector = sys.argv[1:] if len(sys.argv) in (3, 4) else sys.exit(__doc__)
faces = facexfer.embed(model, photos, detector=detector[0] if detector else None)
for point in facexfer.all_pairs(faces.embeddings, faces.labels, [1e-1, 1e-2, 1e-3]):
    if point.tar is None or point.tar_ci95 is None:
        print(point.remark)
        continue
    low, high = point.tar_ci95
    print(f"FAR {point.far:g}: TAR {100 * point.tar:.1f} % (95 % CI by identity {100 * low:.1f} to {100 * high:.1f} %)")
