"""Standard output and standard error that fail, lack characters, or would obey a name."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from etn_gpu.cli.console import error_console, new_spinner, output_console
from etn_gpu.cli.progress import structure_progress
from etn_gpu.cli.streams import SturdyStream, sturdy_streams

COMMAND = [sys.executable, "-m", "etn_gpu.cli.main"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs the device that is always full, which Linux has")
NASTY = "a\x1b[2J\x1b]0;title\x07\x9b\r\u202eb"
SHOWN = "a\\x1b[2J\\x1b]0;title\\x07\\x9b\\x0d\\u202eb"


class Failing(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_text_that_cannot_be_written_is_dropped() -> None:
    stream = SturdyStream(Failing(errno.ENOSPC))
    assert stream.write("text") == 4
    assert stream.write("more") == 4
    stream.flush()
    assert stream.error is not None
    assert stream.error.errno == errno.ENOSPC


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "\\xc5\\u2500"), ("latin-1", "Å\\u2500"), ("utf-8", "Å─")])
def test_characters_that_the_encoding_lacks_are_escaped(encoding: str, shown: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    sturdy = SturdyStream(stream)
    sturdy.write("Å─")
    sturdy.flush()
    assert stream.buffer.getvalue().decode(encoding) == shown


def test_what_a_terminal_would_obey_is_shown() -> None:
    stream = io.StringIO()
    SturdyStream(stream).write(f"{NASTY}\n\x1b[31mred\x1b[0m\n")
    assert stream.getvalue() == f"{SHOWN}\n\\x1b[31mred\\x1b[0m\n"


def test_a_terminal_gets_the_codes_of_rich() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    own = "\x1b[1;31mred\x1b[0m\r\x1b[2K\x1b[1A\x1b[?25l"
    SturdyStream(stream).write(own + "\x1b]0;title\x07")
    assert stream.getvalue() == own + "\\x1b]0;title\\x07"


def code_after_printing(code: int) -> int | str | None:
    @sturdy_streams()
    def work() -> None:
        print("text")
        raise SystemExit(code)

    with pytest.raises(SystemExit) as stop:
        work()
    return stop.value.code


@pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, 1), (errno.EBADF, 1), (errno.ENOSPC, 3)])
def test_exit_code_after_standard_output_was_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(number))
    assert code_after_printing(1) == code
    assert ("cannot write to standard output: No space left" in capsys.readouterr().err) is (code == 3)


@pytest.mark.parametrize("code", [2, 130])
def test_what_went_wrong_before_is_not_hidden(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(errno.ENOSPC))
    assert code_after_printing(code) == code


def test_tables_titles_and_progress_show_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("etn_gpu.cli.progress._SECONDS_BETWEEN_LINES", 0.0)
    table = Table(title=NASTY)
    table.add_column(NASTY)
    table.add_row(NASTY)
    output_console().print(table)
    output_console().print(NASTY)
    error_console().print(NASTY, style="red", soft_wrap=True)
    with structure_progress(None) as advance:
        advance(1, NASTY + "\n")
    printed = capsys.readouterr()
    assert printed.out.count(SHOWN) == 4
    assert printed.err.count(SHOWN) == 2
    assert f"{SHOWN}\\x0a\n" in printed.err
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(printed.out + printed.err)


def test_a_bar_shows_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with structure_progress(2) as advance:
        advance(1, NASTY)
    assert SHOWN in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


@pytest.mark.parametrize(("encoding", "spinner"), [("ascii", "line"), ("utf-8", "dots")])
def test_the_bar_turns_in_characters_that_there_are(
    monkeypatch: pytest.MonkeyPatch, encoding: str, spinner: str
) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert new_spinner(error_console()).spinner.name == spinner


def test_metadata_of_a_model_is_shown_and_not_obeyed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import etn_gpu

    model = etn_gpu.load("nbmotaw")
    model.metadata.update(licence=NASTY, citation=[NASTY, "plain"])
    monkeypatch.setattr(etn_gpu, "load", lambda name, **options: model, raising=False)
    finished = run("plan", "x")
    assert finished.out.count(SHOWN) == 2
    assert "\x1b" not in finished.out


@pytest.mark.slow
@needs_full
def test_closed_and_full_streams_of_processes() -> None:
    """Processes, because closed descriptors and the end of the interpreter are what it is about."""

    def codes(redirections: str, *arguments: str) -> tuple[int, str]:
        shell = ["bash", "-c", f'"$@" {redirections}', "bash", *COMMAND, *arguments]
        finished = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
        return finished.returncode, finished.stderr

    assert codes(">&-", "--version") == (0, "")
    assert codes(">&- 2>&- <&-", "--help") == (0, "")
    assert codes("1</dev/null", "--help") == (0, "")
    assert codes("| true; exit ${PIPESTATUS[0]}", "--help") == (0, "")
    code, message = codes(">/dev/full", "--help")
    assert (code, message) == (3, "Error: cannot write to standard output: No space left on device\n")
    assert codes(">/dev/full 2>/dev/full", "--help")[0] == 3
    assert codes("2>/dev/full", "plan", "steel")[0] == 2


@pytest.mark.slow
def test_wrong_use_is_not_obeyed_by_the_terminal() -> None:
    arguments = [["screen", "--rank", NASTY], [NASTY], ["plan", NASTY], ["screen", f"--{NASTY}"]]
    for given in arguments:
        finished = subprocess.run([*COMMAND, *given], capture_output=True, timeout=60, check=False)
        assert finished.returncode == 2
        assert b"\x1b" not in finished.stderr
        assert b"\x07" not in finished.stderr
