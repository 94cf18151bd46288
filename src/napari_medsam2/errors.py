"""The errors that a user can meet, one small tree.

None derives from RuntimeError: napari's generator workers swallow those, and a lost error is the
worst kind. Every message says what was wrong, where, and what to do next.
"""

__all__ = [
    "CheckpointError",
    "DeviceError",
    "InputError",
    "MedSAM2Error",
    "ModelError",
    "PromptError",
    "ReadError",
    "WriteError",
]


class MedSAM2Error(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(MedSAM2Error, ValueError):
    """An image, array, axis, window or option that cannot be used."""


class PromptError(InputError):
    """A prompt that is malformed, outside the image, or beyond what the model can honour."""


class ReadError(InputError):
    """A file that cannot be read as an image, labels, prompts or session."""


class WriteError(MedSAM2Error):
    """A result that cannot be written where it was asked for."""


class ModelError(MedSAM2Error):
    """A model that is unknown or cannot do what it was asked."""


class CheckpointError(ModelError):
    """Weights that are missing, altered or of another architecture."""


class DeviceError(ModelError):
    """A compute device that is unknown, absent or out of memory."""
