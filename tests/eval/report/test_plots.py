"""Figures as SVG: what is drawn can be told apart."""

import re

import numpy as np

from facexfer.eval.curves import curve_of_scores
from facexfer.eval.report.plots import draw_rocs


def test_four_networks_have_four_colours() -> None:
    generator = np.random.default_rng(0)
    impostor = generator.normal(0, 1, 1000)
    curves = {name: curve_of_scores(generator.normal(2, 1, 100), impostor) for name in ("a", "b", "c", "d")}
    strokes = re.findall(r"stroke: (#\w+); stroke-width: 1\.6", draw_rocs(curves))
    assert len(set(strokes)) == 4
