"""A run on disk: its folder, its saved training state, lists of runs."""
