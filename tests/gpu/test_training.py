"""Forward passes, training steps and whole runs on a GPU, against the CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.data.device_augmentation import DEVICE_PRESETS, augment
from facexfer.engine.train import train
from facexfer.heads import ArcFaceHead, LinearHead
from facexfer.networks.folded import fold_batchnorm
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder
from facexfer.transfer.methods import create
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.prototypes import PrototypeClassifier
from facexfer.transfer.stages import StageSetting
from facexfer.transfer.taps import map_shapes

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CLASSES = 5
METHODS: dict[str, dict[str, Any]] = {
    "l2": {}, "l2_fe": {}, "l2_sp": {}, "dfa": {}, "delta": {}, "afa": {"variant": "one_stage"},
    "lwf": {"old_task": "training_set"}, "soft_ft": {"old_task": "source_set"}, "csd": {},
    "csd without maps": {"map_weight": 0.0}, "class_means": {}, "id_mmd": {}, "xedgeface": {}, "dsbn": {},
    "caim": {}, "pdt": {}, "csd with attention": {},
}  # fmt: skip
BACKBONES = {"caim": "caim:mobilefacenet", "pdt": "pdt:mobilefacenet", "csd with attention": "edgeface_xxs"}
FACES = ("mobilefacenet", "lresnet34e_ir", "mbf", "edgeface_xxs")
WITH_MAPS: dict[str, Any] = {
    "data": {"modality": "nir"}, "method": {"name": "csd"}, "companions": {"modality": "vis", "keep": 0.25},
}  # fmt: skip
WITH_ATTENTION: dict[str, Any] = {
    "source": {"backbone": "edgeface_xxs"}, "method": {"name": "csd"}, "companions": {"modality": "vis"},
    "optimizer": {"name": "adamw", "learning_rate": 1e-4},
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain_float32() -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


class Known:
    def __init__(self, shapes, size) -> None:
        self.shapes, self.size = shapes, size

    def classifier(self, old_task, scale):
        return PrototypeClassifier(torch.randn(3, self.size, generator=torch.Generator().manual_seed(1)), scale)

    def channel_weights(self, layers):
        return tuple(torch.linspace(-1, 1, c).softmax(0) for c, _, _ in self.shapes)

    def mean_attention(self, layers):
        return tuple(torch.full((h, w), 1 / (h * w)) for _, h, w in self.shapes)


def make_objective(network, method: str, device, channels_last: bool = True):
    """The same weights on any device: all are drawn on the CPU."""
    network = BACKBONES.get(method, network)
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    source = create_backbone(network).eval().requires_grad_(False)
    target = create_backbone(network)
    # As in the engine: the networks are on the device before a term takes hold of their weights.
    for each in (source, target):
        each.to(device).to(memory_format=layout)
    stage = create(method.split()[0], **METHODS[method])[0]
    info = source.info
    layers = info.layers(stage.taps)
    shapes = map_shapes(source, layers, info.input_size)
    setting = StageSetting(
        shapes, info.embedding_size, CLASSES, source, target, layers, Known(shapes, info.embedding_size)
    )
    terms = make_terms(stage, setting)
    frozen = fold_batchnorm(source, layers, info.input_size).network.to(memory_format=layout)
    head = ArcFaceHead(info.embedding_size, CLASSES, scale=16.0, margin=0.1)
    objective = Objective(target, head, stage, terms, layers, frozen).to(device).train()
    return objective, stage


def batch(objective, device, size: int = 8):
    generator = torch.Generator().manual_seed(2)
    info = objective.backbone.info
    images = torch.randn(size, 3, *info.input_size, generator=generator)
    labels = torch.arange(size) % CLASSES
    more = {}
    if objective.reads_source_images:
        more = {
            "source_images": images.flip(0), "source_labels": torch.arange(size) % 3, "source_weight": torch.tensor(0.5)
        }  # fmt: skip
    if objective.reads_companions:
        more["companions"] = F.normalize(torch.randn(size, info.embedding_size, generator=generator))
    if objective.reads_companion_maps:
        tap = info.taps[-1]
        side = info.input_size[0] // tap.stride
        more["companion_maps"] = torch.randn(size, tap.channels, side, side, generator=generator).half()
    if objective.reads_spectra:
        more["spectra"] = torch.arange(size) // CLASSES % 2
    return {name: each.to(device) for name, each in {"images": images, "labels": labels, **more}.items()}


def step(objective, stage, given):
    optimizer = torch.optim.SGD(objective.parameter_groups(stage), lr=1e-3, momentum=0.9)
    losses = objective(**given)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    optimizer.step()
    return {name: loss.detach() for name, loss in losses.items()}


def gradients(objective):
    return {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}


def relative(one, other, floor: float = 1e-12):
    """The difference as a part of the whole; `floor`, per value, is what counts as nothing but rounding."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    return float((one - other).norm() / other.norm().clamp(min=floor * one.numel() ** 0.5))


def worst(found, expected, floor: float = 1e-4):
    """The largest difference of any tensor; some are nothing but rounding, such as the mean of centred values."""
    floats = [key for key, value in expected.items() if value.is_floating_point()]
    return max((relative(found[key], expected[key], floor), key) for key in floats)


def flat(tensors, names):
    return torch.cat([tensors[name].flatten().double().cpu() for name in names])


@pytest.mark.parametrize("network", FACES)
@pytest.mark.parametrize("channels_last", [True, False])
def test_embeddings_equal_the_cpus(network, channels_last: bool) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(network).eval()
    images = torch.randn(8, 3, *backbone.info.input_size)
    with torch.no_grad():
        expected = backbone(images)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        found = backbone.cuda().to(memory_format=layout)(images.cuda().contiguous(memory_format=layout))
    assert relative(found, expected) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_equals_the_cpus(method: str) -> None:
    """Losses and weights to 1e-3. Gradients: as close to float64's as the CPU's float32, which a kink such as PReLU's
    can put 3e-3 away; two layouts on the CPU differ by as much.
    """
    found = []
    for device, kind in (("cpu", torch.float64), ("cpu", torch.float32), ("cuda", torch.float32)):
        objective, stage = make_objective("mobilefacenet", method, device)
        given = batch(objective, device)
        if kind == torch.float64:
            objective.double()
            objective.source.double()
            given = {name: each.to(kind) if each.is_floating_point() else each for name, each in given.items()}
        losses = step(objective, stage, given)
        found.append((losses, gradients(objective), dict(objective.state_dict())))
    (_, exact, _), (losses, grads, weights), (on_gpu, gpu_grads, gpu_weights) = found
    assert losses.keys() == on_gpu.keys()
    for name, loss in losses.items():
        assert on_gpu[name].device.type == "cuda"
        assert float(on_gpu[name]) == pytest.approx(float(loss), rel=1e-3, abs=1e-7)
    assert exact.keys() == grads.keys() == gpu_grads.keys()
    names = list(exact)
    rounding = relative(flat(grads, names), flat(exact, names))
    assert relative(flat(gpu_grads, names), flat(exact, names)) < max(1e-3, 3 * rounding) < 2e-2
    floats = [name for name, value in weights.items() if value.is_floating_point()]
    assert relative(flat(gpu_weights, floats), flat(weights, floats)) < 1e-3
    # Shifts start at zero, so that after one step they are nothing but gradient.
    assert worst(gpu_weights, weights) < (0.1, "")


@pytest.mark.parametrize("method", METHODS)
def test_all_that_is_trained_and_the_source_live_on_the_gpu(method: str) -> None:
    objective, _ = make_objective("mobilefacenet", method, "cuda")
    tensors = [
        *objective.parameters(),
        *objective.buffers(),
        *objective.source.parameters(),
        *objective.source.buffers(),
    ]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}


@pytest.mark.parametrize("method", METHODS)
def test_a_step_never_waits_for_the_gpu(method: str) -> None:
    objective, stage = make_objective("mobilefacenet", method, "cuda")
    given = batch(objective, "cuda")
    optimizer = torch.optim.SGD(objective.parameter_groups(stage), lr=1e-3, momentum=0.9)

    def whole_step() -> None:
        losses = objective(**given)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    whole_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        whole_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.02)])
@pytest.mark.parametrize("method", ["l2", "afa"])
def test_mixed_precision_is_finite_and_close(method: str, kind, tolerance: float) -> None:
    objective, _ = make_objective("mobilefacenet", method, "cuda")
    given = batch(objective, "cuda")
    expected = objective(**given)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cuda", enabled=kind == torch.float16)
    # The scaling starts high on purpose and halves until all gradients are finite.
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cuda", kind):
            losses = objective(**given)
        scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        for name, loss in losses.items():
            assert loss.isfinite()
            assert loss.item() == pytest.approx(expected[name].item(), rel=tolerance, abs=1e-6)
        if is_finite := all(gradient.isfinite().all() for gradient in gradients(objective).values()):
            break
        scaler.step(optimizer)
        scaler.update()
    assert is_finite


@pytest.mark.parametrize("method", ["afa"])
def test_a_compiled_step_equals_the_eager_one(method: str) -> None:
    objective, _ = make_objective("mobilefacenet_slim", method, "cuda")
    given = batch(objective, "cuda")
    expected = {name: loss.detach() for name, loss in objective(**given).items()}
    objective.compile()
    for name, loss in objective(**given).items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-3)


def test_captured_steps_equal_eager_ones() -> None:
    """Other pictures in every step, by which memory that is read too late would show; steps too small to part ways."""

    def losses_of(is_captured: bool):
        objective, stage = make_objective("mobilefacenet_slim", "afa", "cuda")
        given = batch(objective, "cuda")
        if is_captured:
            objective.compile(captured=True)
        optimizer = torch.optim.SGD(objective.parameter_groups(stage), lr=1e-7, momentum=0.9)
        kept = []
        for number in range(5):
            images = given["images"].roll(number, dims=3) * (1 + number / 10)
            losses = torch.stack(list(objective(**{**given, "images": images}).values()))
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            kept.append(losses.detach())
        return torch.stack(kept)

    eager = losses_of(False)
    assert len(eager.unique(dim=0)) == 5
    torch.testing.assert_close(losses_of(True), eager, rtol=1e-3, atol=1e-5)


def test_a_linear_head_and_images_take_a_step() -> None:
    torch.manual_seed(0)
    network = create_backbone("mobilenet_v2").train().cuda().to(memory_format=torch.channels_last)
    head = LinearHead(network.info.embedding_size, CLASSES).cuda()
    images = torch.randn(4, 3, *network.info.input_size, device="cuda").contiguous(memory_format=torch.channels_last)
    labels = torch.arange(4, device="cuda")
    loss = torch.nn.functional.cross_entropy(head(network(images), labels), labels)
    loss.backward()
    assert loss.isfinite()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"))


@pytest.mark.parametrize(
    ("runtime", "sections"),
    [
        ({}, {}),
        ({"augment": "device"}, {}),
        ({"precision": "bf16-mixed"}, {}),
        ({"precision": "16-mixed"}, {}),
        ({"tf32": True}, {}),
        # Stopped between two log lines, with losses of both parts of the run in one record.
        ({"log_every_steps": 4}, {}),
        ({}, WITH_MAPS),
        ({"augment": "device"}, WITH_MAPS),
        ({"augment": "device"}, {**WITH_MAPS, "method": {"name": "delta"}, "companions": {"shown_to_source": True}}),
        ({}, WITH_ATTENTION),
        ({"precision": "bf16-mixed"}, WITH_ATTENTION),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(
    recipe_for: Callable[..., Recipe],
    stop_at: Callable[[int], Any],
    manifest: Path,
    tmp_path: Path,
    runtime: dict[str, Any],
    sections: dict[str, Any],
) -> None:
    """To 1e-3 of the weights, 5e-2 of any one: kernels that add in any order differ in the last bits."""
    more = {"evaluation": {"untouched": False}, "runtime": {"accelerator": "cuda", **runtime}}
    recipe = recipe_for(manifest, **more, **sections)
    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(3))
    train(recipe, tmp_path / "run", resume=True)
    whole, resumed = (load_file(RunFolder(tmp_path / name).model_file) for name in ("whole", "run"))
    names = [name for name, value in whole.items() if value.is_floating_point()]
    assert resumed.keys() == whole.keys()
    assert relative(flat(resumed, names), flat(whole, names)) < 1e-3
    assert worst(resumed, whole) < (5e-2, "")
    result = json.loads(RunFolder(tmp_path / "whole").result_file.read_text())
    assert result["environment"]["devices"] == [torch.cuda.get_device_name(0)]


@pytest.mark.parametrize("preset", sorted(DEVICE_PRESETS))
def test_augmentation_waits_for_nothing_and_gives_what_the_cpu_gives(preset: str) -> None:
    batch = torch.randint(0, 256, (3, 112, 112), dtype=torch.uint8).expand(256, -1, -1, -1)
    on_gpu = batch.cuda()
    augment(on_gpu, preset, 0, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = augment(on_gpu, preset, 0, 1)
        again = augment(on_gpu, preset, 0, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, again)
    ours, theirs = (each.float().mean(dim=(1, 2, 3)).cpu() for each in (found, augment(batch, preset, 0, 1)))
    # Other numbers of the same distribution: means of 256 to five standard errors.
    error = (ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt()
    assert (ours.mean() - theirs.mean()).abs() <= 5 * error + 0.05
