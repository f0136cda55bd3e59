"""One network per file, its taps and normalisation beside it, and the readers that bring foreign weights in."""
