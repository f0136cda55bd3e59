"""Whole folders to crops: nothing disappears, a killed run goes on, and the order of work changes nothing."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from photo_files import POINTS, encoded, picture, write_photos
from PIL import Image

import facexfer
from facexfer.data.failures import read_failures
from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.layouts.landmarks_file import with_landmarks
from facexfer.data.manifest import read_manifest
from facexfer.data.preparation.crop import CropOptions
from facexfer.data.preparation.outputs import write_tables
from facexfer.data.preparation.prepare import Prepared, crop_names, prepare
from facexfer.errors import InputError, RunError

OPTIONS = CropOptions()


def entries_of(root: Path) -> list[PhotoEntry]:
    return list(with_landmarks(LAYOUTS["folders"](root, LayoutOptions()), root.parent / f"{root.name}-landmarks.csv"))


def reasons(prepared: Prepared) -> dict[str, str]:
    return {entry.name: record.reason for entry, record in zip(prepared.entries, prepared.records, strict=True)}


def contents(out: Path) -> dict[str, bytes]:
    # The journal keeps the order of work, and times of the source files.
    kept = [path for path in out.rglob("*") if path.is_file() and path.name != "progress.jsonl"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in kept}


def test_crops_manifest_and_transform(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", people=2, photos=2)
    out = tmp_path / "out"
    prepared = prepare(entries_of(tmp_path / "set"), out, OPTIONS, None)
    summary = write_tables(out, prepared, {})
    assert (summary["photos"], summary["crops"], summary["failures"]) == (4, 4, {})
    image = read_manifest(out / "images.csv").images[3]
    crop = cv2.imread(str(image.path))
    assert (image.identity, image.modality, image.path.name, crop.shape) == ("p1", "nir", "1.png", (112, 112, 3))
    matrix = np.array([float(value) for value in image.extra["transform"].split()]).reshape(2, 3)
    moved = np.array(entries_of(tmp_path / "set")[3].landmarks) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(moved, image.landmarks, atol=2e-3)
    photo = cv2.imread(str(tmp_path / "set" / image.extra["photo"]))
    np.testing.assert_array_equal(cv2.warpAffine(photo, matrix, (112, 112)), crop)


def test_dirty_folders_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_photos(root, people=2, photos=2)
    good = (root / "p0" / "0.png").read_bytes()
    entries = entries_of(root)
    given = entries[0].landmarks
    files = {
        "p0/cut.png": good[:-300], "p0/empty.png": b"", "p0/text.jpg": b"this is no picture",
        "p0/mislabelled.jpg": good,
        "p0/dot.png": encoded(picture().resize((1, 1))), "p0/cmyk.jpg": encoded(picture(7).convert("CMYK"), "JPEG"),
        "p0/moving.gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(1)]),
        "p1/again.png": good, "p1/same-pixels.bmp": encoded(picture(0), "BMP"), "p0/blurred.png": encoded(
            Image.linear_gradient("L").resize((160, 140))),
    }  # fmt: skip
    for name, data in files.items():
        (root / name).write_bytes(data)
    added = [PhotoEntry(name, root / name, name[:2], "nir", landmarks=given) for name in files]
    bad_points = {
        "nan": [(np.nan, 0.0), *given[1:]], "one": [given[0]] * 5,
        "line": [(40.0 + 5 * i, 40.0 + 5 * i) for i in range(5)],
        "mirror": [(160 - x, y) for x, y in given], "out": [(x + 500, y) for x, y in given],
        "small": [(x / 20, y / 20) for x, y in given],
    }  # fmt: skip
    added += [PhotoEntry(f"{name}.png", root / "p0/0.png", "p0", "nir", landmarks=tuple(points))
              for name, points in bad_points.items()]  # fmt: skip
    added += [replace(entries[1]), PhotoEntry("gone.png", root / "gone.png", "", "nir", landmarks=given)]
    prepared = prepare(entries + added, tmp_path / "out", OPTIONS, None)
    found = reasons(prepared)
    assert {name: reason for name, reason in found.items() if reason} == {
        "p0/cut.png": "damaged-image", "p0/empty.png": "empty-file", "p0/text.jpg": "not-an-image",
        "p0/dot.png": "picture-too-small", "p0/moving.gif": "several-frames", "p0/blurred.png": "face-too-blurred",
        "nan.png": "landmarks-not-finite", "one.png": "landmarks-coincident", "line.png": "landmarks-collinear",
        "mirror.png": "landmarks-mirrored", "out.png": "landmarks-out-of-frame", "small.png": "face-too-small",
        "p0/1.png#2": "listed-twice", "gone.png": "unreadable-file",
    }  # fmt: skip
    summary = write_tables(tmp_path / "out", prepared, {})
    assert summary["photos"] == len(found) == summary["crops"] + sum(summary["failures"].values())
    assert summary["per_identity"]["(unknown)"] == {"photos": 1, "crops": 0}
    # The one without an identity and the one listed twice are no failed attempts of anybody.
    assert len(read_failures(tmp_path / "out" / "failures.csv")) == 12
    with (tmp_path / "out" / "duplicates.csv").open() as file:
        groups = {row["kind"]: row for row in csv.DictReader(file)}
    assert {"p0/0.png", "p1/again.png", "p0/mislabelled.jpg"} <= set(groups["same-bytes"]["photos"].split("|"))
    assert "p1/same-pixels.bmp" in groups["same-pixels"]["photos"]
    assert groups["same-pixels"]["identities"] == "p0|p1"
    assert summary["pictures_under_several_identities"]
    crops = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "crops").rglob("*.*")}
    assert len(crops) == summary["crops"] == len(read_manifest(tmp_path / "out" / "images.csv").images)


def test_crops_have_names_of_their_own() -> None:
    names = ("a/1.jpg", "a/1.png", "a/1.jpg.bmp", "a/2.png", "A/2.bmp", "a/3.tif", "b.png/4.png", "b.jpg")
    assert crop_names([PhotoEntry(name, Path(name), "a", "nir") for name in names]) == (
        "crops/a/1.jpg.png", "crops/a/1.png.png", "crops/a/1.jpg.bmp.png", "crops/a/2.png.png", "crops/A/2.bmp.png",
        "crops/a/3.png", "crops/b.png/4.png", "crops/b.jpg.png",
    )  # fmt: skip


def test_a_row_that_names_a_folder_is_one_failure(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", people=1, photos=1)
    rows = "".join(f"{name},a,nir,train\n" for name in (".", "p0/0.png", "p0", "..", "p0/.."))
    (tmp_path / "set" / "images.csv").write_text(f"path,identity,modality,split\n{rows}")
    entries = LAYOUTS["manifest"](tmp_path / "set", LayoutOptions())
    found = reasons(prepare(entries, tmp_path / "out", replace(OPTIONS, pre_cropped=True, size=(240, 320)), None))
    assert found == {
        ".": "path-out-of-folder", ".#2": "listed-twice", "..": "path-out-of-folder", "p0": "missing-file",
        "p0/0.png": "wrong-size",
    }  # fmt: skip


def test_another_size_is_refused_before_the_work(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", people=1, photos=1)
    with pytest.raises(InputError, match=r"expected crops of 112x112 or 112x96 \(height x width\), got 160x160"):
        facexfer.prepare(tmp_path / "set", tmp_path / "out", pre_cropped=True, size=(160, 160))
    assert not (tmp_path / "out").exists()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", 1, 1)
    (entry,) = entries_of(tmp_path / "set")
    (tmp_path / "x.png").write_bytes(b"of somebody else")
    names = ("../x.png", "../../x.png", f"{tmp_path}/x.png", "../y.png")
    entries = [replace(entry, name=name) for name in names]
    entries += [replace(entry, name=name, problem=("missing-file", "")) for name in ("../../x.bmp", "nul\0.png")]
    prepared = prepare(entries, tmp_path / "out" / "inner", OPTIONS, None)
    assert [reasons(prepared)[name] for name in names] == ["path-out-of-folder"] * 4
    assert (tmp_path / "x.png").read_bytes() == b"of somebody else"
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_second_run_does_nothing_again_but_what_changed(tmp_path: Path) -> None:
    write_photos(tmp_path / "set")
    out, seen = tmp_path / "out", []
    entries = entries_of(tmp_path / "set")
    prepare(entries, out, OPTIONS, None)
    before = contents(out)
    os.utime(out / "crops/p0/0.png", ns=(1, 1))
    (tmp_path / "set/p1/1.png").write_bytes(encoded(picture(99)))
    moved = tuple((x + 1, y) for x, y in entries[2].landmarks)
    (out / "crops/p2/3.png").unlink()
    (out / "crops/p0/.1.png.77.writing").write_bytes(b"half")
    entries[2] = replace(entries[2], landmarks=moved)
    prepare(entries, out, OPTIONS, None, advance=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 12), (11, 12), (12, 12)]
    after = contents(out)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"crops/p0/2.png", "crops/p1/1.png"}
    assert (out / "crops/p0/0.png").stat().st_mtime_ns == 1
    (tmp_path / "set/p1/1.png").write_bytes(b"broken since")
    assert reasons(prepare(entries, out, OPTIONS, None))["p1/1.png"] == "not-an-image"
    assert not (out / "crops/p1/1.png").exists()


def test_other_settings_or_a_strange_folder_are_errors(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", 1, 1)
    prepare(entries_of(tmp_path / "set"), tmp_path / "out", OPTIONS, None)
    with pytest.raises(InputError, match="expected the settings it was started with"):
        prepare(entries_of(tmp_path / "set"), tmp_path / "out", replace(OPTIONS, size=(112, 96)), None)
    others = [replace(entry, name=f"more/{entry.name}") for entry in entries_of(tmp_path / "set")]
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="the photos it was started with, 1 of its 1 are not among those given"):
        prepare(others, tmp_path / "out", OPTIONS, None)
    assert contents(tmp_path / "out") == before
    for values in ({"jobs": 0}, {"min_score": 7}):
        with pytest.raises(InputError, match="expected jobs of at least 1 and min_score from 0 to 1"):
            prepare(entries_of(tmp_path / "set"), tmp_path / "new", OPTIONS, None, **values)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is something else in it"):
        prepare(entries_of(tmp_path / "set"), tmp_path / "set", OPTIONS, None)
    with pytest.raises(InputError, match="expected a detector, the layout gives no landmarks"):
        prepare(LAYOUTS["folders"](tmp_path / "set", LayoutOptions()), tmp_path / "new", OPTIONS, None)


def test_one_run_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", 1, 2)
    out = tmp_path / "out"
    seen = []

    def run_another(done: int, total: int) -> None:
        seen.append(done)
        with pytest.raises(InputError, match="expected a folder that no other run writes to, one is at work in it"):
            prepare(entries_of(tmp_path / "set"), out, OPTIONS, None)

    prepare(entries_of(tmp_path / "set"), out, OPTIONS, None, advance=run_another)
    assert seen == [1, 2]
    prepare(entries_of(tmp_path / "set"), out, OPTIONS, None)


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "set", 1, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to write to, got: "):
        prepare(entries_of(tmp_path / "set"), tmp_path / "file" / "out", OPTIONS, None)

    def full(path: Path, data) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("facexfer.data.preparation.crop.write_bytes", full)
    with pytest.raises(RunError, match="expected to write a crop, got: No space left on device"):
        prepare(entries_of(tmp_path / "set"), tmp_path / "out", OPTIONS, None)


def test_eyes_alone_align_exactly(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", 1, 1)
    (entry,) = entries_of(tmp_path / "set")
    eyes = replace(entry, landmarks=tuple(map(tuple, POINTS[:2].tolist())))
    prepared = prepare([eyes], tmp_path / "out", OPTIONS, None)
    np.testing.assert_allclose(prepared.records[0].landmarks, [(38.2946, 51.6963), (73.5318, 51.5014)], atol=1e-3)
    write_tables(tmp_path / "out", prepared, {})
    assert read_manifest(tmp_path / "out" / "images.csv").images[0].landmarks is None


def test_crops_that_are_aligned_already(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "right.png").write_bytes(encoded(picture(size=(96, 112))))
    (tmp_path / "set" / "a" / "wrong.png").write_bytes(encoded(picture(size=(112, 112))))
    listed = LAYOUTS["folders"](tmp_path / "set", LayoutOptions())
    prepared = prepare(listed, tmp_path / "out", replace(OPTIONS, pre_cropped=True, size=(112, 96)), None)
    assert reasons(prepared) == {"a/right.png": "", "a/wrong.png": "wrong-size"}
    right = cv2.imread(str(tmp_path / "out/crops/a/right.png"))
    np.testing.assert_array_equal(right, cv2.imread(str(tmp_path / "set/a/right.png")))


def test_crops_that_are_aligned_already_keep_the_landmarks_of_their_manifest(tmp_path: Path) -> None:
    points = ",".join(map(str, POINTS.ravel().tolist()))
    rows = f"0.png,a,nir,train,{points}\n1.png,a,nir,train{',' * 10}\n"
    (tmp_path / "images.csv").write_text(f"path,identity,modality,split,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n{rows}")
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(number, size=(112, 112))))
    entries = LAYOUTS["manifest"](tmp_path, LayoutOptions())
    prepared = prepare(entries, tmp_path / "out", replace(OPTIONS, pre_cropped=True), None)
    write_tables(tmp_path / "out", prepared, {})
    first, second = read_manifest(tmp_path / "out" / "images.csv").images
    assert first.landmarks is not None
    np.testing.assert_allclose(first.landmarks, POINTS, atol=1e-3)
    assert second.landmarks is None


@pytest.mark.slow
def test_two_processes_give_the_same_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "set")
    for jobs in (1, 2):
        out = tmp_path / f"out{jobs}"
        prepared = prepare(entries_of(tmp_path / "set")[:: 3 - 2 * jobs], out, OPTIONS, None, jobs=jobs)
        write_tables(out, prepared, {})
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_and_leaves_no_process(tmp_path: Path, stop: signal.Signals) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    write_photos(root, people=2, photos=1)
    table = root.parent / "set-landmarks.csv"
    header, first, second = table.read_text().splitlines()
    lines = [header]
    for number in range(300):
        shutil.copyfile(root / "p0/0.png", root / "p0" / f"{number:04d}.png")
        lines.append(first.replace("p0/0.png", f"p0/{number:04d}.png"))
    table.write_text("\n".join([*lines, first, second]) + "\n")
    words = ["prepare", str(root), "--layout", "folders", "--landmarks", str(table), "--jobs", "2", "--out"]
    # A shell may have had its children ignore Ctrl-C.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{listening}from facexfer.cli import main; main()", *words, str(out)]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal, end = out / "progress.jsonl", time.monotonic() + 60
    while (not journal.exists() or journal.read_bytes().count(b"\n") < 40) and time.monotonic() < end:
        time.sleep(0.005)
    children = psutil.Process(running.pid).children(recursive=True)
    if stop == signal.SIGINT:
        os.killpg(running.pid, stop)  # As a terminal does.
    else:
        running.send_signal(stop)
    said = running.communicate()[1]
    if stop == signal.SIGINT:
        assert running.returncode == 130
        assert re.fullmatch(
            r"error: stopped after \d+ of 302 photos; run the same command again to continue",
            said.strip().splitlines()[-1],
        )
        assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    finished = [json.loads(line)["name"] for line in journal.read_text().splitlines()[1:-1]]
    assert 30 < len(finished) < 302
    for path in out.rglob("*.png"):
        assert cv2.imread(str(path)).shape == (112, 112, 3)
    marks = {name: (out / "crops" / name).stat().st_mtime_ns for name in finished}
    for target in (out, tmp_path / "whole"):
        write_tables(target, prepare(entries_of(root), target, OPTIONS, None), {})
    assert all((out / "crops" / name).stat().st_mtime_ns == mark for name, mark in marks.items())
    assert contents(out) == contents(tmp_path / "whole")


def test_a_crop_is_its_own_photos_when_others_come_and_go(tmp_path: Path) -> None:
    folder, out, options = tmp_path / "set" / "a", tmp_path / "out", replace(OPTIONS, pre_cropped=True)
    folder.mkdir(parents=True)
    first, second = (encoded(picture(seed, size=(112, 112))) for seed in (1, 2))

    def pixels() -> dict[str, np.ndarray]:
        prepared = prepare(LAYOUTS["folders"](tmp_path / "set", LayoutOptions()), out, options, None)
        pairs = zip(prepared.entries, prepared.crops, strict=True)
        return {entry.name: cv2.imread(str(out / crop)) for entry, crop in pairs}

    bmp = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(folder / "1.bmp"), bmp)
    assert list(pixels()) == ["a/1.bmp"]
    # Now both have longer names, and then the second photo has the name that the first one's crop had.
    (folder / "1.png").write_bytes(second)
    assert list(pixels()) == ["a/1.bmp", "a/1.png"]
    (folder / "1.bmp").unlink()
    (crop,) = pixels().values()
    np.testing.assert_array_equal(crop, cv2.imread(str(folder / "1.png")))


@pytest.mark.parametrize(
    "line", ["[1]", '{"name":"q","landmarks":[1]}', '{"name":1}', "{}", '{"name":"q","bits":"8"}', "{"]
)
def test_a_line_of_the_journal_that_is_no_record_is_an_error(tmp_path: Path, line: str) -> None:
    write_photos(tmp_path / "set", people=1, photos=1)
    prepare(entries_of(tmp_path / "set"), tmp_path / "out", OPTIONS, None)
    with (tmp_path / "out" / "progress.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(
        InputError, match=r"progress\.jsonl, line 3: expected a JSON line about a photo, got '.*; remove"
    ):
        prepare(entries_of(tmp_path / "set"), tmp_path / "out", OPTIONS, None)
