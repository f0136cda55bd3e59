"""A folder that is continued: nobody moves into another split, and another split is refused before any work."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from photo_files import encoded, picture

from facexfer.data.draws import write_draws
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.manifest import read_manifest
from facexfer.data.preparation.earlier import Earlier, check_entries
from facexfer.data.preparation.outputs import write_tables
from facexfer.data.preparation.photo_set import prepare
from facexfer.data.protocols import Listed
from facexfer.errors import InputError


def write_crops(root: Path, people: range, modalities: tuple[str, ...] = ("nir",), shots: range = range(1)) -> None:
    for person in people:
        for number, modality in enumerate(modalities):
            (root / f"p{person:02d}" / modality).mkdir(parents=True, exist_ok=True)
            for shot in shots:
                file = root / f"p{person:02d}" / modality / f"{shot}.png"
                file.write_bytes(encoded(picture(100 * person + 10 * number + shot, (112, 112))))


def continued(root: Path, **options: Any) -> dict[str, Any]:
    words = {"layout": "folders", "protocol": "identity-disjoint", **options}
    return prepare(root, root.parent / "out", pre_cropped=True, **words).summary


def splits_of(root: Path) -> dict[str, str]:
    return {image.extra["photo"]: image.split for image in read_manifest(root.parent / "out" / "images.csv").images}


def files_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root.parent / "out").glob("*.*")}


def write_table(root: Path, splits: Mapping[str, str] = MappingProxyType({})) -> None:
    """List the crops, with the splits that photos or people have; the others have none."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    people = [(name, *name.split("/")[:2]) for name in names]
    rows = [f"{name},{who},{modality},{splits.get(name, splits.get(who, 'all'))}" for name, who, modality in people]
    (root / "images.csv").write_text("\n".join(["path,identity,modality,split", *rows]) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_crops(tmp_path / "set", range(10))
    return tmp_path / "set"


def test_photos_that_come_later_move_nobody(root: Path) -> None:
    first = continued(root)["split"]
    before = splits_of(root)
    assert "kept" not in first
    # p99 has no crop, and is in a split as well.
    write_crops(root, range(10, 16))
    write_crops(root, range(3), shots=range(1, 2))
    (root / "p99").mkdir()
    (root / "p99" / "0.png").write_bytes(b"broken")
    second = continued(root)["split"]
    after = splits_of(root)
    assert {photo: after[photo] for photo in before} == before
    assert {after[photo] for photo in after if photo.startswith("p01/")} == {before["p01/nir/0.png"]}
    assert (first["name"], first["fingerprint"] != second["fingerprint"]) == (second["name"], True)
    assert set(second["val"]) >= set(first["val"])
    assert set(second["kept"]) <= {f"p{person:02d}" for person in range(10)}
    assert len(second["kept"]) > 0
    alone = prepare(root, root.parent / "alone", pre_cropped=True, protocol="identity-disjoint").summary["split"]
    assert set(alone["val"]) - set(second["val"]) <= set(second["kept"])
    files = files_of(root)
    assert continued(root)["split"] == second
    assert files_of(root) == files
    failed = "val" if "p99" in second["val"] else "train"
    (root / "p99" / "0.png").write_bytes(encoded(picture(9, (112, 112))))
    write_crops(root, range(16, 18))
    continued(root)
    assert splits_of(root)["p99/0.png"] == failed


def test_a_corrected_name_keeps_the_split_of_the_pictures(root: Path) -> None:
    continued(root)
    before = splits_of(root)
    trained, measured = (next(name for name in sorted(before) if before[name] == split) for split in ("train", "val"))
    # Swapped, both, and each with a new name, one after the other.
    one, two = trained[:3], measured[:3]
    for first, second in ((one, "p0x"), (two, one), ("p0x", two), (one, "a"), (two, "b")):
        (root / first).rename(root / second)
        if first != one or second != "p0x":
            continued(root)
    after = splits_of(root)
    assert (after["a/nir/0.png"], after["b/nir/0.png"]) == ("val", "train")
    rest = {name: split for name, split in before.items() if name[:3] not in (one, two)}
    assert after == rest | {"a/nir/0.png": "val", "b/nir/0.png": "train"}
    files = files_of(root)
    shutil.copy(root / "a" / "nir" / "0.png", root / "b" / "nir" / "1.png")
    with pytest.raises(
        InputError, match=r"expected the photos of 'b' to have been in one split, got b/nir/1\.png, whose"
    ):
        continued(root)
    assert files_of(root) == files


def test_a_run_that_comes_between_is_seen(root: Path) -> None:
    def let_another_in(done: int, total: int) -> None:
        if done == 0:
            continued(root, protocol=None)

    with pytest.raises(InputError, match="expected the tables that were there at the start, got those of a run that"):
        continued(root, advance=let_another_in)
    assert set(splits_of(root).values()) == {"all"}
    assert "split" not in json.loads((root.parent / "out" / "summary.json").read_text())


def test_no_run_comes_in_while_the_tables_are_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def let_another_in(*given: Any) -> dict[str, Any]:
        with pytest.raises(InputError, match="expected a folder that no other run writes to, one is at work in it"):
            continued(root)
        return write_tables(*given)

    monkeypatch.setattr("facexfer.data.preparation.photo_set.write_tables", let_another_in)
    assert continued(root)["crops"] == 10


def test_the_enrolled_photo_stays_the_one_it_was(tmp_path: Path) -> None:
    words = {"layout": "manifest", "protocol": "vis-nir-one", "val_identities": 2}
    root = tmp_path / "set"
    write_crops(root, range(5), ("nir", "vis"), range(2))
    write_table(root)
    continued(root, **words)
    before = splits_of(root)
    write_crops(root, range(7), ("nir", "vis"), range(3))
    write_table(root)
    continued(root, **words)
    after = splits_of(root)
    assert {photo: after[photo] for photo in before} == before
    enrolled = [photo[:3] for photo, split in after.items() if split == "val" and "/vis/" in photo]
    assert len(enrolled) == len(set(enrolled)) >= 2


def test_of_a_photo_that_is_listed_twice_the_row_that_has_the_crop_is_enrolled(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_crops(root, range(10), ("nir", "vis"))
    write_table(root)
    rows = (root / "images.csv").read_text().splitlines()
    (root / "images.csv").write_text("\n".join([*rows, *rows[1:]]) + "\n")
    words = {"layout": "manifest", "protocol": "vis-nir-one", "val_identities": 8}
    assert continued(root, **words)["failures"] == {"listed-twice": 20}
    assert list(splits_of(root).values()).count("val") == 16
    assert "unused" not in splits_of(root).values()
    before = files_of(root)
    continued(root, **words)
    assert all(files_of(root)[name] == before[name] for name in ("images.csv", "failures.csv", "summary.json"))
    # The list of failures holds the other rows, and moves nobody either.
    (draw,) = write_draws(
        root.parent / "out" / "images.csv",
        tmp_path / "draws",
        "vis-nir-one",
        1,
        8,
        root.parent / "out" / "failures.csv",
    )
    assert draw.splits.count("val") == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draw": 3}, r"expected the split that is there, identity-disjoint-0, got identity-disjoint-3; repeat"),
        ({"protocol": "vis-nir"}, "identity-disjoint-0, got vis-nir-0; repeat --protocol and --draw"),
        ({"val_identities": 4}, "expected the --val-identities of the split that is there, a fifth, got 4; repeat it"),
        ({"protocol": None}, "expected a split as it is there, train, val, got none; repeat --protocol"),
    ],
)
def test_another_split_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    root = tmp_path / "set"
    write_crops(root, range(5), ("nir", "vis"))
    write_table(root)
    continued(root, layout="manifest")
    before = files_of(root)
    with pytest.raises(InputError, match=message):
        continued(root, layout="manifest", **options)
    assert files_of(root) == before
    continued(root, layout="manifest")
    assert files_of(root) == before


def test_without_a_record_the_split_itself_tells(root: Path) -> None:
    continued(root)
    before = files_of(root)
    # As after a kill between the two files.
    (root.parent / "out" / "summary.json").unlink()
    with pytest.raises(
        InputError, match=r"expected a summary\.json .*, found none, and identity-disjoint-3 would move"
    ):
        continued(root, draw=3)
    continued(root)
    assert files_of(root) == before
    # As older versions wrote it.
    summary = json.loads(before["summary.json"])
    del summary["split"]["val_identities"]
    (root.parent / "out" / "summary.json").write_text(json.dumps(summary))
    continued(root)
    assert files_of(root) == before


def test_nobody_has_a_split_where_there_is_no_crop(root: Path) -> None:
    shutil.rmtree(root)
    write_crops(root, range(10))
    crops = {path: path.read_bytes() for path in root.rglob("*.png")}
    for path in crops:
        path.write_bytes(encoded(picture(size=(50, 50))))
    assert continued(root)["crops"] == 0
    assert continued(root, draw=1)["crops"] == 0
    for path, data in crops.items():
        path.write_bytes(data)
    assert continued(root, draw=3)["crops"] == 10
    assert set(splits_of(root).values()) == {"train", "val"}


def test_a_split_may_be_drawn_where_there_was_none(root: Path) -> None:
    continued(root, protocol=None)
    assert set(splits_of(root).values()) == {"all"}
    continued(root, draw=2)
    assert set(splits_of(root).values()) == {"train", "val"}


class TestSplitsOfTheLayout:
    """Splits that are given and not drawn are checked as well."""

    def write(self, root: Path, **changes: str) -> None:
        write_table(root, {f"p{person:02d}": "train" if person < 6 else "test" for person in range(10)} | changes)

    def run(self, root: Path, protocol: str | None = None) -> dict[str, Any]:
        return continued(root, layout="manifest", protocol=protocol)

    def test_others_may_come(self, root: Path) -> None:
        self.write(root)
        self.run(root)
        write_crops(root, range(5, 12))
        self.write(root, p10="train", p11="val")
        self.run(root)
        # Gallery and probes of one person, whom nobody trains on.
        write_crops(root, range(11, 12), shots=range(1, 2))
        self.write(root, p10="train", p11="val", **{"p11/nir/1.png": "probe"})
        self.run(root)
        assert splits_of(root)["p11/nir/1.png"] == "probe"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"p00": "test"}, r"expected the photo p00/nir/0\.png to stay in train, got test; nobody who was trained"),
            ({"p09": "train"}, r"expected the photo p09/nir/0\.png to stay in test, got train"),
            ({"p00/nir/1.png": "test"}, "expected p00 to stay in train, got test and train"),
            ({"p09/nir/1.png": "train"}, "expected p09 to stay in test, got test and train"),
        ],
    )
    def test_nobody_moves(self, root: Path, changes: dict[str, str], message: str) -> None:
        self.write(root)
        self.run(root)
        before = files_of(root)
        write_crops(root, range(10), shots=range(1, 2))
        self.write(root, **changes)
        with pytest.raises(InputError, match=message):
            self.run(root)
        assert files_of(root) == before

    def test_given_and_drawn_splits_do_not_mix(self, root: Path) -> None:
        self.write(root)
        self.run(root)
        with pytest.raises(InputError, match="expected the layout's splits, which are there, got --protocol identity"):
            self.run(root, "identity-disjoint")
        shutil.rmtree(root.parent / "out")
        self.run(root, "identity-disjoint")
        with pytest.raises(InputError, match="expected the photo .* to stay in"):
            self.run(root)


def test_a_photo_that_is_somebody_elses_now_stays_where_it_was(tmp_path: Path) -> None:
    earlier = Earlier(tmp_path, frozenset(["nir"]), {Listed("1.png", "a", "nir"): "train"}, {})
    check_entries(earlier, [PhotoEntry("1.png", tmp_path, "b", "nir", "train")])
    with pytest.raises(
        InputError, match=r"expected the photo 1\.png to stay in train, got val; nobody who was trained"
    ):
        check_entries(earlier, [PhotoEntry("1.png", tmp_path, "b", "nir", "val")])
