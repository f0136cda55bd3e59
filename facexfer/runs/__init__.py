"""A run on disk: its folder, its saved training state, whom it trains on and measures, lists of runs."""
