"""Export whatever a user calls a model: as an ONNX file, or a run as a bundle with its measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
from facexfer.deploy.bundle import Order, make_bundle
from facexfer.deploy.gate import GateRow
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.runtime_files import RuntimeFile
from facexfer.errors import InputError
from facexfer.files.folders import check_folder_of, check_not_read, check_place_of
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.runs.origin import files_behind


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The ONNX file, or the bundle's folder.
        difference: Of a file: the largest distance of onnxruntime's from torch's embedding of a random image, as a
            share of its length.
        gate: Of a bundle: what was measured of each precision.
    """

    path: Path
    difference: float | None = None
    gate: tuple[GateRow, ...] = ()


def export(
    model: str | Path | BackboneModule,
    out: str | Path,
    *,
    backbone: str | None = None,
    precision: Sequence[str] | None = None,
    far: float | None = None,
    opset: int | None = None,
    batch: int | None = None,
    max_loss: float | None = None,
    detector: str | Path | None = None,
    runtime: Sequence[str] = (),
    gallery_model: str | Path | BackboneModule | None = None,
    gallery_backbone: str | None = None,
    even_if_failed: bool = False,
    flip: bool = False,
    say: Callable[[GateRow], None] = lambda row: None,
    say_runtime: Callable[[RuntimeFile], None] = lambda file: None,
) -> Exported:
    """Write pixels 0..255 RGB in, embedding out: one ONNX file, or a bundle that passed the gate.

    Args:
        model: A run folder, foreign weights with `backbone`, or a network of `facexfer.create_backbone`.
        out: A path that ends in ``.onnx`` for one file, another one for the folder of a bundle, which takes a run.
        backbone: The network's name, for foreign weights.
        precision: Of a bundle: fp32, fp16, int8, int8-dynamic. The first is shipped, all must pass the gate.
        far: Of a bundle: decide by the threshold of this FAR; None takes the lowest sound one.
        opset: The set of ONNX operators, 11 to 23; None takes the exporter's own.
        batch: A fixed number of images, for compilers that need one.
        max_loss: Of a bundle: TAR that may be lost, a fraction; None takes 0.001, for int8 0.01.
        detector: Of a bundle: an InsightFace detector to put in, for its ``FaceAnalysis``.
        runtime: Of a bundle: other runtimes to put a file in for, ``openvino`` or with a precision ``openvino:int8``.
        gallery_model: Of a bundle: the network that has embedded those who are enrolled and goes on doing so; the run's
            network embeds the probes alone. Thresholds are those of the two together.
        gallery_backbone: Its network's name, for foreign weights.
        even_if_failed: Export also runs, for probes or gallery, that diverged or ended far below their source.
        flip: Let the file add the embedding of the mirrored crop, for twice the time; a gallery's too.
        say: Shows each row of the gate as it is measured.
        say_runtime: Shows each other runtime's file as it is measured.

    Returns:
        What was written.

    Raises:
        InputError: If the model is no run, network or weights, what is asked does not fit the kind of `out`, `out`
            would take the place of what is read or of what the run was trained from, or the network cannot be written
            as ONNX.
        DivergedError: If a run has failed, the gallery's too.
        RunError: If the exported file differs from torch, or is worse than the gate allows; there is no file then.
    """
    out = Path(out)
    if isinstance(model, str | Path):
        model = Path(model)
        if backbone is None and not model.is_dir():
            raise InputError(f"{model}: expected a run folder, or weights with --backbone NAME; check the path")
    check_folder_of(out)
    if not even_if_failed:
        _check_not_failed(model, backbone)
        _check_not_failed(gallery_model, gallery_backbone)
    if out.suffix == ".onnx":
        of_bundles = (precision, far, max_loss, detector, gallery_model, gallery_backbone)
        if any(each is not None for each in of_bundles) or runtime:
            raise InputError(
                f"{out}: expected a folder with --precision, --far, --max-loss, --detector, --gallery-model and "
                "--runtime, got a file; a single file is fp32"
            )
        check_place_of(out, "after --out")
        if isinstance(model, Path):
            check_not_read(out, files_behind(model), "after --out")
        return Exported(out, export_onnx(_network(model, backbone), out, opset, batch, flip))
    if isinstance(model, BackboneModule) or backbone is not None:
        raise InputError(f"{out}: expected a run for a bundle, got foreign weights; give a path ending in .onnx")
    place = None if detector is None else Path(detector)
    rows: list[GateRow] = []

    def see(row: GateRow) -> None:
        rows.append(row)
        say(row)

    gallery = _gallery(gallery_model, gallery_backbone)
    order = Order(
        tuple(dict.fromkeys(precision or ("fp32",))), far, opset, batch, max_loss, place, tuple(runtime), gallery, flip
    )
    make_bundle(model, out, order, see, say_runtime)
    return Exported(out, gate=tuple(rows))


def _check_not_failed(model: str | Path | BackboneModule | None, backbone: str | None) -> None:
    if isinstance(model, str | Path) and backbone is None:
        RunFolder(Path(model)).check_not_failed("train again, or give --even-if-failed to export it all the same")


def _gallery(model: str | Path | BackboneModule | None, backbone: str | None) -> BackboneModule | None:
    if model is None:
        if backbone is not None:
            raise InputError(f"expected --gallery-model with --gallery-backbone {backbone}, got none; add the weights")
        return None
    if isinstance(model, str | Path) and backbone is None and not Path(model).is_dir():
        raise InputError(f"{model}: expected a run folder, or weights with --gallery-backbone NAME; check the path")
    return _network(Path(model) if isinstance(model, str) else model, backbone)


def _network(model: Path | BackboneModule, backbone: str | None) -> BackboneModule:
    if isinstance(model, BackboneModule):
        return model
    return load_backbone(model) if backbone is None else create_backbone(backbone, weights=model)
