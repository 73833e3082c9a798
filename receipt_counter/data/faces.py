"""The pinned faces that pictures are lettered in, never the system's: the same pixels come out everywhere."""

from __future__ import annotations

from functools import cache
from importlib import resources

from PIL import ImageFont

FACES = {
    "plex": ("fontpkg_ibm_plex_mono", "IBMPlexMono-Regular.ttf"),
    "plex_bold": ("fontpkg_ibm_plex_mono", "IBMPlexMono-Bold.ttf"),
    "space": ("fontpkg_space_mono", "SpaceMono-Regular.ttf"),
    "space_bold": ("fontpkg_space_mono", "SpaceMono-Bold.ttf"),
    "dm": ("fontpkg_dm_mono", "DMMono-Regular.ttf"),
    "dm_bold": ("fontpkg_dm_mono", "DMMono-Medium.ttf"),
    "sans": ("fontpkg_pt_sans", "PT_Sans-Web-Regular.ttf"),
    "sans_bold": ("fontpkg_pt_sans", "PT_Sans-Web-Bold.ttf"),
    "serif": ("fontpkg_pt_serif", "PT_Serif-Web-Regular.ttf"),
    "serif_bold": ("fontpkg_pt_serif", "PT_Serif-Web-Bold.ttf"),
    "pen": ("fontpkg_kalam", "Kalam-Regular.ttf"),
    "pen_bold": ("fontpkg_kalam", "Kalam-Bold.ttf"),
}


@cache
def truetype(face: str, size: float) -> ImageFont.FreeTypeFont:
    """A face at a size.

    Args:
        face: a name in `FACES`.
        size: em height, pixels.
    """
    package, file = FACES[face]
    with resources.as_file(resources.files(package) / "files" / file) as path:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
