"""The manifest: what is read, what is refused and where, what is written."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from facexfer.data.manifest import LANDMARKS, FaceImage, read_manifest, write_manifest
from facexfer.errors import DataWarning, InputError

HEADER = "path,identity,modality,split"


def write(folder: Path, *lines: str) -> Path:
    file = folder / "images.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_rows_and_optional_columns_are_read(tmp_path: Path) -> None:
    points = ",".join(str(number) for number in range(10))
    file = write(
        tmp_path,
        f"{HEADER},{','.join(LANDMARKS)},capture,glasses",
        f"a/1.png,p1,nir,train,{points},c1,yes",
        "b/2.png,p0,vis,val,,,,,,,,,,,,",
    )
    first, second = read_manifest(file).images
    assert first.path == tmp_path / "a/1.png"
    np.testing.assert_array_equal(first.landmarks, np.arange(10).reshape(5, 2))
    assert (first.capture, first.extra, first.line) == ("c1", {"glasses": "yes"}, 2)
    assert (second.landmarks, second.capture) == (None, None)


def test_labels_select_and_captures(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, HEADER, "1,b,nir,train", "2,a,nir,train", "3,b,vis,val"))
    assert manifest.identities == ("a", "b")
    assert manifest.labels().tolist() == [1, 0, 1]
    assert [image.path.name for image in manifest.select(modality="nir", identities={"b"}).images] == ["1"]
    with pytest.raises(InputError, match="expected images of modality 'ir', there are: nir, vis"):
        manifest.select(modality="ir")
    with pytest.raises(InputError, match="of 1 chosen identities, found none"):
        manifest.select(identities={"z"})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], "got an empty manifest"),
        (["path,identity,split", "1,a,train"], "line 1: .* modality is missing"),
        ([HEADER, "1,,nir,train"], "line 2, field identity: expected a value"),
        ([HEADER, "1,a,nir,train", "2,a,nir"], "line 3: expected 4 fields, got 3"),
        ([f"{HEADER},x1", "1,a,nir,train,3"], "expected all of x1, y1"),
        # The first five of 68 points are those of the jaw.
        ([f"{HEADER},{','.join(LANDMARKS)},x6", f"1,a,nir,train{',1' * 11}"], "y5 and 1 more; choose five points"),
        (
            [f"{HEADER},{','.join(LANDMARKS)}", "1,a,nir,train,1,2,3,4,5,six,7,8,9,10"],
            "line 2, field y3: expected a number in pixels, got 'six'",
        ),
        ([f"{HEADER},{','.join(LANDMARKS)}", "1,a,nir,train,1,2,3,4,5,,7,8,9,10"], "field y3: .* got ''"),
        ([f"{HEADER},path", "1,a,nir,train,1"], "expected distinct columns"),
    ],
)
def test_a_bad_row_names_file_line_and_field(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"images.csv.*{message}"):
        read_manifest(write(tmp_path, *lines))


def test_blank_lines_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("\n\npath,identity,modality,split\n\na.png,p,nir,val\n")
    assert [image.identity for image in read_manifest(tmp_path / "images.csv").images] == ["p"]


def test_spaces_around_a_path_do_not_count_unless_a_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / " 2.png").write_text("")
    file = write(tmp_path, HEADER, " 1.png ,a,nir,train", " 2.png,b,nir,train")
    assert [image.path.name for image in read_manifest(file).images] == ["1.png", " 2.png"]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a readable manifest"):
        read_manifest(tmp_path / "none.csv")


def test_what_is_written_reads_as_the_same(tmp_path: Path) -> None:
    landmarks = tuple((float(x), x + 0.5) for x in range(5))
    images = [
        FaceImage(tmp_path / "a,b.png", "p1", "nir", "train", landmarks, "c", "s", "k", {"glasses": "no"}, 2),
        FaceImage(tmp_path / "sub/c.png", "p2", "vis", "val", extra={"glasses": ""}, line=3),
    ]
    write_manifest(tmp_path / "out.csv", images)
    manifest = read_manifest(tmp_path / "out.csv")
    assert list(manifest.images) == images
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_the_fingerprint_is_that_of_rows_and_pictures_not_of_the_place(tmp_path: Path) -> None:
    rows = [HEADER, "1,a,nir,train", "2,b,nir,train"]
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        for name in "123":
            (tmp_path / folder / name).write_text(name)
    first = read_manifest(write(tmp_path / "x", *rows))
    assert first.fingerprint() == read_manifest(write(tmp_path / "y", *rows)).fingerprint()
    assert first.fingerprint() != read_manifest(write(tmp_path / "y", *rows, "3,b,nir,train")).fingerprint()
    # The same size and time, other bytes.
    before = (tmp_path / "x/1").stat()
    (tmp_path / "x/1").write_text("7")
    os.utime(tmp_path / "x/1", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert first.fingerprint() != read_manifest(write(tmp_path / "y", *rows)).fingerprint()
    (tmp_path / "x/1").unlink()
    with pytest.raises(InputError, match="1: expected a readable image, got: No such file"):
        first.fingerprint()


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    file = write(tmp_path, f"{HEADER},capture", "1,a,nir,train,c1", "2,b,vis,val,")
    for name in "12":
        (tmp_path / name).write_text(name)
    columns = {"path": ["1", "2"], "identity": ["a", "b"], "modality": ["nir", "vis"], "split": ["train", "val"]}
    parquet.write_table(pyarrow.table({**columns, "capture": ["c1", None]}), tmp_path / "images.parquet")
    assert read_manifest(tmp_path / "images.parquet").fingerprint() == read_manifest(file).fingerprint()
    assert np.array_equal(read_manifest(tmp_path / "images.parquet").captures(), ["c1", None])
    (tmp_path / "images.parquet").rename(tmp_path / "IMAGES.PARQUET")
    assert read_manifest(tmp_path / "IMAGES.PARQUET").fingerprint() == read_manifest(file).fingerprint()


def read_without_a_warning(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_manifest(file)


def test_shots_that_are_numbered_by_person_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    rows = ["a.png,a,nir,train,0", "b.png,b,nir,train,0", "c.png,a,vis,train,0", "d.png,a,nir,train,1"]
    file.write_text("\n".join(["path,identity,modality,split,capture", *rows]))
    with pytest.warns(DataWarning, match="column capture: 1 shots are of several people, '0' of 2; a VIS and a NIR"):
        read_manifest(file)
    # One of many is a mistake of another kind, and one person's own in two spectra is none.
    more = [f"{number}.png,a,nir,train,a/{number}" for number in range(10)]
    file.write_text("\n".join(["path,identity,modality,split,capture", *rows, *more]))
    read_without_a_warning(file)
    file.write_text("\n".join(["path,identity,modality,split,capture", *rows[:1], *rows[2:]]))
    read_without_a_warning(file)


def test_shots_that_every_camera_numbers_by_itself_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    rows = ["a.png,a,nir,train,0", "b.png,b,nir,train,1", "c.png,b,vis,train,0", "d.png,a,vis,train,1"]
    file.write_text("\n".join(["path,identity,modality,split,capture", *rows]))
    with pytest.warns(DataWarning, match="column capture: 2 shots are of several people, '0' of 2; a VIS and a NIR"):
        read_manifest(file)
    # A name that is in one modality alone may be made up, of pictures without identities.
    file.write_text("\n".join(["path,identity,modality,split,capture", rows[0].replace(",a,", ",?,"), *rows[2:]]))
    read_without_a_warning(file)


def test_a_manifest_in_a_linked_folder_refers_to_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.png").write_text("1")
    image = FaceImage(tmp_path / "set" / "1.png", "a", "nir", "train")
    write_manifest(tmp_path / "link" / "images.csv", [image])
    linked = read_manifest(tmp_path / "link" / "images.csv")
    assert linked.images[0].path.read_text() == "1"
    # Read and written again, e.g. by split; the fingerprint is that of the rows, by whatever way they are reached.
    write_manifest(tmp_path / "images.csv", linked.images)
    assert (tmp_path / "images.csv").read_text().splitlines()[1] == "set/1.png,a,nir,train"
    assert linked.fingerprint() == read_manifest(tmp_path / "deep" / "er" / "images.csv").fingerprint()


@pytest.mark.parametrize("name", ["images.parquet", "images.PARQUET"])
def test_no_csv_is_written_under_the_name_of_parquet(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected the name of a CSV, got Parquet's; name it images.csv"):
        write_manifest(tmp_path / name, [FaceImage(tmp_path / "1.png", "a", "nir", "train")])
    assert not list(tmp_path.iterdir())
