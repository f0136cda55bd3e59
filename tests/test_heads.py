"""The heads against angles computed by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.heads import HEADS, ArcFaceHead, CosFaceHead, LinearHead, class_means


def head_at_angle(kind: type[ArcFaceHead] | type[CosFaceHead], angle: float, **options: float):
    """A head of two orthogonal classes, and an embedding at ``angle`` from class 0."""
    head = kind(2, 2, **options)
    head.start_from_class_means(torch.eye(2))
    return head, 3.0 * torch.tensor([[math.cos(angle), math.sin(angle)]])


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 2.0, math.pi - 0.51])
def test_arcface_adds_the_margin_to_the_angle(angle: float) -> None:
    head, embedding = head_at_angle(ArcFaceHead, angle)
    logits = head(embedding, torch.tensor([0]))[0]
    assert logits[0].item() == pytest.approx(64 * math.cos(angle + 0.5), abs=0.02)
    assert logits[1].item() == pytest.approx(64 * math.sin(angle), abs=1e-3)


def test_arcface_falls_on_beyond_pi_minus_the_margin() -> None:
    angles = [math.pi - 0.5 + step for step in (0.05, 0.2, 0.4)]
    logits = [head(e, torch.tensor([0]))[0, 0].item() for head, e in (head_at_angle(ArcFaceHead, a) for a in angles)]
    assert logits == sorted(logits, reverse=True)
    assert logits[0] == pytest.approx(64 * (math.cos(angles[0]) - 0.5 * math.sin(0.5)), abs=1e-3)


def test_cosface_subtracts_the_margin() -> None:
    head, embedding = head_at_angle(CosFaceHead, 0.7, scale=30.0, margin=0.2)
    assert head(embedding, torch.tensor([0]))[0, 0].item() == pytest.approx(30 * (math.cos(0.7) - 0.2), abs=1e-4)


@pytest.mark.parametrize("kind", [ArcFaceHead, CosFaceHead])
def test_what_is_classified_has_no_margin(kind: type[ArcFaceHead] | type[CosFaceHead]) -> None:
    head, embedding = head_at_angle(kind, math.pi / 4 - 0.1)
    assert head(embedding, torch.tensor([0])).argmax() == 1
    assert head.scores(embedding).argmax() == 0
    without, _ = head_at_angle(kind, 0.0, margin=0.0)
    torch.testing.assert_close(head.scores(embedding), without(embedding, torch.tensor([0])))


def test_a_linear_head_classifies_as_it_trains() -> None:
    head, embeddings = LinearHead(4, 3), torch.randn(5, 4)
    torch.testing.assert_close(head.scores(embeddings), head(embeddings, torch.tensor([0, 1, 2, 0, 1])))


def test_defaults_are_the_published_ones() -> None:
    head = ArcFaceHead(8, 3)
    assert (head.scale, head.margin) == (64.0, 0.5)


@pytest.mark.parametrize("kind", [ArcFaceHead, CosFaceHead, LinearHead])
def test_gradients_are_finite_for_an_embedding_on_its_class(
    kind: type[ArcFaceHead] | type[CosFaceHead] | type[LinearHead],
) -> None:
    head = kind(4, 3)
    head.start_from_class_means(torch.eye(4)[:3])
    embeddings = torch.eye(4)[:2].clone().requires_grad_()
    F.cross_entropy(head(embeddings, torch.tensor([0, 1])), torch.tensor([0, 1])).backward()
    assert embeddings.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("kind", [ArcFaceHead, CosFaceHead])
def test_logits_are_float32_under_autocast(kind: type[ArcFaceHead] | type[CosFaceHead]) -> None:
    head = kind(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(torch.randn(2, 4), torch.tensor([0, 1])).dtype == torch.float32


@pytest.mark.parametrize("kind", [ArcFaceHead, CosFaceHead, LinearHead])
def test_a_head_from_class_means_classifies_them(
    kind: type[ArcFaceHead] | type[CosFaceHead] | type[LinearHead],
) -> None:
    means = torch.randn(5, 16)
    head = kind(16, 5)
    head.start_from_class_means(means)
    assert head(means, torch.zeros(5, dtype=torch.int64))[1:].argmax(dim=1).tolist() == [1, 2, 3, 4]


def test_class_means_average_unit_vectors() -> None:
    embeddings = torch.tensor([[2.0, 0], [0, 4.0], [-1.0, 0]])
    means = class_means(embeddings, torch.tensor([0, 0, 2]), 4)
    assert means.tolist() == [[0.5, 0.5], [0, 0], [-1, 0], [0, 0]]


@pytest.mark.parametrize("kind", [ArcFaceHead, LinearHead])
def test_class_means_that_do_not_fit_are_an_error(kind: type[ArcFaceHead] | type[LinearHead]) -> None:
    with pytest.raises(InputError, match=r"class means of shape \(3, 4\), got \(4, 3\)"):
        kind(4, 3).start_from_class_means(torch.ones(4, 3))
    with pytest.raises(InputError, match="finite class means of positive length"):
        kind(4, 3).start_from_class_means(torch.zeros(3, 4))


def test_options_out_of_range_are_errors() -> None:
    with pytest.raises(InputError, match="positive scale, got 0"):
        ArcFaceHead(4, 3, scale=0)
    with pytest.raises(InputError, match="0 to pi radians, got 4"):
        ArcFaceHead(4, 3, margin=4)
    with pytest.raises(InputError, match="margin of 0 to 1, got 2"):
        CosFaceHead(4, 3, margin=2)


def test_an_unknown_head_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown head 'arcfac'; did you mean 'arcface'\?"):
        HEADS["arcfac"]


def test_an_image_without_an_embedding_does_not_count_in_its_class_mean() -> None:
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    assert class_means(embeddings, torch.tensor([0, 0, 1, 1]), 3).tolist() == [[1, 0], [0, 1], [0, 0]]
