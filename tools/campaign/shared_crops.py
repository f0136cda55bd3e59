"""Decoded crops, kept once for all runs: processes forked from one that has imported this find them in memory.

Before every run the engine reads a set's files several times: for their pixels, their hashes and their bit depths. That
is a second or two for one run, and most of the time of twelve side by side on one card.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# What a run needs is imported here, too, so that it is loaded once.
import facexfer.engine.train  # noqa: F401
from facexfer.data import images
from facexfer.data.manifest import read_manifest
from facexfer.data.pictures import depths
from facexfer.files import digest
from facexfer.tasks import face

MANIFESTS = "FACEXFER_CAMPAIGN_MANIFESTS"
"""The environment variable that lists the sets to decode."""


def share(manifests: list[Path], size: tuple[int, int] = (112, 112)) -> None:
    """Decode sets of crops, and let every later run of this process and its children find them."""
    modules: Any = images, depths, digest, face
    images_module, depths_module, digest_module, face_module = modules
    hashes: dict[int, str] = {}
    hash_picture = images_module.hash_picture

    def hash_once(picture: np.ndarray) -> str:
        if id(picture) not in hashes:
            hashes[id(picture)] = hash_picture(picture)
        return hashes[id(picture)]

    # `hash_once` goes by the picture's address, which `read_rgb` keeps.
    images_module.read_rgb = _frozen(images.read_rgb)
    images_module.hash_picture = hash_once
    depths_module._is_deep = cache(depths._is_deep)
    digest_module._picture_digest = cache(digest._picture_digest)
    face_module.read_manifest = cache(read_manifest)
    for path in manifests:
        listed = face_module.read_manifest(path).images
        images.check_crops(listed, size)
        digest.picture_digests([image.path for image in listed])


def _frozen(read: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    @cache
    def read_once(*given: Any) -> np.ndarray:
        picture = read(*given)
        picture.setflags(write=False)
        return picture

    return read_once


if os.environ.get(MANIFESTS):
    share([Path(path) for path in os.environ[MANIFESTS].split(os.pathsep)])
