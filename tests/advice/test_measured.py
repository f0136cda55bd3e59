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
    """But for labels, which come before none: on thermal pictures, unlike simulated NIR, they gain 13 points.

    And but for pictures of the same people, which gain more against a gallery of the source's spectrum; where there are
    no photos of others, those without labels had the photos of 5,326 people more. Photos in visible light alone are
    advised where there is no picture in the new spectrum, or no BatchNorm, and stand behind no other way.
    """
    rows = read_measured()
    names = [way.name for way in WAYS]
    labelled = names.index("CSD, labelled pictures and photos of others")
    assert names[labelled + 1] == "CSD, unlabelled pictures and photos of others"
    same_people = names.index("CSD, same people and photos of others")
    alone = names.index("CSD, same people")
    assert same_people < alone < labelled
    photos_alone = names.index("CSD, visible-light photos alone")
    exceptions = (WAYS[labelled], WAYS[same_people], WAYS[alone], WAYS[photos_alone])
    own = [first_of_each_set(rows, way.recipes[:1]) for way in WAYS if way not in exceptions]
    gained = [found[0].within[1] for found in own if found]
    assert len(gained) > 5
    assert gained == sorted(gained, reverse=True)
    plain = names.index("plain fine-tuning")
    people, nobody_else, unlabelled, tuned = (
        first_of_each_set(rows, WAYS[at].recipes[:1])[0] for at in (same_people, alone, labelled + 1, plain)
    )
    assert min(people.within[1], nobody_else.within[1]) > tuned.within[1]
    assert nobody_else.across[1] > unlabelled.across[1]
    # Half a point is noise; since both show simulated NIR, of others or of the same people, they are level.
    assert people.within[1] > nobody_else.within[1] - 0.5
    assert people.within[1] > unlabelled.within[1] - 0.5
    assert people.across[1] > unlabelled.across[1]
