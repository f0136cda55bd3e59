"""Crops per second: ``python tools/bench.py prepare --detector FILE.onnx --photos DIR [--copies 10] [--times 3]``.

`facexfer prepare` with one process and with two, against the same steps done one after the other in a plain loop:
read with OpenCV, detect (InsightFace's own model class, or YuNet through OpenCV), InsightFace's ``norm_crop``, write.
OpenCV with one thread each, in turns within one run, the fastest of each. One job reads the next photo while it looks
at one; starting the processes counts. CPU seconds are given as well:
they say how much work a crop is, whatever else the machine does.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from measuring import in_child

from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.preparation.crop import CropOptions
from facexfer.data.preparation.detect import InsightFaceDetector, YuNetDetector, open_detector
from facexfer.data.preparation.prepare import prepare

WAYS = ("loop", "one", "two")
NAMES = {"loop": "InsightFace's calls in a loop", "one": "facexfer, 1 job", "two": "facexfer, 2 jobs"}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--detector", required=True, help="an ONNX file")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--copies", type=int, default=10, help="how often each photo is taken")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        (photos / "a").mkdir(parents=True)
        files = sorted(path for path in given.photos.rglob("*") if path.suffix in (".jpg", ".png", ".pgm", ".bmp"))
        for copy in range(given.copies):
            for number, path in enumerate(files):
                shutil.copyfile(path, photos / "a" / f"{copy:03d}-{number:05d}{path.suffix}")
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        cpu: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(given.times):
            for way in WAYS:
                took = in_child(__file__, way, photos, given.detector)
                seconds[way].append(took["seconds"])
                cpu[way].append(took["cpu"])
    total = given.copies * len(files)
    print(f"{total} photos, {Path(given.detector).name}, fastest of {given.times}")
    loop, one = min(seconds["loop"]), min(seconds["one"])
    for way in WAYS:
        best = min(seconds[way])
        print(
            f"{NAMES[way]:30} {total / best:7.1f} crops/s = {loop / best:.2f} x the loop, {one / best:.2f} x one job; "
            f"CPU {1e3 * min(cpu[way]) / total:.1f} ms per crop; all times: "
            f"{', '.join(f'{each:.2f}' for each in seconds[way])} s"
        )
    print("bars: 1 job at least 1.00 x the loop, 2 jobs at least 1.70 x the loop")


def by_loop(photos: Path, model: str, out: Path) -> None:
    from insightface.utils import face_align

    detector = open_detector(model)
    for path in sorted(photos.rglob("*.*")):
        image = cv2.imread(str(path))
        assert image is not None
        points = first_points(detector, image)
        if points is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                crop = face_align.norm_crop(image, points)
            cv2.imwrite(str(out / f"{path.stem}.png"), crop)


def first_points(detector: object, image: np.ndarray) -> np.ndarray | None:
    if isinstance(detector, InsightFaceDetector):
        _, points = detector._network.detect(image, max_num=1, input_size=detector._network.input_size)
        return points[0] if points is not None and len(points) else None
    assert isinstance(detector, YuNetDetector)
    detector._network.setInputSize((image.shape[1], image.shape[0]))
    faces = detector._network.detect(image)[1]
    return None if faces is None else faces[0, 4:14].reshape(5, 2)


def by_prepare(photos: Path, model: str, out: Path, jobs: int) -> None:
    prepare(LAYOUTS["folders"](photos, LayoutOptions()), out, CropOptions(), model, jobs=jobs)


def child(way: str, photos: Path, model: str) -> None:
    cv2.setNumThreads(1)
    # The imports of both are not what is measured; those of further processes are.
    import insightface.utils.face_align  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        if way == "loop":
            measure(lambda: by_loop(photos, model, Path(folder)))
        else:
            measure(lambda: by_prepare(photos, model, Path(folder), WAYS.index(way)))


def measure(work: Callable[[], None]) -> None:
    start, before = time.perf_counter(), cpu_seconds()
    work()
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": cpu_seconds() - before}))


def cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
