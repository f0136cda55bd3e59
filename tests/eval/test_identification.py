"""Identification against a brute-force search, ties, open sets and enrolment."""

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.identification import enrol, identify, make_templates


def people(identities: int = 30, images: int = 6, dimension: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), images)
    centres = generator.normal(size=(identities, dimension))
    return (centres[labels] + 0.9 * generator.normal(size=(len(labels), dimension))).astype(np.float32), labels


def test_against_brute_force() -> None:
    embeddings, labels = people()
    gallery, probes = np.arange(0, 120, 6), np.setdiff1d(np.arange(180), np.arange(0, 120, 6))
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = identify(embeddings[gallery], labels[gallery], embeddings[probes], labels[probes], [0.5, 0.1, 0.001])
    ranks, right, alarms = [], [], []
    for probe in probes:
        scores = {labels[entry]: float(units[probe] @ units[entry]) for entry in gallery}
        ordered = sorted(scores, key=scores.get, reverse=True)
        if labels[probe] in scores:
            ranks.append(ordered.index(labels[probe]) + 1)
            right.append(scores[ordered[0]] if ordered[0] == labels[probe] else -2)
        else:
            alarms.append(scores[ordered[0]])
    assert (found.enrolled, found.mated_probes) == (20, len(ranks))
    assert found.rank1 == pytest.approx(np.mean(np.array(ranks) == 1))
    assert found.cmc == pytest.approx([np.mean(np.array(ranks) <= rank) for rank in range(1, 21)])
    assert found.rank1_ci95[0] < found.rank1 < found.rank1_ci95[1]
    for point, far in zip(found.open_set[:2], (0.5, 0.1), strict=True):
        threshold = sorted(alarms, reverse=True)[int(far * len(alarms) + 1e-9)]
        assert point.tar == pytest.approx(np.mean(np.array(right) > threshold))
        assert point.achieved_far <= far
    assert not found.open_set[2].supported


def test_a_wrong_answer_is_wrong_also_where_every_alarm_is_tolerated() -> None:
    gallery, probes = np.eye(3), np.array([[1.0, 0.5, 0], [1.0, 0.5, 0], [0, 0, 1.0]])
    found = identify(gallery[:2], np.array([0, 1]), probes, np.array([0, 1, 2]), [1.0])
    assert found.rank1 == found.open_set[0].tar == 0.5
    assert found.open_set[0].achieved_far == 1


def test_ties_count_against_the_system() -> None:
    gallery, probe = np.array([[1.0, 0], [1.0, 0]]), np.array([[1.0, 0]])
    assert identify(gallery, np.array([0, 1]), probe, np.array([0]), [0.1]).rank1 == 0


def test_templates_are_means_of_unit_embeddings() -> None:
    templates, names = make_templates(np.array([[2.0, 0], [0, 5.0], [3.0, 3.0]]), np.array(["b", "b", "a"]))
    assert names.tolist() == ["a", "b"]
    assert templates == pytest.approx(np.full((2, 2), np.sqrt(0.5)))


def test_enrolment_never_looks_up_an_enrolled_shot() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    captures = np.array(["x", "y", "x", "z", None, None, "w"], dtype=object)
    one = enrol(labels, captures)
    assert (one.gallery.tolist(), one.probes.tolist()) == ([0, 2, 4, 6], [1, 3, 5])
    half = enrol(labels, captures, share=0.5)
    assert (half.gallery.tolist(), half.probes.tolist()) == ([0, 1, 2, 4, 6], [3, 5])
    assert enrol(labels, captures, share=1.0).probes.tolist() == [3, 5]


def test_bad_input_is_an_error() -> None:
    embeddings, labels = people(4, 2)
    with pytest.raises(InputError, match="one gallery entry per identity"):
        identify(embeddings, labels, embeddings, labels, [0.1])
    with pytest.raises(InputError, match="probes of enrolled people"):
        identify(embeddings[:1], labels[:1], embeddings[4:], labels[4:], [0.1])
    with pytest.raises(InputError, match="positive length"):
        make_templates(np.zeros((2, 3)), np.array([0, 1]))
