"""From photos to batches: manifests, splits, detection, alignment, transforms, data sets."""
