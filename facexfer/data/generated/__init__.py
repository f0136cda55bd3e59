"""Faces drawn by formulas: people who do not exist, in visible and in near-infrared light, for trying things out."""
