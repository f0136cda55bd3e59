"""LiteRT and ExecuTorch convert a network and embed as it does, by their own libraries."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from arcface_export import give_statistics

from facexfer.backbones import create_backbone
from facexfer.deploy.onnx_export import PixelsToEmbedding
from facexfer.deploy.runtime_gate import make_original
from facexfer.deploy.runtimes import RUNTIMES
from facexfer.deploy.runtimes.embedder import RuntimeEmbedder
from facexfer.deploy.runtimes.runtime import choose_runtime
from facexfer.errors import InputError

NEEDED = {"executorch": ("executorch", "torchao"), "litert": ("ai_edge_litert", "litert_torch", "jax")}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return give_statistics(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"))


@pytest.fixture(scope="module", params=NEEDED)
def runtime(request: pytest.FixtureRequest):
    absent = [module for module in NEEDED[request.param] if find_spec(module) is None]
    if absent:
        pytest.skip(f"{RUNTIMES[request.param].install} brings {', '.join(absent)}, absent here")
    return request.param


@pytest.fixture(scope="module")
def converted(runtime, network, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(runtime)
    original = make_original(network, folder / "unused.onnx", None, lambda: np.empty(0))
    return folder, RUNTIMES[runtime].convert(original, folder, "fp32")


@pytest.mark.slow
def test_it_embeds_as_the_network_on_any_number_of_threads(converted, runtime, network) -> None:
    folder, files = converted
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = PixelsToEmbedding(network).eval()(pixels).numpy()
    choice = choose_runtime(runtime)
    embedders = [RuntimeEmbedder(choice, folder, files, (112, 112), 1, threads) for threads in (None, 1)]
    # The first again, after the second has changed what threads the process may have.
    for embedder in (*embedders, embedders[0]):
        np.testing.assert_allclose(embedder.embed(crops), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_a_damaged_file_is_refused(converted, runtime, tmp_path: Path) -> None:
    folder, files = converted
    damaged = tmp_path / files[0]
    damaged.write_bytes((folder / files[0]).read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"{files[0]}: expected an? .*, got: .*; export it again"):
        RUNTIMES[runtime].open(damaged, "fp32", None)
