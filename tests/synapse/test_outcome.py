"""What the demo says of a pause's parts."""

from __future__ import annotations

from typing import Any

from crossfade.demo.outcome import parts_of_pause


def part(name: str, began: float, seconds: float) -> dict[str, Any]:
    """A part as the journal has it."""
    return {"name": name, "began": began, "seconds": seconds}


def test_parts_of_the_pause() -> None:
    """Those inside the pause, each once: not the parts of parts, not what came before or after."""
    steps = [
        {"parts": [part("prepare", 98.0, 1.9), part("stop", 100.0, 0.4)]},
        # began in the very moment in which the pause ended, and was rounded down
        {
            "parts": [
                part("way back main", 100.4, 0.1),
                part("way back", 100.4, 0.1),
                part("switch", 100.5, 0.5),
                part("keep the fence", 100.9999, 0.3),
            ]
        },
    ]
    data = {"pause": {"began": 100.0, "ended": 101.0}, "runs": [{"run": "cutover", "steps": steps}]}
    assert parts_of_pause(data) == {"stop": 0.4, "way back": 0.1, "switch": 0.5}
