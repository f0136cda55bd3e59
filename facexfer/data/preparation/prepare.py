"""A folder of photos to crops, a manifest, and a list of what failed and why."""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

import cv2

from facexfer.data.failures import LISTED_TWICE
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.pictures.depths import find_depths
from facexfer.data.preparation.crop import CropOptions, CropRecord, LoadedPhoto, crop_photo, file_stamp, load_photo
from facexfer.data.preparation.detect import Detector, DetectorFile, find_detector
from facexfer.data.preparation.folder import JOURNAL, own_folder
from facexfer.data.preparation.journal import Journal
from facexfer.errors import InputError, RunError
from facexfer.files.digest import file_digest

_AHEAD = 4
# In a worker: its own detector, opened once.
_worker: dict[str, Detector | None] = {}


@dataclass(frozen=True)
class Prepared:
    """What became of every photo.

    Attributes:
        entries: All photos, by name.
        records: What became of each, in the same order.
        crops: The file of each crop relative to the folder, in the same order; of failures too, where it would be.
        settings: What the crops depend on: the options, and the detector's file with the start of its SHA-256.
    """

    entries: tuple[PhotoEntry, ...]
    records: tuple[CropRecord, ...]
    crops: tuple[str, ...]
    settings: Mapping[str, Any]


def prepare(
    entries: Iterable[PhotoEntry],
    out: Path,
    options: CropOptions,
    detector: str | None,
    min_score: float = 0.6,
    jobs: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Make the crops of all photos, in any order of work with the same result.

    Run again with the same options after a kill, it redoes the crops that were in flight only, and photos that changed.

    Args:
        entries: Of a layout.
        out: The folder; the crops come into ``crops/``.
        options: How.
        detector: A file or a pack's name for `find_detector`; None if none is needed.
        min_score: Fainter faces are not faces, 0..1.
        jobs: Processes, at least 1.
        advance: Told (done, all) after each photo.

    Returns:
        What became of every photo.

    Raises:
        InputError: If the folder was started with other settings or photos, holds something else or is written to by
            another run, or the detector cannot be opened.
        RunError: If a process dies, or a crop cannot be written.
        KeyboardInterrupt: On Ctrl-C, with a line that says how to go on.
    """
    with preparing(entries, out, options, detector, min_score, jobs, advance) as prepared:
        return prepared


@contextmanager
def preparing(
    entries: Iterable[PhotoEntry],
    out: Path,
    options: CropOptions,
    detector: str | None,
    min_score: float = 0.6,
    jobs: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Prepared]:
    """Make the crops as `prepare` does, and keep other runs out of the folder until the context's end."""
    if jobs < 1 or not 0 <= min_score <= 1:
        raise InputError(f"expected jobs of at least 1 and min_score from 0 to 1, got {jobs} and {min_score:g}")
    # A set that lists a photo twice has one crop of it; the second row is a failure with a reason.
    ordered = tuple(_without_repeats(sorted(map(_kept_inside, entries), key=lambda entry: entry.name)))
    if not options.pre_cropped and detector is None and any(entry.landmarks is None for entry in _usable(ordered)):
        raise InputError(
            "expected a detector, the layout gives no landmarks; give --detector FILE.onnx (YuNet, SCRFD, RetinaFace) "
            "or the name of an InsightFace pack such as buffalo_sc"
        )
    found = None if detector is None else find_detector(detector)
    # Opened before anything is written; with several jobs each opens its own.
    opened = None if found is None else found.open(min_score)
    settings = {**asdict(options), "detector": found and _fingerprint(found), "min_score": min_score}
    crops = crop_names(ordered)
    crop_of = {entry.name: crop for entry, crop in zip(ordered, crops, strict=True)}
    ordered = _with_usual_bits(ordered)
    with own_folder(out):
        journal = Journal(out / JOURNAL, settings)
        _check_same_photos(journal, ordered)
        waiting = [
            (entry, out / crop)
            for entry, crop in zip(ordered, crops, strict=True)
            if not _is_done(journal.records.get(entry.name), entry, crop, out)
        ]
        done = len(ordered) - len(waiting)
        try:
            with journal.writing() as file:
                for records in _work(waiting, options, found, min_score, jobs, opened):
                    journal.write(file, [replace(record, crop=crop_of[record.name]) for record in records])
                    done += len(records)
                    advance(done, len(ordered))
        except KeyboardInterrupt:
            said = f"stopped after {done} of {len(ordered)} photos; run the same command again to continue"
            raise KeyboardInterrupt(said) from None
        yield Prepared(ordered, tuple(journal.records[entry.name] for entry in ordered), crops, settings)


def _check_same_photos(journal: Journal, entries: Sequence[PhotoEntry]) -> None:
    """Refuse another set's photos; some may have come or gone."""
    others = len(journal.records.keys() - {entry.name for entry in entries})
    if others > len(journal.records) / 2:
        raise InputError(
            f"{journal.path.parent}: expected the photos it was started with, {others} of its {len(journal.records)} "
            "are not among those given; choose another --out"
        )


def crop_names(entries: Sequence[PhotoEntry]) -> tuple[str, ...]:
    """Name the crops after the photos: ``crops/a/b.png`` for ``a/b.jpg``; ``b.jpg.png`` where several would be one.

    A row whose photo is listed before has no crop, and changes no other's name.
    """
    # A row of a manifest may name the manifest's own folder, ".", which has no suffix to leave out.
    short = [str(path.with_suffix("")) if (path := PurePosixPath(entry.name)).name else entry.name for entry in entries]
    of_its_own = [entry.problem is None or entry.problem[0] != LISTED_TWICE for entry in entries]
    counts = Counter(name.casefold() for name, own in zip(short, of_its_own, strict=True) if own)
    # A photo 1.jpg.bmp would take the name that 1.jpg has where there is a 1.png.
    counts.update({entry.name.casefold() for entry in entries})
    # A folder may be called a.png, next to a photo a.jpg.
    counts.update(
        {
            str(folder)[: -len(".png")].casefold()
            for entry in entries
            for folder in PurePosixPath(entry.name).parents
            if folder.suffix.lower() == ".png"
        }
    )
    return tuple(
        f"crops/{name if own and counts[name.casefold()] == 1 else entry.name}.png"
        for name, entry, own in zip(short, entries, of_its_own, strict=True)
    )


def _with_usual_bits(entries: tuple[PhotoEntry, ...]) -> tuple[PhotoEntry, ...]:
    """Add to each photo what the photos of its camera use; those inside of a packed file have 8 bits."""
    looked_at = [entry for entry in _usable(entries) if entry.span is None]
    files = (entry.source if entry.data is None else entry.data for entry in looked_at)
    depths = find_depths(looked_at, files)
    return tuple(replace(entry, usual_bits=depths.usual(entry)) for entry in entries) if depths.used else entries


def _fingerprint(detector: DetectorFile) -> str:
    return f"{detector.path.name} {file_digest(detector.path)[:12]}"


def _usable(entries: Iterable[PhotoEntry]) -> Iterator[PhotoEntry]:
    return (entry for entry in entries if entry.problem is None)


def _kept_inside(entry: PhotoEntry) -> PhotoEntry:
    # Lists are written by others: no name of theirs may put a crop outside of the folder.
    name = PurePosixPath(entry.name)
    if entry.problem is None and (name.is_absolute() or ".." in name.parts):
        return replace(entry, problem=("path-out-of-folder", "expected a photo below the folder of the set"))
    return entry


def _without_repeats(entries: Iterable[PhotoEntry]) -> Iterator[PhotoEntry]:
    first, times = None, 1
    for entry in entries:
        if first is None or entry.name != first.name:
            first, times = entry, 1
            yield entry
            continue
        times += 1
        whose = "" if entry.identity == first.identity else f" as a photo of '{first.identity}'"
        yield PhotoEntry(
            f"{entry.name}#{times}", entry.source, entry.identity, entry.modality, entry.split,
            problem=(LISTED_TWICE, f"{entry.name} is listed before{whose}"),
        )  # fmt: skip


def _is_done(record: CropRecord | None, entry: PhotoEntry, crop: str, out: Path) -> bool:
    if record is None or entry.problem is not None or record.stamp != file_stamp(entry.source):
        return False
    if record.given != (entry.landmarks or ()) or (record.bits and record.usual_bits != entry.usual_bits):
        return False
    # Photos that come or go change how crops are named: the file of that name may be another photo's.
    if record.crop not in ("", crop):
        return False
    # A file that could not be read, or that the layout refused before, gets another look.
    return bool(record.bytes_hash) and (bool(record.reason) or (out / crop).is_file())


def _work(
    waiting: Sequence[tuple[PhotoEntry, Path]],
    options: CropOptions,
    detector: DetectorFile | None,
    min_score: float,
    jobs: int,
    opened: Detector | None,
) -> Iterator[list[CropRecord]]:
    if jobs == 1:
        for entry, target, loading in _read_ahead(waiting, options):
            yield [crop_photo(entry, loading.result(), target, options, opened)]
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Threads of OpenCV and a fork do not go together.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_open, initargs=(detector, min_score, threads)) as pool:
        running: set[Future[CropRecord]] = set()
        # Started later, within `_deaf_to_interrupts`, it would unblock the signal.
        resource_tracker.ensure_running()
        try:
            for entry, target in waiting:
                with _deaf_to_interrupts():
                    running.add(pool.submit(_one, entry, target, options))
                if len(running) >= _AHEAD * jobs:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    yield [future.result() for future in finished]
            for future in running:
                yield [future.result()]
        except BrokenProcessPool as error:
            raise RunError(
                "expected every worker process to finish, one died (out of memory?); run the same command again with "
                "fewer --jobs to continue"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C, which the terminal sends to all, does not reach: this one stops them when it stops.

    A blocked signal stays blocked in a process started meanwhile; here it comes afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read_ahead(
    waiting: Sequence[tuple[PhotoEntry, Path]], options: CropOptions
) -> Iterator[tuple[PhotoEntry, Path, Future[LoadedPhoto]]]:
    """Read a photo while the one before it is looked at."""
    with ThreadPoolExecutor(1) as reader:
        coming: deque[tuple[PhotoEntry, Path, Future[LoadedPhoto]]] = deque()
        for entry, target in waiting:
            coming.append((entry, target, reader.submit(load_photo, entry, options)))
            if len(coming) > 1:
                yield coming.popleft()
        yield from coming


def _open(detector: DetectorFile | None, min_score: float, threads: int) -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()
    _worker["detector"] = None if detector is None else detector.open(min_score, threads)


def _end_with_parent() -> None:
    # A killed parent cannot stop its processes: without this they would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(entry: PhotoEntry, target: Path, options: CropOptions) -> CropRecord:
    return crop_photo(entry, load_photo(entry, options), target, options, _worker["detector"])
