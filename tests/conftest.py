"""What tests repeat: a tiny recipe, a run's end and its comparison, and as little of the processor as will do."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is imported, and for the processes that tests start: the networks here are too small to share.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing may leave this machine, neither from here nor from the processes that tests start.
sys.path.insert(0, str(Path(__file__).parent / "offline"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
os.environ["FACEXFER_TEST_CONNECTIONS"] = tempfile.mkstemp(prefix="connections-")[1]

# A test that reads a recipe which needs the variable sets it itself: it must pass where nobody has.
if "FACEXFER_SHARED" in os.environ:
    os.environ["FACEXFER_TEST_SHARED"] = os.environ.pop("FACEXFER_SHARED")

import pytest
import sitecustomize  # noqa: F401 - ours: it begins to watch
from hypothesis import settings

if TYPE_CHECKING:
    from facexfer.engine.step import StepCallback, TrainedStep
    from facexfer.recipe import Recipe

# Changed files by the thousand: HYPOTHESIS_PROFILE=thorough make test
settings.register_profile("suite", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(autouse=True)
def _no_connections() -> Iterator[None]:
    """Fail a test in which something tried to leave this machine, also where the refusal was caught."""
    record = Path(os.environ["FACEXFER_TEST_CONNECTIONS"])
    yield
    tried = record.read_text().split("\n")[:-1] if record.stat().st_size else []
    record.write_text("")
    assert not tried


def pytest_unconfigure() -> None:
    Path(os.environ["FACEXFER_TEST_CONNECTIONS"]).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def recipe_for() -> Callable[..., "Recipe"]:
    """Make recipes of a few small steps: of a manifest, and of what a test changes section by section."""
    from facexfer.recipe import parse_recipe

    defaults: dict[str, dict[str, Any]] = {
        "source": {"backbone": "mobilefacenet_slim"},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": {"name": "afa", "spatial_alpha": 1e-4, "channel_alpha": 1e-4},
        "optimizer": {"iterations": 4, "batch_size": 8},
        "evaluation": {"fars": [0.1]},
        "runtime": {"accelerator": "cpu", "checkpoint_seconds": 0, "log_every_steps": 1},
    }

    def make(manifest: Path, **sections: Any) -> "Recipe":
        """Change keys of sections; another method takes the place of the whole section, None leaves a section out."""
        values: dict[str, Any] = {**defaults, "data": {"manifest": str(manifest)}}
        for name, section in sections.items():
            known = {} if name == "method" else values.get(name, {})
            values[name] = section and {**known, **section}
        return parse_recipe({name: section for name, section in values.items() if section is not None}, "test")

    return make


@pytest.fixture(scope="session")
def stop_at() -> Callable[[int], "StepCallback"]:
    """Make a step callback that ends a run as Ctrl-C does, after a step and before its checkpoint."""

    def make(number: int) -> "StepCallback":
        def stop(step: "TrainedStep") -> None:
            if step.number == number:
                raise KeyboardInterrupt

        return stop

    return make


@pytest.fixture(scope="session")
def assert_same_run() -> Callable[[Path, Path], None]:
    """Compare two runs bit for bit: the networks and all that was measured on the way."""
    import torch
    from safetensors.torch import load_file

    from facexfer.runs.folder import RunFolder

    def check(first: Path, second: Path) -> None:
        weights, others = (load_file(RunFolder(run).model_file) for run in (first, second))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)
        assert RunFolder(first).metrics() == RunFolder(second).metrics()

    return check
