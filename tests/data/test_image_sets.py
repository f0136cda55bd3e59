"""Classification sets in their official layouts, made small; the real lists and pictures where they are there."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from shared_data import shared

from facexfer.data.datasets import DATASETS
from facexfer.data.image_dataset import ImageDataset
from facexfer.errors import InputError


def write_picture(path: Path, value: int = 100, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), value, np.uint8))


def test_cub_leaves_out_ids_without_a_picture_and_says_so(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "001.A" / "a.jpg")
    write_picture(tmp_path / "images" / "002.B" / "b.jpg")
    (tmp_path / "images.txt").write_text("\ufeff1 001.A/a.jpg\n2 001.A/gone.jpg\n3 002.B/b.jpg\n")
    (tmp_path / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n")
    (tmp_path / "train_test_split.txt").write_text("1 1\n2 1\n3 0\n")
    (tmp_path / "classes.txt").write_text("1 001.A\n2 002.B\n")
    images = DATASETS["cub200"](tmp_path, 0)
    assert [(image.path.name, image.label) for image in images.train + images.test] == [("a.jpg", 0), ("b.jpg", 1)]
    assert images.notes[0] == "cub200 training: 1 of 2 listed pictures are not there"
    assert images.notes[1].startswith("cub200: 2 / 1 / 1 classes / training / test pictures, the paper has 200 / 5,994")
    (tmp_path / "images.txt").write_text("no number\n")
    with pytest.raises(InputError, match="line 1: expected an id and a value, got 'no number'"):
        DATASETS["cub200"](tmp_path, 0)


def test_dogs_are_read_from_mat_lists(tmp_path: Path) -> None:
    for part, names in (("train", ["n2-b/x.jpg", "n1-a/y.jpg"]), ("test", ["n1-a/z.jpg"])):
        files = np.empty((len(names), 1), object)
        files[:, 0] = names
        labels = np.array([[1 if "n1" in name else 2] for name in names])
        scipy.io.savemat(tmp_path / f"{part}_list.mat", {"file_list": files, "labels": labels})
        for name in names:
            write_picture(tmp_path / "Images" / name)
    images = DATASETS["stanford_dogs"](tmp_path, 0)
    assert images.classes == ("n1-a", "n2-b")
    assert [image.label for image in images.train + images.test] == [1, 0, 0]
    (tmp_path / "test_list.mat").write_bytes(b"no mat file")
    with pytest.raises(InputError, match="test_list.mat: expected file_list and labels"):
        DATASETS["stanford_dogs"](tmp_path, 0)


def test_caltech_draws_the_same_test_pictures_whatever_the_training_size(tmp_path: Path) -> None:
    for name in ("001.ak47", "257.clutter"):
        for index in range(100):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{index:03d}.jpg").write_bytes(b"")
    images = DATASETS["caltech256"](tmp_path, 3)
    assert (images.classes, len(images.train), len(images.test)) == (("001.ak47", "257.clutter"), 120, 40)
    assert not {image.path for image in images.train} & {image.path for image in images.test}
    thirty, ten = images.limited(30, 0), images.limited(10, 0)
    assert (len(thirty.train), len(ten.train), ten.test) == (60, 20, images.test)
    assert set(ten.train) <= set(thirty.train) <= set(images.train)
    assert DATASETS["caltech256"](tmp_path, 3) == images != DATASETS["caltech256"](tmp_path, 4)
    with pytest.raises(InputError, match="expected 61 training pictures per class, 2 classes have fewer: 001.ak47"):
        images.limited(61, 0)


def test_searching_never_sees_the_test_pictures(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 3)):
        for name in ("ants", "bees"):
            for index in range(count):
                write_picture(tmp_path / part / name / f"{index}.png")
    images = DATASETS["folders"](tmp_path, 0)
    search = images.for_search(0.2, 0)
    assert (len(search.train), len(search.test)) == (16, 4)
    assert set(search.train) | set(search.test) == set(images.train)
    (tmp_path / "val" / "wasps").mkdir()
    with pytest.raises(InputError, match="got also wasps"):
        DATASETS["folders"](tmp_path, 0)
    with pytest.raises(InputError, match="expected a folder of class folders"):
        DATASETS["folders"](tmp_path / "val", 0)


def test_a_hidden_folder_is_no_class(tmp_path: Path) -> None:
    for part in ("train", "val", "caltech"):
        (tmp_path / part / ".ipynb_checkpoints").mkdir(parents=True)
        for index in range(21):
            write_picture(tmp_path / part / "ants" / f"{index}.png")
    assert DATASETS["folders"](tmp_path, 0).classes == ("ants",)
    assert DATASETS["caltech256"](tmp_path / "caltech", 0).classes == ("ants",)


def test_pictures_are_resized_then_cropped_as_published(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "a" / "1.png", side=50)
    write_picture(tmp_path / "val" / "a" / "1.png", side=300)
    images = DATASETS["folders"](tmp_path, 0)
    dataset = ImageDataset(images.train + images.test, (224, 224), "flip")
    assert [dataset[index][0].shape for index in range(2)] == [(3, 224, 224)] * 2
    with pytest.raises(InputError, match="unknown augmentation 'flipp'"):
        ImageDataset(images.train, (224, 224), "flipp")


def test_an_image_says_whether_it_is_mirrored(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 240, 6, dtype=np.uint8)[None], 40, axis=0)
    (tmp_path / "train" / "a").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "train" / "a" / "1.png"), np.dstack([ramp] * 3))
    write_picture(tmp_path / "val" / "a" / "1.png")
    dataset = ImageDataset(DATASETS["folders"](tmp_path, 0).train, (35, 35), "flip")
    turned = []
    for epoch in range(8):
        dataset.set_epoch(epoch)
        image, _, is_mirrored = dataset.draw(0)
        assert is_mirrored == bool(image[0, 0, 0] > image[0, 0, -1])
        turned.append(is_mirrored)
    assert len(set(turned)) == 2


def test_the_real_lists_have_the_published_sizes() -> None:
    images = DATASETS["mit67"](shared("classification/mit67_lists"), 0)
    assert len(images.classes) == 67
    # The lists are there, the pictures are not.
    assert images.notes[:2] == (
        "mit67 TrainImages.txt: 5360 of 5360 listed pictures are not there",
        "mit67 TestImages.txt: 1340 of 1340 listed pictures are not there",
    )
    birds = DATASETS["cub200"](shared("classification/CUB_200_2011_first10"), 0)
    assert (len(birds.classes), len(birds.train) + len(birds.test)) == (10, 543)
