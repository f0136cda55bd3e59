"""Reading images and crops, and the checks before a training."""

import errno
import hashlib
import io
import os
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from small_faces import write_small_set

from facexfer.data.augmentation import PRESETS, training_transform
from facexfer.data.crop_store import CropStore
from facexfer.data.crops import CropDataset
from facexfer.data.images import check_crops, read_crop, read_rgb
from facexfer.data.manifest import FaceImage, Manifest, read_manifest
from facexfer.data.pictures.photos import decode_photo
from facexfer.data.splits import check_disjoint, check_trainable
from facexfer.errors import InputError
from facexfer.measure.pair_sets import embed_side


def write_image(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def encoded_array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def manifest_of(tmp_path: Path, *identities: str) -> Manifest:
    rows = tuple(FaceImage(tmp_path / f"{n}.png", name, "nir", "train") for n, name in enumerate(identities))
    return Manifest(tmp_path / "images.csv", rows)


def test_colour_grey_and_16_bit_images_are_read_as_rgb(tmp_path: Path) -> None:
    colour = write_image(tmp_path / "c.png", np.full((4, 5, 3), (10, 20, 30), np.uint8))
    assert read_rgb(colour)[0, 0].tolist() == [30, 20, 10]
    grey = write_image(tmp_path / "g.png", np.full((4, 5), 77, np.uint8))
    assert read_rgb(grey)[0, 0].tolist() == [77, 77, 77]
    deep = write_image(tmp_path / "d.png", np.full((4, 5), 65535, np.uint16))
    assert read_rgb(deep)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_deep_crop_is_read_as_its_8_bit_form_by_every_reader(tmp_path: Path, bits: int) -> None:
    """What training, evaluation and prepare see of a NIR crop of 10 to 16 bits: the same as of 8 bits."""
    generator = np.random.default_rng(bits)
    images = manifest_of(tmp_path, *"abc").images
    shown = [generator.integers(0, 256, (112, 112), dtype=np.uint8) for _ in images]
    for image, grey in zip(images, shown, strict=True):
        write_image(image.path, (grey.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16))
    want = np.repeat(np.stack(shown)[..., None], 3, axis=3).astype(int)
    assert np.abs(np.stack([read_crop(image.path) for image in images]) - want).max() <= 1
    assert np.abs(CropStore(images, (112, 112)).load() - want).max() <= 1
    assert np.abs(CropStore(images, (112, 112), tmp_path / "cache").load() - want).max() <= 1
    seen = []

    def embed(crops: np.ndarray) -> np.ndarray:
        seen.append(crops)
        return np.zeros((len(crops), 2))

    embed_side(SimpleNamespace(input_size=(112, 112), embed=embed), Manifest(tmp_path / "images.csv", images))
    assert np.abs(seen[0] - want).max() <= 1
    photo = decode_photo(images[0].path.read_bytes())
    assert photo.bits == bits
    assert np.abs(photo.pixels - want[0]).max() <= 1


def test_a_dark_crop_is_read_as_the_others_of_its_camera(tmp_path: Path) -> None:
    images = manifest_of(tmp_path, *"abcd").images
    for image, top in zip(images, (4095, 4095, 4000, 900), strict=True):
        write_image(image.path, np.linspace(0, top, 112 * 112).astype(np.uint16).reshape(112, 112))
    tops = CropStore(images, (112, 112)).load().max(axis=(1, 2, 3))
    assert tops.tolist() == [255, 255, 249, 56]
    assert read_crop(images[3].path).max() == 224


def test_unreadable_images_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"empty\.png: expected a readable image, got empty-file: 0 bytes"):
        read_rgb(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"text\.png: expected a readable image, got not-an-image: 8 bytes"):
        read_rgb(tmp_path / "text.png")
    with pytest.raises(InputError, match=r"none\.png: .* No such file"):
        read_rgb(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png: expected a readable image, got a folder"):
        read_rgb(tmp_path / "folder.png")
    (tmp_path / "short.png").write_bytes(cv2.imencode(".png", np.eye(40, dtype=np.uint8) * 255)[1].tobytes()[:-30])
    with pytest.raises(InputError, match=r"short\.png: expected a readable image, got damaged-image: PNG"):
        read_rgb(tmp_path / "short.png")


def test_crops_are_checked_for_size_and_all_offenders_are_counted(tmp_path: Path) -> None:
    images = manifest_of(tmp_path, *"abcdefgh").images
    for image in images[1:]:
        write_image(image.path, np.zeros((100, 112, 3), np.uint8))
    with pytest.raises(InputError, match="expected a crop of 112x112 pixels, got 112x100; align"):
        read_crop(images[1].path)
    with pytest.raises(InputError, match=r"8 of 8 crops cannot be used: .*0\.png.* and 3 more"):
        check_crops(images, (112, 112))
    write_image(images[0].path, np.zeros((112, 112, 3), np.uint8))
    check_crops(images[:1], (112, 112))


def test_identities_in_both_sets_are_listed(tmp_path: Path) -> None:
    check_disjoint(manifest_of(tmp_path, "a", "b"), manifest_of(tmp_path, "c"))
    with pytest.raises(InputError, match="2 are in both: b, c; split by identity"):
        check_disjoint(manifest_of(tmp_path, "a", "b", "c"), manifest_of(tmp_path, "c", "b", "d"))


def test_sets_that_cannot_train_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 training images, got 1"):
        check_trainable(manifest_of(tmp_path, "a"))
    with pytest.raises(InputError, match="at least 2 training identities, got only 'a'"):
        check_trainable(manifest_of(tmp_path, "a", "a"))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_keep_shape_and_type(preset: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    changed = training_transform(preset, 0)(image=image)["image"]
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)


def test_augmentation_depends_on_seed_epoch_index_and_turn_only(tmp_path: Path) -> None:
    images = manifest_of(tmp_path, "a", "b").images
    generator = np.random.default_rng(0)
    for image in images:
        write_image(image.path, generator.integers(0, 256, (112, 112, 3), dtype=np.uint8))
    first, second = (CropDataset(images, [0, 1], (112, 112), training_transform("nir", 0)) for _ in range(2))
    forth = [first[index][0] for index in (0, 1)]
    back = [second[index][0] for index in (1, 0)][::-1]
    assert all((one == other).all() for one, other in zip(forth, back, strict=True))
    seen = set()
    for epoch in range(8):
        first.set_epoch(epoch)
        seen.add(first[0][0].numpy().tobytes())
    assert len(seen) > 1
    again = {first.draw(0, turn)[0].numpy().tobytes() for turn in range(8)}
    assert len(again) > 1
    np.testing.assert_array_equal(first.draw(0, 0)[0], first[0][0])
    assert first[1][1] == 1


def test_labels_are_known_without_reading_an_image(tmp_path: Path) -> None:
    missing = manifest_of(tmp_path, "a", "b").images
    assert CropDataset(missing, [0, 1], (112, 112), training_transform("nir", 0)).labels == (0, 1)


@pytest.mark.parametrize("mapped", [False, True])
def test_decoded_crops_are_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool) -> None:
    images = read_manifest(write_small_set(tmp_path / "set")).images
    if not mapped:
        # Room for three: the rest is read each time.
        monkeypatch.setattr("facexfer.data.crop_store._MEMORY_BYTES", 3 * 112 * 112 * 3 + 1)
    store = CropStore(images, (112, 112), tmp_path / "cache" if mapped else None)
    for index, image in enumerate(images):
        np.testing.assert_array_equal(store[index], read_crop(image.path))


def test_a_mapped_file_is_found_again_and_never_stale(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "set")).images
    first = CropStore(images, (112, 112), tmp_path / "cache")
    first.load()
    (file,) = (tmp_path / "cache").iterdir()
    before = file.stat().st_mtime_ns
    again = pickle.loads(pickle.dumps(CropStore(images, (112, 112), tmp_path / "cache")))
    np.testing.assert_array_equal(again[2], first[2])
    assert file.stat().st_mtime_ns == before
    assert len(pickle.dumps(first)) < file.stat().st_size / 50
    images[2].path.write_bytes(images[3].path.read_bytes())
    changed = CropStore(images, (112, 112), tmp_path / "cache")
    np.testing.assert_array_equal(changed[2], read_crop(images[3].path))
    (newer,) = set((tmp_path / "cache").iterdir()) - {file}
    for damaged in (b"", b"no array", encoded_array(np.zeros((2, 2)))):
        newer.write_bytes(damaged)
        with pytest.raises(InputError, match=r"\.npy: expected crops of .*remove the file"):
            CropStore(images, (112, 112), tmp_path / "cache").load()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to keep crops in"):
        CropStore(images, (112, 112), tmp_path / "file").load()


def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, start: int, size: int) -> None:
        assert size > 28 * 112 * 112 * 3
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    images = read_manifest(write_small_set(tmp_path / "set")).images
    with pytest.raises(InputError, match="expected a folder to keep crops in, got: .*No space left.*; free space"):
        CropStore(images, (112, 112), tmp_path / "cache").load()
    assert not list((tmp_path / "cache").iterdir())


def test_a_mapped_file_is_not_found_again_for_other_cameras(tmp_path: Path) -> None:
    """The manifest names the cameras afterwards: pictures of 10 bits are no dark ones of 12 any more."""
    draw = np.random.default_rng(0)
    images = manifest_of(tmp_path, *"abcd").images
    for image, top in zip(images, (1023, 1023, 4095, 4095), strict=True):
        write_image(image.path, draw.integers(0, top + 1, (112, 112), dtype=np.uint16))
    first = CropStore(images, (112, 112), tmp_path / "cache").load()
    named = [replace(image, camera=camera) for image, camera in zip(images, "xxyy", strict=True)]
    fresh = CropStore(named, (112, 112)).load()
    assert fresh[0].mean() > 3 * first[0].mean()
    np.testing.assert_array_equal(CropStore(named, (112, 112), tmp_path / "cache").load(), fresh)
    np.testing.assert_array_equal(CropStore(images, (112, 112), tmp_path / "cache").load(), first)


def test_the_mapped_file_of_8_bit_crops_keeps_its_name(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "set")).images
    CropStore(images, (112, 112), tmp_path / "cache").load()
    digest = hashlib.sha256(b"(112, 112), reader 3")
    for image in images:
        status = image.path.stat()
        times = f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
        digest.update(f"{image.path.resolve()}\0{times}\n".encode())
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [f"crops-{digest.hexdigest()[:32]}.npy"]
