"""Every method's needs are compared with the pictures."""

import dataclasses

import pytest
from small_faces import write_small_set

from facexfer.advice.methods import method_needs
from facexfer.advice.situation import Situation, read_situation
from facexfer.advice.source import Source
from facexfer.backbones import create_backbone
from facexfer.transfer.methods import METHODS, register_method
from facexfer.transfer.stages import Stage


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Situation:
    return read_situation(write_small_set(tmp_path_factory.mktemp("faces")), (112, 112))


@pytest.fixture(scope="module")
def source() -> Source:
    return Source("weights.pt", create_backbone("mobilefacenet_slim").info, 0, has_classifier=False, has_batchnorm=True)


# Of each kind some: by labels, by both spectra, by companions, by photos, and with no need but pictures.
SOME = {"adabn", "afa", "class_means", "csd", "id_mmd", "l2", "lwf", "soft_ft", "xedgeface"}


def refused(there: Situation, source: Source) -> set[str]:
    """Name the methods that are not possible."""
    return {name for name, why in method_needs(there, source).items() if why and name in SOME}


def test_pictures_of_both_spectra_with_labels_allow_everything(there: Situation, source: Source) -> None:
    needs = method_needs(there, source)
    assert needs.keys() == METHODS.keys()
    assert refused(there, source) == set()


def test_new_pictures_alone(there: Situation, source: Source) -> None:
    alone = dataclasses.replace(there, same_shot=0, same_person=0, in_both=0, photos=None)
    assert refused(alone, source) == {"csd", "id_mmd", "soft_ft", "xedgeface"}
    # With the classifier Soft FT still replays photos.
    assert "soft_ft" in refused(alone, dataclasses.replace(source, has_classifier=True))


def test_without_labels(there: Situation, source: Source) -> None:
    unlabelled = dataclasses.replace(there, labelled=False)
    allowed = SOME - refused(unlabelled, source)
    assert {"adabn", "csd"} <= allowed
    assert not {"l2", "afa", "lwf", "id_mmd", "xedgeface"} & allowed


def test_photos_alone_allow_csd(there: Situation, source: Source) -> None:
    photos = dataclasses.replace(there, has_new=False, same_shot=0, same_person=0, in_both=0)
    assert SOME - refused(photos, source) == {"csd"}


def test_without_batchnorm(there: Situation, source: Source) -> None:
    needs = method_needs(there, dataclasses.replace(source, has_batchnorm=False))
    assert needs["adabn"] == needs["dsbn"] == "the source has no BatchNorm"
    assert needs["spd"] == "it is a form of SGD, which destroys a source without BatchNorm"
    assert needs["csd"] == needs["l2"] == ""


def test_a_method_with_options_of_its_own_is_named_and_ends_nothing(
    there: Situation, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    @register_method("needs_a_number")
    def needs_a_number(number: int) -> tuple[Stage, ...]:
        return (Stage("fine_tune", head_decay=number),)

    assert method_needs(there, source)["needs_a_number"].startswith("needs options of its own: ")
