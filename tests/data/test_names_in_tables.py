"""Names in manifests, lists, recipes, folders and options: one form, in which equal means the same."""

import unicodedata
from pathlib import Path

import pytest

from facexfer.data.draws import write_draws
from facexfer.data.failures import Failure, read_failures
from facexfer.data.image_set import ImageSet
from facexfer.data.layouts import LAYOUTS, LayoutOptions, layout_options
from facexfer.data.manifest import FaceImage, read_manifest
from facexfer.data.splits import check_disjoint
from facexfer.errors import DataWarning, InputError
from facexfer.measure.model import ImageChoice
from facexfer.measure.questions import check_column
from facexfer.recipe import parse_recipe

HEADER = "path,identity,modality,split,capture"
NFC, NFD = "Jos\u00e9", unicodedata.normalize("NFD", "Jos\u00e9")


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    file = folder / "images.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return file


def test_spelling_makes_no_second_person(tmp_path: Path) -> None:
    rows = [
        f"1,{NFC},nir,train,c",
        f"2,{NFD} ,nir ,train,c ",
        f"3,\u00a0{NFD}, nir,\ttrain,",
        f"4,{NFC}\u200b,nir,train, ",
    ]
    manifest = read_manifest(table(tmp_path, *rows))
    assert manifest.identities == (NFC,)
    assert [image.capture for image in manifest.images] == ["c", "c", None, None]
    assert len(manifest.select(split=" train", modality="nir\u00a0").images) == 4
    assert ImageChoice(manifest, " train", "nir ").probe == "nir"


def test_an_image_made_in_python_has_the_same_names(tmp_path: Path) -> None:
    image = FaceImage(tmp_path / "a.png", f" {NFD}", "nir ", " val", capture=" ", session="s1 ")
    assert (image.identity, image.modality, image.split, image.capture, image.session) == (
        NFC,
        "nir",
        "val",
        None,
        "s1",
    )
    with pytest.raises(InputError, match=r"U\+0007"):
        FaceImage(tmp_path / "a.png", "a\ab", "nir", "val")


def test_one_person_in_two_spellings_is_in_both_splits(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, "1,p1,nir,train,", "2,p1 ,nir,val,"))
    with pytest.raises(InputError, match="1 are in both: p1"):
        check_disjoint(manifest.select(split="train"), manifest.select(split="val"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('1,"a\nb",nir,train,', r"field identity: expected a name on one line, got U\+000A"),
        ("1,a\x07b,nir,train,", r"line 2, field identity: .* U\+0007"),
        ("1,\u200b,nir,train,", "line 2, field identity: expected a value, got nothing"),
        ("1,a,nir\x1b,train,", r"field modality: .* U\+001B"),
        ("1,a,nir,train,c\x01", r"field capture: .* U\+0001"),
    ],
)
def test_what_is_no_name_is_one_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(table(tmp_path, row))


def test_names_that_differ_in_capitals_stay_two_and_are_said(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match=r"column identity: 'p1' and 'P1' count as different; if they are the same"):
        manifest = read_manifest(table(tmp_path, "1,p1,nir,train,", "2,P1,nir,train,", "3,\uff51,nir,train,"))
    assert len(manifest.identities) == 3
    with pytest.warns(DataWarning, match="column modality: 'nir' and 'NIR' count as different"):
        read_manifest(table(tmp_path, "1,p1,nir,train,", "2,p2,NIR,train,"))


def test_headings_are_read_with_spaces_and_refused_in_capitals(tmp_path: Path) -> None:
    spaced = read_manifest(table(tmp_path, "1, p1, nir, train, c", header="path, identity, modality, split, capture "))
    assert spaced.images[0].capture == "c"
    with pytest.raises(InputError, match="expected the column capture, got 'Capture'"):
        read_manifest(table(tmp_path, "1,p1,nir,train,c", header="path,identity,modality,split,Capture"))


def test_parquet_holds_names_as_numbers_bytes_and_gaps(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"path": ["1", "2"], "identity": [7.0, 8.0], "modality": [b"nir", b"nir"], "split": ["val", "val"]}
    parquet.write_table(pyarrow.table({**rows, "capture": [float("nan"), 3.0]}), tmp_path / "images.parquet")
    images = read_manifest(tmp_path / "images.parquet").images
    assert [(image.identity, image.modality, image.capture) for image in images] == [
        ("7", "nir", None),
        ("8", "nir", "3"),
    ]


def test_failures_and_draws_name_the_same_people(tmp_path: Path) -> None:
    manifest = table(tmp_path, *(f"{person}.png,{person},nir,all," for person in ("a", NFC, "b", "c")))
    failures = tmp_path / "failures.csv"
    failures.write_text(f"path,identity,modality,split\n5.png,{NFD} ,nir ,all\n6.png, ,nir,all\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3, field identity: expected a value"):
        read_failures(failures)
    failures.write_text(f"path,identity,modality,split\n5.png,{NFD} ,nir ,all\n", encoding="utf-8")
    assert read_failures(failures) == (Failure(NFC, "nir", "all"),)
    (draw,) = write_draws(manifest, tmp_path / "draws", "identity-disjoint", 1, 2, failures)
    assert draw.splits.count("val") == 2


def test_folders_in_two_spellings_are_one_person(tmp_path: Path) -> None:
    for name in (NFC, NFD, "q\x01"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    entries = list(LAYOUTS["folders"](tmp_path, LayoutOptions()))
    assert {entry.identity for entry in entries if entry.problem is None} == {NFC}
    (bad,) = [entry for entry in entries if entry.problem is not None]
    assert (bad.identity, bad.problem[0]) == ("q\\x01", "bad-name")
    found = LAYOUTS["folders"](
        tmp_path, layout_options("folders", {"identity_regex": f"^({NFC})/", "modality": "nir "})
    )
    assert {(entry.identity, entry.modality) for entry in found if entry.identity} == {(NFC, "nir")}


def test_recipes_clean_the_names_that_select() -> None:
    values = {
        "source": {"backbone": "mobilefacenet"}, "method": {"name": "l2"}, "optimizer": {"epochs": 1},
        "data": {"manifest": "m.csv", "modality": ["nir ", "vis"], "val_split": "val\u00a0"},
        "companions": {"modality": " vis"}, "evaluation": {"pairs": [{"probe": "nir ", "gallery": "vis"}]},
    }  # fmt: skip
    recipe = parse_recipe(values, "test")
    assert (recipe.data.modality, recipe.data.val_split) == (("nir", "vis"), "val")
    assert (recipe.companions.modality, recipe.evaluation.pairs[0].name) == ("vis", "vis-nir")
    with pytest.raises(InputError, match="data.train_split: expected a name"):
        parse_recipe({**values, "data": {"manifest": "m.csv", "train_split": " "}}, "test")
    with pytest.raises(InputError, match=r"data.val_split: .* name on one line, got U\+0001"):
        parse_recipe({**values, "data": {"manifest": "m.csv", "val_split": "v\x01"}}, "test")


def test_slices_and_classes_are_names_too(tmp_path: Path) -> None:
    images = tuple(
        FaceImage(tmp_path / f"{n}", "p", "nir", "val", extra={"glasses": "yes" + " " * n}) for n in range(60)
    )
    check_column(images, "glasses")
    with pytest.raises(InputError, match="expected a name per class"):
        ImageSet("folders", (NFC, NFD), (), ())
