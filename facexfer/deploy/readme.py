"""The README of a bundle, with the lines of code that each runtime needs."""

import math
from typing import Any

from facexfer.deploy.contract import adds_flip
from facexfer.deploy.runtimes import Example, choose_runtime
from facexfer.deploy.runtimes.runtime import on_device

_README = """# {name}

Aligned {height}x{width} crops of 8 bits per channel in (`facexfer prepare` makes them of photos, deeper ones too),
embeddings of {size} numbers out; the normalisation{flip} is inside `model.onnx`. With nothing but onnxruntime, numpy
and opencv:

{code}

{origin_of_threshold}
`facexfer match` decides by the same threshold{of_runtime}. `model.json` has the others, `report/` the evaluation, and
`facexfer verify-bundle` measures again.

{gallery}{runtimes}{insightface}

Source of the weights: {source}.
Licence: {licence}.
"""
_PACK = (
    'With InsightFace: `model_zoo.get_model("model.onnx")` is an `ArcFaceONNX`, and the folder is a model pack with\n'
    "its manifest: "
)
_WITH_DETECTOR = (
    "`insightface.app.FaceAnalysis(name=THIS_FOLDER)` detects with\n`detector.onnx` and embeds with `model.onnx`."
)
_WITHOUT_DETECTOR = (
    '`model_zoo.get_model(THIS_FOLDER, model_task="recognition")`. `FaceAnalysis` needs a detector next to it:\n'
    "`facexfer export --detector FILE` puts one in."
)
_NOT_SQUARE = "InsightFace itself takes square crops only, so this file is not for it."
_GALLERY = """**Two networks.** `gallery.onnx` embeds those who are enrolled ({enrolled}), `model.onnx` (or another
runtime's file) the probes ({probe}). A gallery that it has made earlier stays valid, and the thresholds are those of
the two together. Feed both alike; in the lines above, a is then

```python
gallery = onnxruntime.InferenceSession("gallery.onnx", providers=["CPUExecutionProvider"])
a = gallery.run(None, {{"input": {fed}}})[0][0]
```

{flip}Licence of `gallery.onnx`: {licence}.

"""
_AS_ABOVE = "Here, too, `gallery.onnx` makes a, as above.\n\n"
_FLIPPED_GALLERY = """Both add the mirrored crop: enrol again whom `gallery.onnx` has embedded without it.

"""
_CODE = """```python
{imports}
{opens}
crops = [cv2.dnn.blobFromImage(cv2.imread(path), swapRB=True) for path in ("a.jpg", "b.jpg")]
a, b = ({embeds} for crop in crops)
print(a @ b / np.linalg.norm(a) / np.linalg.norm(b))  # the same person if above {threshold}
```"""


def write_readme(name: str, contract: dict[str, Any]) -> str:
    """Write the README of a bundle.

    Args:
        name: The bundle's.
        contract: As in ``model.json``.

    Returns:
        The text, in Markdown.
    """
    batch, _, height, width = contract["input"]["shape"]
    point = contract["operating_point"]
    threshold = "your own threshold" if point["far"] is None else _rounded_up(point["threshold"])
    example = choose_runtime("onnxruntime").runtime.example("model.onnx", contract["precision"])
    assert example is not None
    return _README.format(
        name=name,
        height=height,
        width=width,
        size=contract["embedding_size"],
        flip=", like the mirrored crop whose embedding is added," if adds_flip(contract) else "",
        code=_code(example, batch, threshold),
        origin_of_threshold="The data that `model.json` names supports no threshold."
        if point["far"] is None
        else f"The threshold belongs to FAR {point['far']:g} on the data that `model.json` names.",
        of_runtime=", with `--runtime` by that of the runtime's file" if contract["runtimes"] else "",
        gallery=_gallery(contract, batch) if contract["gallery"] else "",
        runtimes="".join(
            _runtime(entry, _own_threshold(entry, point["far"]) or threshold, (height, width))
            + (_AS_ABOVE if contract["gallery"] else "")
            for entry in contract["runtimes"]
        ),
        insightface=_PACK + (_WITH_DETECTOR if contract["detector"] else _WITHOUT_DETECTOR)
        if height == width
        else _NOT_SQUARE,
        source=contract["source"] or "none, random weights",
        licence=contract["licence"],
    )


def _rounded_up(threshold: float) -> str:
    return f"{math.ceil(threshold * 1e6) / 1e6:.6f}"


def _own_threshold(entry: dict[str, Any], far: float | None) -> str | None:
    """The threshold of a runtime's own file; None where it was not measured."""
    return next((_rounded_up(each["threshold"]) for each in entry["thresholds"] if each["far"] == far), None)


def _gallery(contract: dict[str, Any], batch: int | str) -> str:
    pairs, crop = contract["pairs"], "crops[0]"
    return _GALLERY.format(
        enrolled=pairs["gallery"],
        probe=pairs["probe"],
        fed=crop if batch in ("N", 1) else f"np.repeat({crop}, {batch}, 0)",
        licence=contract["gallery"]["licence"],
        flip=_FLIPPED_GALLERY if adds_flip(contract) else "",
    )


def _runtime(entry: dict[str, Any], threshold: str, input_size: tuple[int, int]) -> str:
    """What the README says of one runtime's file, with an empty line after it."""
    name = f"{entry['runtime']}:{entry['precision']}"
    runtime = choose_runtime(name).runtime
    example = runtime.example(entry["files"][0]["name"], entry["precision"])
    if example is None:
        batch = entry["input"]["batch"]
        return f"For {name}: {on_device(runtime, input_size, batch if isinstance(batch, int) else None)}.\n\n"
    installs = f"pip install {example.packages}" if example.packages else runtime.install
    return (
        f"With nothing but {name} (`{installs}`), numpy and opencv:\n\n"
        f"{_code(example, entry['input']['batch'], threshold)}\n\n"
    )


def _code(example: Example, batch: int | str, threshold: str) -> str:
    fed = "crop" if batch in ("N", 1) else f"np.repeat(crop, {batch}, 0)"
    return _CODE.format(
        imports=example.imports,
        opens=example.opens,
        embeds=example.embeds.replace("crop", fed),
        threshold=threshold,
    )
