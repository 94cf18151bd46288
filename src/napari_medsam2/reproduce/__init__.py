"""A session as text that makes the same labels again: a Python script, or a shell command.

What text cannot hold, such as a painted mask, is left to a saved session, which the text then names
and replays.
"""

from .command import as_command
from .recipe import Copied
from .script import as_python

__all__ = ["Copied", "as_command", "as_python"]
