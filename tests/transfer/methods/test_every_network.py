"""Every method on every network, one step at a small size; and every new method through whole runs on images."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from small_pictures import write_pictures
from torch import nn
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.engine.train import train
from facexfer.heads import LinearHead
from facexfer.networks.folded import fold_batchnorm
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder
from facexfer.transfer.channel_weights import loss_rises, plain_loss_rises
from facexfer.transfer.methods import create
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.prototypes import PrototypeClassifier
from facexfer.transfer.stages import StageSetting
from facexfer.transfer.taps import map_shapes

FACES = ("mobilefacenet", "mobilefacenet_112x96", "mobilefacenet_relu6", "lresnet34e_ir", "mbf", "iresnet18")
IMAGES = {"resnet50": 64, "resnet101": 64, "inception_v3": 96, "mobilenet_v2": 64, "torchvision:resnet18": 64}
LAYERS = ["trunk.features.13.conv.2"]
# Those whose terms are made to the network's measure: its weights, its maps, its channels.
MEASURED = [("l2_sp", {}), ("delta", {}), ("afa", {"variant": "one_stage"})]
OTHERS = [
    ("lwf", {"old_task": "training_set"}), ("soft_ft", {"old_task": "source_set"}),
    ("afa", {"attention": "fixed", "variant": "one_stage"}),
]  # fmt: skip
# The paper's networks take all of them.
PAPER = ("mobilefacenet", "lresnet34e_ir", "resnet101", "inception_v3", "mobilenet_v2")


class Known:
    """What a run would have found out about a source, in the right shapes."""

    def __init__(self, shapes, size) -> None:
        self.shapes, self.size = shapes, size

    def classifier(self, old_task, scale):
        return PrototypeClassifier(torch.randn(3, self.size), scale)

    def channel_weights(self, layers):
        return tuple(torch.randn(c).softmax(0) for c, _, _ in self.shapes)

    def mean_attention(self, layers):
        return tuple(torch.randn(h * w).softmax(0).view(h, w) for _, h, w in self.shapes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FACES, *IMAGES])
def test_every_method_takes_a_step_and_channel_weights_are_those_of_the_plain_way(name: str) -> None:
    torch.manual_seed(0)
    size = (IMAGES[name],) * 2 if name in IMAGES else None
    target, source = create_backbone(name, input_size=size), create_backbone(name, input_size=size)
    info = source.info
    images, labels = torch.randn(2, 3, *info.input_size), torch.tensor([0, 2])
    source.load_state_dict(target.state_dict())
    source.eval().requires_grad_(False)
    layers = tuple(tap.layer for tap in info.taps)
    shapes = map_shapes(source, layers, info.input_size)
    knowledge = Known(shapes, info.embedding_size)
    frozen = fold_batchnorm(source, layers, info.input_size).network
    head = LinearHead(info.embedding_size, 3)
    for method, options in MEASURED + (OTHERS if name in PAPER else []):
        (stage,) = create(method, **options)
        setting = StageSetting(shapes, info.embedding_size, 3, source, target, layers, knowledge)
        objective = Objective(target, head, stage, make_terms(stage, setting), layers, frozen)
        objective.train()
        more = (images, labels, torch.tensor(0.5)) if objective.reads_source_images else ()
        losses = objective(images, labels, *more)
        torch.stack(list(losses.values())).sum().backward()
        assert all(loss.isfinite() for loss in losses.values()), method
        trained = [parameter for key, parameter in target.named_parameters() if key not in target.fixed_parameters]
        assert all(parameter.grad is not None for parameter in trained), method
        objective.zero_grad()

    # In float64: how small a rise is against the loss of a random network says nothing of the two ways.
    source.double()
    classifier = nn.Linear(info.embedding_size, 3).double()

    def loss(embeddings, labels):
        return F.cross_entropy(classifier(embeddings), labels, reduction="none")

    channels = [[c - 1] for c, _, _ in shapes]
    batches = [(images.double(), labels)]
    fast = loss_rises(source, loss, layers, batches, channels)
    for ours, theirs in zip(fast, plain_loss_rises(source, loss, layers, batches, channels), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5)
    assert max(float(each.abs().max()) for each in fast) > 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), train=3, val=1)


@pytest.fixture(scope="module")
def weights(root: Path) -> Path:
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v2(num_classes=5).state_dict(), root / "weights.pth")
    return root / "weights.pth"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ({"name": "l2_sp"}, {"weights"}),
        ({"name": "lwf"}, {"old_task"}),
        ({"name": "soft_ft"}, {"source_classification"}),
        ({"name": "delta", "layers": LAYERS}, {"channels"}),
        ({"name": "afa", "attention": "fixed", "layers": LAYERS}, {"spatial", "channel"}),
    ],
)
def test_every_new_method_runs_on_images(
    method: dict[str, Any], parts: set[str], root: Path, weights: Path, tmp_path: Path
) -> None:
    values = {
        "task": "image",
        "source": {"backbone": "mobilenet_v2", "input_size": 32, "weights": str(weights)},
        "data": {"dataset": "folders", "root": str(root)},
        "head": {"name": "linear", "start": "random"},
        "method": method,
        "optimizer": {"iterations": 2, "batch_size": 4},
        "evaluation": {"untouched": False, "test_loss": True},
        "runtime": {"accelerator": "cpu", "log_every_steps": 1},
    }
    if method["name"] == "soft_ft":
        values["source_data"] = {"dataset": "folders", "root": str(root)}
    result = train(parse_recipe(values, "test"), tmp_path / "run", resume=False)
    assert 0 <= result["figures"]["top1"] <= 1
    records = RunFolder(tmp_path / "run").metrics()
    assert {part for record in records for part in record.get("losses", ())} == {"classification", *parts}
    assert json.loads(RunFolder(tmp_path / "run").result_file.read_text()) == json.loads(json.dumps(result))
