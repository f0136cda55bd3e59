"""The facts of a network that travel with its weights in files of our own."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facexfer.backbones.parts.info import BackboneInfo
from facexfer.errors import InputError


def facts_to_metadata(info: BackboneInfo) -> dict[str, str]:
    """Write what the weights do not say themselves, in the form of safetensors' metadata.

    Args:
        info: The network's facts.

    Returns:
        Origin, licence, input size and normalisation, each as text.
    """
    return {
        "licence": info.licence,
        "source": info.source,
        **{key: json.dumps(getattr(info, key)) for key in ("input_size", "color_order", "mean", "scale")},
    }


def facts_from_metadata(info: BackboneInfo, metadata: Mapping[str, str]) -> BackboneInfo:
    """Put the facts of a file in the place of a network's usual ones.

    Args:
        info: The usual ones.
        metadata: As `facts_to_metadata` wrote it; what is not there stays as it was.

    Returns:
        The facts of the network in the file.

    Raises:
        InputError: If a fact is not in the form in which it was written.

    Example:
        >>> info = BackboneInfo("n", (2, 2), "RGB", (0.0,) * 3, (1.0,) * 3, 4, (), ())
        >>> facts_from_metadata(info, {"mean": "[1.0, 2.0, 3.0]", "licence": "MIT"}).mean
        (1.0, 2.0, 3.0)
    """
    changed: dict[str, Any] = {key: metadata[key] for key in ("licence", "source") if key in metadata}
    try:
        for key, count in (("input_size", 2), ("mean", 3), ("scale", 3)):
            if key in metadata:
                changed[key] = tuple(float(each) if count == 3 else int(each) for each in json.loads(metadata[key]))
                if len(changed[key]) != count:
                    raise ValueError(f"{len(changed[key])} numbers in {key}")
        if "color_order" in metadata:
            changed["color_order"] = str(json.loads(metadata["color_order"]))
    except (ValueError, TypeError) as error:
        raise InputError(f"expected facts as facexfer writes them, got {error}; the file is damaged") from error
    return replace(info, **changed)
