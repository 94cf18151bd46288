"""Files to volumes and labels, labels and prompts to files.

Importing this package is light: SimpleITK, pydicom, tifffile, zarr and Pillow are loaded by the
function that first needs them.
"""

from .files import read, read_labels, write_labels
from .prompts import PromptDocument, read_prompts, write_prompts

__all__ = [
    "PromptDocument",
    "read",
    "read_labels",
    "read_prompts",
    "write_labels",
    "write_prompts",
]
