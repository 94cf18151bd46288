"""What keys can do: a name, the usual key, and what it is in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACTIONS", "Action"]


@dataclass(frozen=True)
class Action:
    """Something that a key does.

    Attributes
    ----------
    key : str
        The usual one, as napari writes it.
    text : str
        For a person.
    """

    key: str
    text: str


# The names are also those of the settings in napari.yaml.
ACTIONS: dict[str, Action] = {
    "box": Action("B", "Box tool"),
    "point": Action("P", "Point tool, on the object"),
    "point_beside": Action("Shift-P", "Point tool, beside the object"),
    "lasso": Action("L", "Lasso tool"),
    "scribble": Action("K", "Scribble tool, on the object"),
    "scribble_beside": Action("Shift-K", "Scribble tool, beside the object"),
    "brush": Action("R", "Brush on the result"),
    "polarity": Action(
        "T", "Turn clicks and scribbles positive or negative (Shift: a single negative one)"
    ),
    "use_mask": Action("U", "Use the mask on this slice as a prompt"),
    "clear_prompts": Action("Shift-C", "Clear the prompts of the object on this slice"),
    "new_object": Action("N", "New object"),
    "segment": Action("S", "Segment this slice"),
    "accept": Action("A", "Accept the masks of this slice, or take that back"),
    "accept_selected": Action("Shift-A", "Accept the selected object alone"),
    "next_worst": Action("W", "Next worst slice that is not accepted"),
    "previous_worst": Action("Shift-W", "Back to the slice before"),
    # Period and comma, not brackets: those size the brush of labels layers.
    "next_prompt": Action(".", "Next slice with a prompt"),
    "previous_prompt": Action(",", "Previous slice with a prompt"),
    "undo": Action("Control-Z", "Undo, prompts and masks alike"),
    "redo": Action("Control-Shift-Z", "Redo"),
    "carry_forward": Action("Shift-Right", "Carry the masks to the next slice"),
    "carry_backward": Action("Shift-Left", "Carry the masks to the slice before"),
    "to_next_prompt": Action("Control-Shift-Right", "Propagate from here to the next prompt"),
    "to_previous_prompt": Action(
        "Control-Shift-Left", "Propagate from here back to the prompt before"
    ),
    "pause": Action("H", "Hold a propagation, or go on with it"),
    "stop": Action("Escape", "Stop, keeping what is done"),
}
