"""Draws of identities: disjoint, the same twice, and not the same as each other."""

import hashlib

import pytest

from facexfer.data.protocols import Draw, Listed, draw_splits, keep_splits
from facexfer.errors import InputError


def photos(people: int, modalities: tuple[str, ...] = ("nir",), each: int = 2) -> list[Listed]:
    return [
        Listed(f"{person:03d}/{modality}-{number}.png", f"{person:03d}", modality)
        for person in range(people)
        for modality in modalities
        for number in range(each)
    ]


def held_out(listed: list[Listed], draw: Draw) -> set[str]:
    return {photo.identity for photo, split in zip(listed, draw.splits, strict=True) if split == "val"}


@pytest.mark.parametrize("protocol", ["polyu-nirfd", "identity-disjoint", "vis-nir", "vis-nir-one"])
def test_nobody_is_in_both_splits_and_order_changes_nothing(protocol: str) -> None:
    listed = photos(335, ("nir", "vis"))
    draw = draw_splits(listed, protocol, 3)
    training = {photo.identity for photo, split in zip(listed, draw.splits, strict=True) if split == "train"}
    assert not training & held_out(listed, draw)
    turned = draw_splits(listed[::-1], protocol, 3)
    assert turned.splits[::-1] == draw.splits
    assert turned.fingerprint == draw.fingerprint
    assert draw.name == f"{protocol}-3"


def test_the_paper_holds_out_80_of_335_and_draws_differ() -> None:
    listed = photos(335)
    draws = [draw_splits(listed, "polyu-nirfd", number) for number in range(5)]
    assert {len(held_out(listed, draw)) for draw in draws} == {80}
    assert len({draw.fingerprint for draw in draws}) == 5


def test_people_of_one_modality_are_only_trained_on() -> None:
    listed = photos(4, ("nir", "vis")) + [Listed(f"n{i}.png", f"n{i}", "nir") for i in range(20)]
    draw = draw_splits(listed, "vis-nir", held_out=3)
    assert len(held_out(listed, draw)) == 3
    assert held_out(listed, draw) < {f"{person:03d}" for person in range(4)}


def test_one_visible_photo_is_enrolled() -> None:
    listed = photos(5, ("nir", "vis"), each=3)
    draw = draw_splits(listed, "vis-nir-one", held_out=2)
    kept = [photo for photo, split in zip(listed, draw.splits, strict=True) if split == "val"]
    assert sorted(photo.modality for photo in kept) == ["nir"] * 6 + ["vis"] * 2
    assert draw.splits.count("unused") == 4
    assert draw.fingerprint != draw_splits(listed, "vis-nir", held_out=2).fingerprint


@pytest.mark.parametrize("protocol", ["identity-disjoint", "vis-nir", "vis-nir-one"])
def test_rows_that_can_have_no_crop_change_no_draw(protocol: str) -> None:
    listed = photos(10, ("nir", "vis"))
    more = [Listed(f"{photo.name}#2", photo.identity, photo.modality, is_attempt=False) for photo in listed]
    more += [Listed("x.png", "nobody", modality, is_attempt=False) for modality in ("nir", "vis")]
    for number in range(20):
        alone, drawn = (draw_splits(each, protocol, number) for each in (listed, listed + more))
        assert drawn.splits[: len(listed)] == alone.splits
        before = dict(zip(listed, alone.splits, strict=True))
        assert keep_splits(drawn, listed + more, before).splits == drawn.splits


@pytest.mark.parametrize(
    ("protocol", "people", "options", "message"),
    [
        ("polyu-nirfd", 334, {}, "expected the 335 identities of PolyU-NIRFD, got 334"),
        ("polyu-nirfd", 335, {"held_out": 81}, "expected 80 validation identities by this protocol, got 81"),
        ("identity-disjoint", 3, {"held_out": 3}, "fewer than the 3 identities, got 3"),
        ("identity-disjoint", 1, {}, "fewer than the 1 identities, got 1"),
        ("vis-nir", 3, {}, "with vis and with nir photos, found none"),
        ("identity-disjoint", 3, {"number": -1}, "expected the number of a draw, got -1"),
        ("polyu", 3, {}, "unknown protocol 'polyu'"),
    ],
)
def test_what_does_not_fit_is_an_error(protocol: str, people: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_splits(photos(people), protocol, **options)


@pytest.mark.parametrize("protocol", ["polyu-nirfd", "identity-disjoint", "vis-nir"])
def test_a_fingerprint_is_that_of_people_and_their_splits(protocol: str) -> None:
    listed = photos(335, ("nir", "vis"), each=1)
    draw = draw_splits(listed, protocol)
    lines = {f"{split}\t{photo.identity}" for photo, split in zip(listed, draw.splits, strict=True)}
    assert draw.fingerprint == hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def test_a_fingerprint_tells_whose_photos_are_left_out() -> None:
    # Of one photo per name and person: who is enrolled with which differs, and the names left out do not.
    listed = [Listed(f"{number}.png", who, spectrum) for who in "abc" for spectrum in ("nir", "vis") for number in "01"]
    draws = [draw_splits(listed, "vis-nir-one", number, 2) for number in range(30)]
    assert len({draw.fingerprint for draw in draws}) == len({draw.splits for draw in draws}) > 6


@pytest.mark.parametrize("protocol", ["identity-disjoint", "vis-nir", "vis-nir-one"])
def test_those_who_are_in_a_split_stay_when_others_come(protocol: str) -> None:
    few, many = photos(10, ("nir", "vis"), each=3), photos(30, ("nir", "vis"), each=4)
    first = draw_splits(few, protocol, 1)
    drawn = draw_splits(many, protocol, 1)
    before = dict(zip(few, first.splits, strict=True))
    assert any(before.get(photo, split) != split for photo, split in zip(many, drawn.splits, strict=True))
    kept = keep_splits(drawn, many, before)
    after = dict(zip(many, kept.splits, strict=True))
    assert {photo: after[photo] for photo in few} == before
    newcomers = {photo.identity for photo in many} - {photo.identity for photo in few}
    assert {photo: split for photo, split in after.items() if photo.identity in newcomers} == {
        photo: split for photo, split in zip(many, drawn.splits, strict=True) if photo.identity in newcomers
    }
    assert not {photo.identity for photo in many if after[photo] == "train"} & held_out(many, kept)
    enrolled = [photo.identity for photo in many if (photo.modality, after[photo]) == ("vis", "val")]
    assert len(enrolled) == (1 if protocol == "vis-nir-one" else 4) * len(set(enrolled))
    assert kept.fingerprint not in (first.fingerprint, drawn.fingerprint)
    assert keep_splits(drawn, many, after) == kept
    assert keep_splits(first, few, before) == first


def test_somebody_whose_enrolled_photo_has_gone_gets_another() -> None:
    listed = photos(5, ("nir", "vis"), each=3)
    draw = draw_splits(listed, "vis-nir-one", held_out=2)
    before = dict(zip(listed, draw.splits, strict=True))
    left = [photo for photo in listed if (photo.modality, before[photo]) != ("vis", "val")]
    kept = keep_splits(draw_splits(left, "vis-nir-one", held_out=2), left, before)
    enrolled = [
        photo for photo, split in zip(left, kept.splits, strict=True) if (photo.modality, split) == ("vis", "val")
    ]
    assert {photo.identity for photo in enrolled} == held_out(listed, draw)
    assert len(enrolled) == 2
