from itertools import pairwise

from facexfer.advice.measured import first_of_each_set, read_measured
from facexfer.advice.ways import WAYS


def test_rows_have_a_figure_for_each_rate() -> None:
    for row in read_measured():
        assert len({len(each) for each in (row.fars, row.within, row.within_before, row.across, row.visible)}) == 1
        assert row.seeds > 0


def test_the_first_row_of_each_set_is_taken() -> None:
    rows = read_measured()
    chosen = first_of_each_set(rows, ("nirsim-l2", "nirsim-mild-l2"))
    assert [row.recipe for row in chosen] == ["nirsim-l2", "nirsim-mild-l2"]
    assert chosen[0] == next(row for row in rows if row.recipe == "nirsim-l2")
    assert first_of_each_set(rows, ("nirsim-unknown",)) == ()


def test_the_ways_are_ordered_by_what_they_gained_within_the_new_spectrum() -> None:
    """But for labels, which come before none: on thermal pictures, unlike simulated NIR, they gain 13 points."""
    rows = read_measured()
    names = [way.name for way in WAYS]
    labelled = names.index("CSD, labelled pictures and photos of others")
    assert names[labelled + 1] == "CSD, unlabelled pictures and photos of others"
    own = [first_of_each_set(rows, way.recipes[:1]) for way in WAYS if way is not WAYS[labelled]]
    measured = [found[0] for found in own if found]
    assert len(measured) > 5
    for better, worse in pairwise(measured):
        # Half a point between single runs is noise; where that is all, pairs across the spectra decide.
        assert better.within[1] >= worse.within[1] or (
            better.within[1] > worse.within[1] - 0.5 and better.across[1] > worse.across[1]
        ), (better.recipe, worse.recipe)
