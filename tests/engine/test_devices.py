"""Whole runs on a pretended GPU: nothing is on the wrong device, and no step waits for the host."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend_gpu import GPU, pretended_gpu
from small_faces import write_small_set

from facexfer.engine.train import train
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder

pytestmark = pytest.mark.slow

CSD = {"name": "csd"}
PAIRS = {"modality": "vis", "keep": 0.25}
SHOWN = {"modality": "vis", "shown_to_source": True}
SPECTRA = {"modality": ["nir", "vis"]}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=4)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    with pretended_gpu(monkeypatch) as waits:
        yield waits


@pytest.fixture
def make(recipe_for: Callable[..., Recipe], manifest: Path) -> Callable[..., Recipe]:
    def make(runtime: dict[str, Any], **sections: Any) -> Recipe:
        sections["source"] = {"backbone": "mobilefacenet_slim", **sections.get("source", {})}
        sections["optimizer"] = {"iterations": 3, **sections.get("optimizer", {})}
        sections["evaluation"] = {"untouched": False, "every_epochs": 100}
        return recipe_for(manifest, runtime={"log_every_steps": 3, **runtime}, **sections)

    return make


def test_tensors_of_two_devices_are_the_error_that_they_are_on_a_gpu(waits: list[str]) -> None:
    ours, hosts = torch.arange(3, device=GPU), torch.arange(3)
    assert (ours.device, (ours + ours).cpu().tolist()) == (GPU, [0, 2, 4])
    with pytest.raises(RuntimeError, match="expected tensors on one device"):
        ours + hosts
    with pytest.raises(RuntimeError, match="expected tensors on one device"):
        hosts[ours]
    assert ours[hosts].device == GPU
    assert not waits
    assert int(ours.sum()) == 3
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("runtime", "sections"),
    [
        ({"augment": "device"}, {"method": {"name": "afa", "spatial_alpha": 1e-9, "channel_alpha": 1e-9}}),
        ({"augment": "device"}, {"method": {"name": "delta"}, "companions": SHOWN}),
        ({}, {"method": CSD, "companions": PAIRS}),
        ({"augment": "device"}, {"method": CSD, "companions": PAIRS}),
        ({"augment": "device"}, {"method": CSD, "companions": {"match": "identity", "share": 0.5}}),
        ({}, {"method": {"name": "id_mmd"}, "data": SPECTRA}),
        ({}, {"method": {"name": "xedgeface"}, "data": SPECTRA, "optimizer": {"average_decay": 0.9}}),
    ],
)
def test_a_run_finds_everything_where_it_belongs_and_no_step_waits(
    waits: list[str], make: Callable[..., Recipe], tmp_path: Path, runtime: dict[str, Any], sections: dict[str, Any]
) -> None:
    sections = {"data": {"modality": "nir"}, **sections}
    waited: list[int] = []
    result = train(
        make(runtime, **sections), tmp_path / "run", resume=False, on_step=lambda _: waited.append(len(waits))
    )
    assert result["failure"] is None
    # The last step is logged, for which its losses must be known.
    assert waited[1] == waited[0]


def test_a_stopped_run_goes_on_between_two_log_lines(
    waits: list[str], make: Callable[..., Recipe], stop_at: Callable[[int], Any], tmp_path: Path
) -> None:
    recipe = make({"augment": "device"}, data={"modality": "nir"}, method=CSD, companions=PAIRS)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(2))
    train(recipe, tmp_path / "run", resume=True)
    (record,) = [record for record in RunFolder(tmp_path / "run").metrics() if "losses" in record]
    assert record["step"] == 3
