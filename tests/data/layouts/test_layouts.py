"""Every layout on a tree made here in its published form."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.layouts.landmarks_file import with_landmarks
from facexfer.data.layouts.walk import count_others, find_lists, walk_photos
from facexfer.errors import InputError


def tree(root: Path, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((20, 20), 90, np.uint8))
    return root


def listed(layout: str, root: Path, **options: Any):
    return {entry.name: entry for entry in LAYOUTS[layout](root, LayoutOptions(**options))}


def problems(entries):
    return {name: entry.problem and entry.problem[0] for name, entry in entries.items()}


def test_a_folder_per_identity(tmp_path: Path) -> None:
    entries = listed("folders", tree(tmp_path, "anna/a.png", "bert/s1/b.png", "stray.png"))
    assert {name: entry.identity for name, entry in entries.items()} == {
        "anna/a.png": "anna", "bert/s1/b.png": "bert", "stray.png": "",
    }  # fmt: skip
    assert problems(entries)["stray.png"] == "no-identity"
    assert entries["anna/a.png"].modality == "nir"


@pytest.mark.parametrize("pattern", [r"^(\d+)_", r"^(x)?(?P<identity>\d+)_"])
def test_polyu_by_an_expression(tmp_path: Path, pattern: str) -> None:
    entries = listed("polyu-nirfd", tree(tmp_path, "0012_03.bmp", "0013_01.bmp"), identity_regex=pattern)
    assert [entry.identity for entry in entries.values()] == ["0012", "0013"]


def test_an_empty_or_blank_identity_is_none(tmp_path: Path) -> None:
    tree(tmp_path, "12/_1.bmp", " /2.bmp")
    assert problems(listed("folders", tmp_path)) == {"12/_1.bmp": None, " /2.bmp": "no-identity"}
    assert set(problems(listed("folders", tmp_path, identity_regex=r"/(\d*)_")).values()) == {"no-identity"}


def test_polyu_by_folders(tmp_path: Path) -> None:
    assert listed("polyu-nirfd", tree(tmp_path, "12/3.bmp"))["12/3.bmp"].identity == "12"


@pytest.mark.parametrize(("pattern", "message"), [("(", "regular expression"), ("a", "expected a group")])
def test_a_wrong_expression_is_an_error(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        listed("folders", tree(tmp_path, "a/a.png"), identity_regex=pattern)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"manifest"}))
def test_an_empty_folder_is_an_error(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match="expected"):
        listed(layout, tmp_path)


def test_cbsr_by_its_eye_centres(tmp_path: Path) -> None:
    tree(tmp_path, "0001-00-a-g.bmp", "0002-01-c-n.bmp", "0003-00-a-g.bmp", "more/0001-00-a-g.bmp")
    (tmp_path / "list.txt").write_text(
        "0001-00-a-g.bmp,197,345,325,349\n0002-01-c-n.bmp,325,349,197,345\n0009-a.bmp,1,2,3,4\n"
    )
    (tmp_path / "README.txt").write_text("Thank you, for your interest.\n")
    entries = listed("cbsr-nir", tmp_path)
    assert entries["0001-00-a-g.bmp"].identity == "0001"
    # Image-left first, whichever way the list has them.
    assert entries["0002-01-c-n.bmp"].landmarks == ((197, 345), (325, 349))
    assert problems(entries) == {
        "0001-00-a-g.bmp": None, "0002-01-c-n.bmp": None, "0003-00-a-g.bmp": "not-listed",
        "0009-a.bmp": "missing-file", "more/0001-00-a-g.bmp": "ambiguous-name",
    }  # fmt: skip
    (tmp_path / "list.txt").write_text("0001-00-a-g.bmp,197,345,325,349\n0002-01-c-n.bmp,325\n")
    with pytest.raises(InputError, match=r"list\.txt, line 2: expected name,x,y,x,y"):
        listed("cbsr-nir", tmp_path)


@pytest.mark.parametrize("line", ["s1\\NIR\\00001\\{}.jpg", "NIR\\s1\\00001\\{}.jpg"])
def test_casia_by_its_lists(tmp_path: Path, line: str) -> None:
    def name(number):
        return line.format(number)

    def visible(number):
        return name(number).replace("NIR", "VIS").replace("00001", "00002")

    files = [name("001"), name("002"), name("003"), visible("001"), visible("002")]
    tree(tmp_path, *(file.replace("\\", "/") for file in files))
    (tmp_path / "protocols").mkdir()
    for stem, lines in {
        "nir_train_1": name("001"), "vis_train_1": "", "nir_probe_1": f"{name('002')}\n{name('009')} ",
        "vis_gallery_1": visible("001"), "nir_train_2": name("003"),
    }.items():  # fmt: skip
        (tmp_path / "protocols" / f"{stem}.txt").write_text(f"{lines}\r\n")
    entries = listed("casia-nir-vis2", tmp_path)
    assert {key.replace("/", "\\"): (e.split, e.modality, e.identity, e.session) for key, e in entries.items()} == {
        name("001"): ("train", "nir", "00001", "s1"),
        name("002"): ("test", "nir", "00001", "s1"),
        name("009"): ("test", "nir", "00001", "s1"),
        name("003"): ("", "nir", "00001", "s1"),
        visible("001"): ("test", "vis", "00002", "s1"),
        visible("002"): ("", "vis", "00002", "s1"),
    }
    found = {key.replace("/", "\\"): problem for key, problem in problems(entries).items()}
    assert found[name("009")] == "missing-file"
    assert found[name("003")] == found[visible("002")] == "not-in-protocol"
    second = listed("casia-nir-vis2", tmp_path, fold="2")
    assert [key.replace("/", "\\") for key, entry in second.items() if entry.split] == [name("003")]
    with pytest.raises(InputError, match="--fold 1 to 10 or dev"):
        listed("casia-nir-vis2", tmp_path, fold="11")
    with (tmp_path / "protocols" / "nir_train_1.txt").open("a") as file:
        file.write(f"{name('001')}\n{name('002')}\n")
    with pytest.raises(
        InputError, match=r"nir_train_1\.txt, line 3: expected every photo in one list, got .*nir_probe_1"
    ):
        listed("casia-nir-vis2", tmp_path)
    (tmp_path / "protocols" / "nir_train_1.txt").write_text("00001.jpg 1\n")
    with pytest.raises(InputError, match=r"nir_train_1\.txt, line 1: expected a path such as s1/NIR"):
        listed("casia-nir-vis2", tmp_path)


def test_a_mark_before_the_first_line_of_a_list_is_not_part_of_it(tmp_path: Path) -> None:
    mark = "\ufeff"
    tree(tmp_path / "cbsr", "0001-00-a-g.bmp")
    (tmp_path / "cbsr" / "list.txt").write_text(f"{mark}0001-00-a-g.bmp,197,345,325,349\n")
    assert problems(listed("cbsr-nir", tmp_path / "cbsr")) == {"0001-00-a-g.bmp": None}
    tree(tmp_path / "casia", "s1/NIR/00001/001.jpg")
    (tmp_path / "casia" / "nir_train_1.txt").write_text(f"{mark}s1\\NIR\\00001\\001.jpg\n")
    assert problems(listed("casia-nir-vis2", tmp_path / "casia")) == {"s1/NIR/00001/001.jpg": None}


def test_lfw_with_its_pairs(tmp_path: Path) -> None:
    tree(tmp_path, "Ann_Lee/Ann_Lee_0001.jpg", "Bo/Bo_0002.jpg", "Bo/photo.jpg")
    (tmp_path / "pairs.txt").write_text("1 1\nAnn_Lee 1 2\nAnn_Lee 1 Bo 2\n")
    entries = listed("lfw", tmp_path, modality="vis")
    assert problems(entries) == {
        "Ann_Lee/Ann_Lee_0001.jpg": None, "Ann_Lee/Ann_Lee_0002.jpg": "missing-file", "Bo/Bo_0002.jpg": None,
        "Bo/photo.jpg": "no-identity",
    }  # fmt: skip
    for number in ("one", "²", "9" * 5000):
        (tmp_path / "pairs.txt").write_text(f"1 1\nAnn_Lee {number} 2\n")
        with pytest.raises(InputError, match=r"pairs\.txt, line 2"):
            listed("lfw", tmp_path)


def test_a_manifest_of_photos(tmp_path: Path) -> None:
    tree(tmp_path / "set", "a.png", "b.png")
    tree(tmp_path, "outside.png")
    points = ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
    (tmp_path / "set" / "images.csv").write_text(
        f"path,identity,modality,split,session,{points}\n"
        f"a.png,anna,nir,train,1,{','.join(map(str, range(10)))}\nb.png,bert,vis,val,2{',' * 10}\n"
        f"../outside.png,carl,vis,val,2{',' * 10}\nc.png,dora,vis,val,2{',' * 10}\n"
        f"{'n' * 300}.png,emil,vis,val,2{',' * 10}\n"
    )
    entries = listed("manifest", tmp_path / "set")
    assert entries["a.png"].landmarks == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert (entries["b.png"].landmarks, entries["b.png"].session, entries["b.png"].split) == (None, "2", "val")
    assert problems(entries) == {
        "a.png": None, "b.png": None, "../outside.png": "path-out-of-folder", "c.png": "missing-file",
        f"{'n' * 300}.png": "missing-file",
    }  # fmt: skip


def test_a_manifest_reached_through_a_link_names_its_photos_within(tmp_path: Path) -> None:
    tree(tmp_path / "set", "a/1.png")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "images.csv").write_text(f"path,identity,modality,split\n{tmp_path}/set/a/1.png,a,nir,val\n")
    assert problems(listed("manifest", tmp_path / "link")) == {"a/1.png": None}


def test_no_link_leads_out_and_nothing_is_waited_for(tmp_path: Path) -> None:
    tree(tmp_path, "out/secret.png", "set/a/a.png")
    (tmp_path / "set" / "a" / "link.png").symlink_to(tmp_path / "out" / "secret.png")
    (tmp_path / "set" / "a" / "inner.png").symlink_to(tmp_path / "set" / "a" / "a.png")
    (tmp_path / "set" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "set" / "a" / "dangling.png").symlink_to(tmp_path / "set" / "none.png")
    os.mkfifo(tmp_path / "set" / "a" / "pipe.png")
    found = {path.as_posix(): problem and problem[0] for path, problem in walk_photos(tmp_path / "set")}
    assert found == {
        "a/a.png": None, "a/link.png": "link-out-of-folder", "a/inner.png": None, "folder": "link-to-folder",
        "a/dangling.png": "not-a-file", "a/pipe.png": "not-a-file",
    }  # fmt: skip


def test_links_in_a_circle_end_nothing(tmp_path: Path) -> None:
    tree(tmp_path, "set/Ann/Ann_0001.jpg")
    for name in ("Ann/Ann_0002.jpg", "Ann/list.txt"):
        (tmp_path / "set" / name).symlink_to(Path(name).name)
    found = {path.as_posix(): problem and problem[0] for path, problem in walk_photos(tmp_path / "set")}
    assert found == {"Ann/Ann_0001.jpg": None, "Ann/Ann_0002.jpg": "not-a-file"}
    assert find_lists(tmp_path / "set") == []
    rows = "".join(f"Ann/{name}.jpg,Ann,vis,train\n" for name in ("Ann_0001", "Ann_0002"))
    (tmp_path / "set" / "images.csv").write_text(f"path,identity,modality,split\n{rows}")
    assert problems(listed("manifest", tmp_path / "set")) == {
        "Ann/Ann_0001.jpg": None, "Ann/Ann_0002.jpg": "missing-file",
    }  # fmt: skip


def test_lists_are_read_inside_only(tmp_path: Path) -> None:
    tree(tmp_path, "set/Ann/Ann_0001.jpg")
    (tmp_path / "list.txt").write_text("1 1\nAnn 1 2\n")
    (tmp_path / "set" / "Ann" / "inner.txt").write_text("")
    (tmp_path / "set" / "pairs.txt").symlink_to(tmp_path / "list.txt")
    assert [path.name for path in find_lists(tmp_path / "set")] == ["inner.txt"]
    assert set(listed("lfw", tmp_path / "set")) == {"Ann/Ann_0001.jpg"}


def test_names_that_no_table_can_hold_are_failures(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"{'x' * 230}.png").write_bytes(b"")
    try:
        with open(os.fsencode(tmp_path / "a") + b"/\xff\xfe.png", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = problems(listed("folders", tmp_path))
    assert found == {"a/\\xff\\xfe.png": "name-not-utf-8", f"a/{'x' * 230}.png": "name-too-long"}


def test_other_files_are_counted(tmp_path: Path) -> None:
    for name in ("a.txt", "b.TXT", "none", ".hidden.jpg", "a.png"):
        (tmp_path / name).write_text("")
    assert count_others(tmp_path) == {"(none)": 1, ".jpg": 1, ".txt": 2}


def test_landmarks_from_a_file(tmp_path: Path) -> None:
    entries = LAYOUTS["folders"](tree(tmp_path / "set", "a/1.png", "a/2.png"), LayoutOptions())
    (tmp_path / "eyes.csv").write_text("path,x1,y1,x2,y2\na/2.png,1,2,3,nan\n")
    first, second = with_landmarks(entries, tmp_path / "eyes.csv")
    assert first.landmarks is None
    assert second.points().shape == (2, 2)


def test_spaces_around_a_path_of_a_landmark_file_do_not_count(tmp_path: Path) -> None:
    entries = list(LAYOUTS["folders"](tree(tmp_path / "set", "a/1.png", "b /1.png", "a/ 2.png"), LayoutOptions()))
    (tmp_path / "eyes.csv").write_text("path,x1,y1,x2,y2\n a/1.png ,1,2,3,4\nb /1.png,1,2,3,4\na/ 2.png,1,2,3,4\n")
    assert all(entry.landmarks == ((1, 2), (3, 4)) for entry in with_landmarks(entries, tmp_path / "eyes.csv"))


def points(count: int) -> str:
    """The columns of landmarks."""
    return ",".join(f"x{number},y{number}" for number in range(1, count + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x1\n", "line 1: expected the columns path and"),
        ("path,x1,y1,x2,y2\na/1.png,1,2,3\n", "line 2: expected 4 numbers"),
        ("path,x1,y1,x2,y2\na/1.png,1,2,3,4\na/1.png,1,2,3,4\n", "line 3: .* got another line for it"),
        ("path,x1,y1,x2,y2\na/1.png,1,2,3,4,5\n", "line 2: .* got more fields than columns"),
        ("path,x1,y1,x2,y2\nb.png,1,2,3,4\n", "1 are not there, such as 'b.png'"),
        ("path,x1,y1,x2,y2\n\n", "expected a line of landmarks per photo, got no line below the heading; add them"),
        # Two eyes would be taken of four points and of a misspelled fifth one, and of 68 points the jaw.
        (f"path,{points(4)}\na/1.png,{'1,2,' * 4}\n", "line 1: expected all of x1, .* or x1, y1, x2, y2 alone"),
        (f"path,{points(5).replace('y5', 'Y5')}\na/1.png,{'1,2,' * 5}\n", "x5, Y5; choose five points"),
        (f"path,{points(68)}\na/1.png,{'1,2,' * 68}\n", "x5, y5 and 126 more; choose five points"),
    ],
)
def test_bad_landmark_files_are_errors(tmp_path: Path, text: str, message: str) -> None:
    entries = LAYOUTS["folders"](tree(tmp_path / "set", "a/1.png"), LayoutOptions())
    (tmp_path / "eyes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        list(with_landmarks(entries, tmp_path / "eyes.csv"))
