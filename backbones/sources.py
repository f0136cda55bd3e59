"""Where public face networks come from, what their files hash to, and what their licence allows."""

from dataclasses import dataclass
from pathlib import Path

from facexfer.backbones.checkpoints.form import file_form
from facexfer.errors import InputError
from facexfer.files.digest import file_digest
from facexfer.files.onnx_parts import onnx_digest, onnx_parts
from facexfer.files.packs import PACKS, find_pack, pack_folder

_RESEARCH = "non-commercial research only"
_EDGEFACE = "EdgeFace, Idiap Research Institute, https://huggingface.co/Idiap"
_INSIGHTFACE = "InsightFace model zoo, https://github.com/deepinsight/insightface/tree/master/model_zoo"


@dataclass(frozen=True)
class WeightSource:
    """A public file of weights.

    Attributes:
        file: Its usual name.
        origin: Who made it, and the place.
        licence: In words.
        backbone: The name under which `create_backbone` loads it.
        sha256: In hex; empty where it is not known.
    """

    file: str
    origin: str
    licence: str
    backbone: str
    sha256: str = ""


SOURCES = (
    WeightSource(
        "w600k_mbf.onnx",
        f"{_INSIGHTFACE} (buffalo_sc, buffalo_s)",
        _RESEARCH,
        "mbf",
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    ),
    WeightSource(
        "w600k_r50.onnx",
        f"{_INSIGHTFACE} (buffalo_l, buffalo_m)",
        _RESEARCH,
        "iresnet50",
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
    WeightSource(
        "glintr100.onnx",
        f"{_INSIGHTFACE} (antelopev2)",
        _RESEARCH,
        "iresnet100",
        "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    ),
    WeightSource("glint360k_r100.onnx", f"{_INSIGHTFACE} (arcface_torch)", _RESEARCH, "iresnet100"),
    WeightSource("glint360k_r50.onnx", f"{_INSIGHTFACE} (arcface_torch)", _RESEARCH, "iresnet50"),
    WeightSource("glint360k_r34.onnx", f"{_INSIGHTFACE} (arcface_torch)", _RESEARCH, "iresnet34"),
    WeightSource("glint360k_r18.onnx", f"{_INSIGHTFACE} (arcface_torch)", _RESEARCH, "iresnet18"),
    WeightSource(
        "model-0000.params",
        f"{_INSIGHTFACE} (MobileFaceNet, model-y1)",
        _RESEARCH,
        "mobilefacenet",
        "b151f97e392e68cb540fb9710a91a574a4187d491eeda77d1c1799ae6dc3b82b",
    ),
    *(
        WeightSource(f"{name}.pt", _EDGEFACE, "CC BY-NC-SA 4.0, non-commercial", name)
        for name in ("edgeface_xxs", "edgeface_xs_gamma_06", "edgeface_s_gamma_05", "edgeface_base")
    ),
    WeightSource(
        "edgeface_s_gamma_05.onnx",
        f"{_EDGEFACE}, as ONNX",
        "CC BY-NC-SA 4.0, non-commercial",
        "edgeface_s_gamma_05",
        "9fd80dbbb5a839698631df655cdfcd7d9ae9270f801642ab99cf97be685d6a16",
    ),
    WeightSource(
        "068.ckpt",
        "a PyTorch MobileFaceNet for 112x96 crops, trained on CASIA-WebFace",
        "not stated with the file; CASIA-WebFace is for non-commercial research only",
        "mobilefacenet_112x96",
        "e839247cdbdfc023fb7cadeaf53a4549d50c8fc24ad154c02e35920ea8910d99",
    ),
    WeightSource(
        "mobilefacenet.pt",
        "a PyTorch MobileFaceNet with ReLU6",
        "Apache-2.0",
        "mobilefacenet_relu6",
        "90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
    ),
    WeightSource(
        "mobilefacenet.onnx",
        "a PyTorch MobileFaceNet with ReLU6, as ONNX",
        "Apache-2.0",
        "mobilefacenet_relu6",
        "b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
    ),
    WeightSource(
        "mobilenet_v2.pth",
        "MobileNetV2 1.0 224 for 1,001 classes of ImageNet, BatchNorm folded, half precision",
        "Apache-2.0",
        "mobilenet_v2",
        "8da40a31fcab268e86cc88664becb63fd9af7f5d22416d34146bad4c0f956e9a",
    ),
)


def find_source(path: Path) -> WeightSource | None:
    """Find a file among the public sources by what it holds.

    Args:
        path: A readable file.

    Returns:
        The source with the file's SHA-256; else the one of its name where no SHA-256 is known; else None.
    """
    digest = weights_digest(path)
    same = [source for source in SOURCES if source.sha256 == digest]
    named = [source for source in SOURCES if source.file == path.name and not source.sha256]
    return next(iter([*same, *named]), None)


def weights_digest(path: Path) -> str:
    """SHA-256 of a file of weights, in hex; for an ONNX file, of all files that hold its weights.

    Raises:
        InputError: If it has no form of weights, or a file that belongs to it is missing.
    """
    return onnx_digest(path) if file_form(path) == "onnx" else file_digest(path)


def find_weights(name: str) -> Path:
    """A file of weights, or for the name of an InsightFace pack its recognition model.

    Args:
        name: A path, or e.g. ``buffalo_sc``, which insightface itself downloads where it is not there yet.

    Returns:
        The path, which may not be there; a pack's ONNX file is.

    Raises:
        InputError: If the pack is not there and cannot be downloaded.
    """
    if name not in PACKS or Path(name).exists():
        return Path(name)
    folder = find_pack(name)
    found = sorted(folder.rglob(PACKS[name]))
    if not found:
        raise InputError(f"{folder}: expected {PACKS[name]}, found none; remove the folder and try again")
    return found[0]


def weight_files(name: str) -> list[Path]:
    """List the files that hold weights; nothing is downloaded.

    Args:
        name: As for `find_weights`.

    Returns:
        The file, and those that an ONNX file keeps its weights in; of a pack, its recognition model. A file that
        cannot be read stands alone.
    """
    if name in PACKS and not Path(name).exists():
        return sorted(pack_folder(name).rglob(PACKS[name]))
    file = Path(name)
    try:
        return [file, *(onnx_parts(file) if file.is_file() and file_form(file) == "onnx" else ())]
    except InputError:
        return [file]
