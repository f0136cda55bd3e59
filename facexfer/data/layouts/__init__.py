"""The published forms of face sets, one small file each."""

from facexfer.data.layouts.casia_nir_vis2 import casia_nir_vis2
from facexfer.data.layouts.cbsr_nir import cbsr_nir
from facexfer.data.layouts.entry import Layout, LayoutOptions, PhotoEntry
from facexfer.data.layouts.folders import folder_per_identity
from facexfer.data.layouts.insightface_bin import insightface_bin
from facexfer.data.layouts.insightface_rec import insightface_rec
from facexfer.data.layouts.lfw import lfw
from facexfer.data.layouts.own_manifest import own_manifest
from facexfer.data.layouts.polyu_nirfd import polyu_nirfd
from facexfer.registry import Registry

LAYOUTS: Registry[Layout] = Registry("layout")
"""Layout name -> what lists the photos of a set."""

LAYOUTS.add("folders", folder_per_identity)
LAYOUTS.add("polyu-nirfd", polyu_nirfd)
LAYOUTS.add("cbsr-nir", cbsr_nir)
LAYOUTS.add("casia-nir-vis2", casia_nir_vis2)
LAYOUTS.add("lfw", lfw)
LAYOUTS.add("manifest", own_manifest)
LAYOUTS.add("insightface-rec", insightface_rec)
LAYOUTS.add("insightface-bin", insightface_bin)

NOTES = {
    "polyu-nirfd": "the published naming of PolyU-NIRFD could not be verified for this layout: check that there are "
    "335 identities, and look at the contact sheet"
}
"""Layout name -> what a person must know who relies on it."""

__all__ = ["LAYOUTS", "NOTES", "Layout", "LayoutOptions", "PhotoEntry"]
