"""What a run warns of, too few structures and nothing held out, and that its report keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from etn_gpu.training import Event, TrainingConfig, train

pytestmark = pytest.mark.usefixtures("plots")


def run(config: TrainingConfig) -> tuple[list[str], list[str]]:
    """The warnings that are shown and those of the report."""
    shown: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "message" and event.text.startswith("warning: "):
            shown.append(event.text.removeprefix("warning: "))

    report = train(config, on_event=listen)
    written: dict[str, Any] = json.loads(config.output.with_suffix(".json").read_text())
    assert written["warnings"] == list(report.warnings)
    return shown, list(report.warnings)


def test_a_run_without_faults(configure: Callable[..., TrainingConfig]) -> None:
    shown, kept = run(configure(max_iterations=1))
    assert not [text for text in shown if "held out" in text or "parameters" in text]
    assert set(shown) <= set(kept)


def test_nothing_held_out(configure: Callable[..., TrainingConfig]) -> None:
    shown, kept = run(configure(valid_file=None, valid_fraction=0.0, max_iterations=1))
    assert [text for text in shown if "nothing is held out" in text and "--valid" in text]
    assert set(shown) <= set(kept)


def test_fewer_structures_than_a_hundredth_of_the_parameters(
    configure: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etn_gpu.training.setup.FEWEST", 10.0)
    shown, _ = run(configure(max_iterations=1))
    [text] = [text for text in shown if "training structures for" in text]
    assert "parameters, expected at least" in text
