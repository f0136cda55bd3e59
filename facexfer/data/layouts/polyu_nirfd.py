"""PolyU-NIRFD (Zhang et al., Directional binary code, 2010): NIR faces of 335 people."""

from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.layouts.folders import folder_per_identity


@register_layout(
    "polyu-nirfd",
    reads=("modality", "identity_regex"),
    note="the published naming of PolyU-NIRFD could not be verified for this layout: check that there are 335 "
    "identities, and look at the contact sheet",
)
def polyu_nirfd(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List PolyU-NIRFD: a folder per identity, or the identity in the file name by ``--identity-regex``.

    The set is given out on request, and its published naming could not be verified for this layout: look at the
    summary (it must say 335 identities) and at the contact sheet before you rely on it.

    Args:
        root: The folder.
        options: The expression, if the identities are in the file names.

    Yields:
        One entry per photo, modality ``nir`` unless told otherwise.

    Raises:
        InputError: As for `folder_per_identity`.
    """
    yield from folder_per_identity(root, options)
