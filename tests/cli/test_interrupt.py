"""Ctrl-C is not lost where compiled code swallows the exception."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

import etn_gpu.training
from etn_gpu.cli.interrupt import remembered_interrupts
from etn_gpu.screening import evaluate_each


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    """It is ignored where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Swallows:
    """Asked for its length, as by compiled code that takes any error for "has none", it is hit by Ctrl-C."""

    def __len__(self) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0


def swallowed_ctrl_c() -> None:
    try:
        len(Swallows())
    except KeyboardInterrupt:
        return
    pytest.fail("Ctrl-C should be an exception where it strikes")


def test_what_was_swallowed_is_raised_by_the_check() -> None:
    with remembered_interrupts() as check:
        check()
        swallowed_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), remembered_interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_handler_that_is_not_pythons_stays(handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    with remembered_interrupts() as check:
        assert signal.getsignal(signal.SIGINT) is handler
        check()
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_a_request_to_end_is_an_interrupt(handler: Any) -> None:
    """As a queueing system makes it, of jobs that may ignore Ctrl-C."""
    signal.signal(signal.SIGINT, handler)
    with remembered_interrupts() as check:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_leave_the_handler_alone() -> None:
    seen = []

    def work() -> None:
        with remembered_interrupts() as check:
            check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_screen_stops(run: Any, stand_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate = evaluate_each
    batches = []

    def hit(model: Any, structures: Any, **options: Any) -> Any:
        batches.append(structures)
        swallowed_ctrl_c()
        return evaluate(model, structures, **options)

    monkeypatch.setattr("etn_gpu.screening.single_points.evaluate_each", hit)
    finished = run("screen", "--demo", "--batch-atoms", 100)
    assert finished.code == 130
    assert "interrupted" in finished.out
    assert len(batches) == 1
    assert (tmp_path / "results.csv.part").read_text().count("\n") == 1 + len(batches[0])


def test_train_stops(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        swallowed_ctrl_c()
        on_event(etn_gpu.training.Event("message", text="an iteration later"))
        pytest.fail("the run went on")

    monkeypatch.setattr(etn_gpu.training, "train", train)
    finished = run("train", "train.xyz", "-o", tmp_path / "m.etn")
    assert finished.code == 130
    assert "interrupted: there is no checkpoint yet" in finished.out
