"""Plots and pages of finished runs; only the commands know this folder."""
