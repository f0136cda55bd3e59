"""Decisions per second: ``python tools/bench.py match --bundle B --photos DIR [--runtime openvino] [--threads 1]``.

Bytes of two JPEG files in, one decision out: decode, detect, align, embed, compare. `facexfer.deploy.matching` and
InsightFace's ``FaceAnalysis`` use the same bundle, made by ``facexfer export RUN --out BUNDLE --detector
det_500m.onnx``, and decide about the same pairs by turns, in one process. The detections must be equal: that is checked
first, for each photo. The median pair counts, beside it the fastest and the time of all threads together.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facexfer.deploy.contract import DETECTOR
from facexfer.deploy.matching import Matcher
from facexfer.measure.providers import CPU

LEAST_SCORE = 0.6
BAR = 1.3
Pair = tuple[bytes, bytes]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py match", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="with a detector in it")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG files with a face each")
    parser.add_argument("--runtime", help="of the bundle; model.onnx by onnxruntime where left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    cv2.setNumThreads(given.threads)
    photos = [path.read_bytes() for path in sorted(given.photos.rglob("*.jpg"))]
    matcher = Matcher(given.bundle, str(given.bundle / DETECTOR), given.runtime, given.threads)
    analysis = open_analysis(given.bundle, given.threads)
    # A low precision moves embeddings, so model.onnx tells whether the faces are the same.
    plain = (
        matcher if given.runtime is None else Matcher(given.bundle, str(given.bundle / DETECTOR), None, given.threads)
    )
    check_equal(plain, matcher, analysis, photos)
    threshold = matcher.threshold(None).score
    ways: dict[str, Callable[[Pair], bool]] = {
        "FaceAnalysis": lambda pair: by_analysis(analysis, pair, threshold),
        "facexfer": lambda pair: by_matcher(matcher, pair, threshold),
    }
    pairs = list(zip(photos, photos[1:] + photos[:1], strict=True))
    show(measure(ways, pairs, given.rounds))


def open_analysis(bundle: Path, threads: int) -> Any:
    import onnxruntime
    from insightface.app import FaceAnalysis

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    analysis = FaceAnalysis(name=str(bundle), providers=[CPU], sess_options=options)
    analysis.prepare(ctx_id=-1, det_thresh=LEAST_SCORE, det_size=(640, 640))
    return analysis


def check_equal(plain: Matcher, matcher: Matcher, analysis: Any, photos: list[bytes]) -> None:
    """Print in how many photos the face is the same, by `plain`, and how far `matcher`'s embeddings are off."""
    known = [largest_face(analysis, photo) for photo in photos]
    equal = sum(float(plain.embed(photo) @ face) > 0.999 for photo, face in zip(photos, known, strict=True))
    least = min(float(matcher.embed(photo) @ face) for photo, face in zip(photos, known, strict=True))
    print(f"{len(photos)} photos: the same face in {equal}, least cosine of the two embeddings {least:.4f}")


def largest_face(analysis: Any, photo: bytes) -> np.ndarray:
    faces = analysis.get(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR))
    face = max(faces, key=lambda each: (each.bbox[2] - each.bbox[0]) * (each.bbox[3] - each.bbox[1]))
    return np.asarray(face.normed_embedding)


def by_analysis(analysis: Any, pair: Pair, threshold: float) -> bool:
    return bool(largest_face(analysis, pair[0]) @ largest_face(analysis, pair[1]) > threshold)


def by_matcher(matcher: Matcher, pair: Pair, threshold: float) -> bool:
    return bool(matcher.embed(pair[0]) @ matcher.embed(pair[1]) > threshold)


def measure(
    ways: dict[str, Callable[[Pair], bool]], pairs: list[Pair], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Decide about every pair by turns; seconds, and seconds of all threads."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for pair in pairs:
            for name, decide in ways.items():
                start, used = time.perf_counter(), time.process_time()
                decide(pair)
                found[name].append((time.perf_counter() - start, time.process_time() - used))
    return found


def show(found: dict[str, list[tuple[float, float]]]) -> None:
    for name, times in found.items():
        wall, used = zip(*times, strict=True)
        print(
            f"{name:12} {1 / statistics.median(wall):6.1f} decisions/s, fastest {1e3 * min(wall):.1f} ms, "
            f"{1e3 * statistics.median(used):.1f} ms of CPU"
        )
    ratios = [
        statistics.median(theirs[kind] / ours[kind] for theirs, ours in zip(*found.values(), strict=True))
        for kind in (0, 1)
    ]
    print(f"facexfer: {ratios[0]:.2f} x the rate, {ratios[1]:.2f} x by CPU time (bar {BAR})")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
