"""What an evaluation has found, and how it is shown: findings, plots, the page, JSON."""
