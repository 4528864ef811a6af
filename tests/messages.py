"""What a message has to have: what is wrong, where, and what to do about it."""

from __future__ import annotations

import re

_VERBS = (
    "Add", "Append", "Check", "Choose", "Compute", "Convert", "Copy", "Correct", "Crop", "Cut", "Download", "Drop",
    "Export", "Fix", "Give", "Install", "Leave", "Make", "Move", "Name", "Pass", "Quantize", "Rename", "Repair",
    "Replace", "Return", "Save", "Scale", "Set", "Take", "Try", "Update", "Use", "With its checkpoint", "Write",
)  # fmt: skip
_ADVICE = re.compile(
    rf"(?:^|[.;:?!] |, or )(?:Or |then |please )?(?:{'|'.join(_VERBS)})\b"  # an order
    r"|: (?:pip install|pip uninstall|boxcam|uv pip) "  # a command to run
    r"|'boxcam \w+[^']*' (?:prints|lists|describes)"
    r"|\bThere are: (?!none)\S"  # what there is to choose from
)
_PLACE = re.compile(
    r"(?<!\w)'[^']*'|\"[^\"]+\""  # a name in quotes
    r"|(?:^|[\s(])--?[a-z][\w-]*|\b[a-z_]+="  # an option
    r"|[\w.~-]*/[\w./~-]+|\b[\w-]+\.(?:py|pth|pt|onnx|json|yaml|jpg|png|txt|boxcam)\b"  # a file
    r"|\b(?:the |its )?(?:model|graph|checkpoint|config|input|layer|scores?|boxes|function|image|file|bundle)\b"
    r".*?(?:\[[\d?, ]+\]|\([\w./]+\)|\b\d)"  # a part of the model, with its shape, node or number
)
_FAULT = re.compile(
    r"\b(?:no|not|never|only|asks?|nothing|none|neither|cannot|is|are|has|have|had|does|do|lacks?|needs?|holds?|gives?|takes?|names?|"
    r"uses?|fails?|failed|exists?|exceeds?|matches|contradicts?|keeps?|lies|returns?|would|was|were|may|computes?|outputs)\b"
)


def missing_parts(message: str) -> list[str]:
    """Which of the three parts a message does not have: ``what``, ``where``, ``mend``."""
    text = message.removeprefix("boxcam: ").strip()
    advice = _ADVICE.search(text)
    before = text[: advice.start()] if advice else text
    parts = {"what": _FAULT.search(before), "where": _PLACE.search(text), "mend": advice}
    return [part for part, found in parts.items() if not found]


def check_message(message: str) -> str:
    """The message, if it says what is wrong, where, and what to do about it."""
    missing = missing_parts(message)
    assert missing == [], f"no {' and no '.join(missing)} in: {message}"
    return message
