"""Scores, verification, identification, intervals, curves, classification, report: pure functions on arrays."""
