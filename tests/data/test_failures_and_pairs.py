"""Lists of failures and of pairs, good and bad."""

from pathlib import Path

import pytest

from facexfer.data.failures import Failure, read_failures, select_failures
from facexfer.data.manifest import FaceImage, Manifest
from facexfer.data.pairs_file import ListedPair, read_pairs
from facexfer.errors import InputError


def test_failures(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    path.write_text("path,identity,modality,split,reason\na.jpg,anna,nir,val,no face\nb.jpg,bert,,train,truncated\n")
    failures = read_failures(path)
    assert failures == (
        Failure("anna", "nir", "val", None, "no face"),
        Failure("bert", None, "train", None, "truncated"),
    )
    assert select_failures(failures, "val", "vis") == ()
    assert select_failures(failures, None, "vis") == failures[1:]
    path.write_text("identity\n\n,\n")
    with pytest.raises(InputError, match="field identity"):
        read_failures(path)
    path.write_text("identity,split\nSmith, Anna,val\n")
    with pytest.raises(InputError, match="line 2: expected 2 fields, got 3; quote values that hold a comma"):
        read_failures(path)
    path.write_text("who\nanna\n")
    with pytest.raises(InputError, match="expected the column identity, got who"):
        read_failures(path)
    with pytest.raises(InputError, match="readable CSV"):
        read_failures(tmp_path / "absent.csv")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    names = [("anna", 1), ("anna", 2), ("bert", 1), ("bert", 7)]
    return Manifest(
        tmp_path / "images.csv",
        tuple(FaceImage(tmp_path / f"{name}_{number:04d}.jpg", name, "vis", "val") for name, number in names),
    )


def read(manifest: Manifest, text: str) -> tuple[ListedPair, ...]:
    path = Path(manifest.path.parent) / "pairs.txt"
    path.write_text(text)
    return read_pairs(path, manifest)


def test_both_forms_give_the_same_pairs(manifest: Manifest) -> None:
    expected = (
        ListedPair(0, 1, True, 0), ListedPair(0, 2, False, 0), ListedPair(2, 3, True, 1), ListedPair(1, 3, False, 1),
    )  # fmt: skip
    assert read(manifest, "2\t1\nanna\t1\t2\nanna\t1\tbert\t1\nbert 1 7\nanna 2 bert 7\n") == expected
    rows = "\n".join(
        f"{manifest.images[p.first].path.name},{manifest.images[p.second].path.name},{int(p.same)},{p.fold}"
        for p in expected
    )
    assert read(manifest, "first,second,same,fold\n" + rows) == expected


def test_a_list_may_name_photos_that_gave_no_crop(manifest: Manifest) -> None:
    failures = [Failure("bert", path="bert/bert_0009.jpg"), Failure("anna", path="anna.tif"), Failure("carl")]
    path = manifest.path.parent / "pairs.txt"
    path.write_text("1 1\nbert 9 1\nanna 1 bert 9\n")
    assert read_pairs(path, manifest, failures) == (ListedPair(None, 2, True, 0), ListedPair(0, None, False, 0))
    path.write_text("first,second,same,fold\ncrops/anna.png,anna_0001.jpg,1,0\n")
    assert read_pairs(path, manifest, failures) == (ListedPair(None, 0, True, 0),)
    with pytest.raises(InputError, match="got 'crops/anna.png'; add it, or give the --failures that it is among"):
        read_pairs(path, manifest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 'folds pairs'"),
        ("2 1\nanna 1 2\n", "expected 2 folds of 1 pairs .* got 1 lines"),
        ("1 1\nanna 1 2\nanna 1 bert 9\n", "line 3: .* got 'bert' number '9'"),
        ("1 1\nanna 1\nanna 1 bert 1\n", "line 2: expected 3 or 4 words, got 2"),
        ("first,second,same\n", "columns first, second, same and fold"),
        ("first,second,same,fold\nx.jpg,x.jpg,1,0\n", "line 2, field first: .* got 'x.jpg'"),
        ("first,second,same,fold\nanna_0001.jpg,anna_0002.jpg,yes,0\n", "expected same 0 or 1"),
    ],
)
def test_bad_lists_are_named_by_line(manifest: Manifest, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(manifest, text)


def test_a_number_that_two_images_have_is_an_error(manifest: Manifest, tmp_path: Path) -> None:
    twice = Manifest(manifest.path, (*manifest.images, FaceImage(tmp_path / "nir_0001.jpg", "anna", "nir", "val")))
    with pytest.raises(InputError, match="one image of 'anna' with number 1, got two"):
        read(twice, "1 1\nanna 1 2\nanna 1 bert 1\n")
