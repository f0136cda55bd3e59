"""Packaged grids: the tables of the paper, and small ones."""
