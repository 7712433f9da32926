"""Sections run one after another: rows to the file as they come, and the end where the device can no longer be used."""

from __future__ import annotations

import contextlib
import traceback

from gpu.report import Report, print_rows
from gpu.section import Bench, Case, Row, Section, not_run
from gpu.throughput import headline


class DeviceLostError(Exception):
    """The device failed in a way after which every call to it fails, as after an illegal access to memory."""


def run_section(section: Section, bench: Bench, report: Report) -> None:
    """All cases that there is time for; rows go to the bench and to the file as they come.

    Raises:
        DeviceLostError: the device can no longer be used; the file is written.
    """
    rows = bench.rows[section.name] = []
    no_time: list[str] = []
    report.content["sections"][section.name] = {"title": section.title, "rows": rows, "not_run": no_time}
    try:
        with _quiet(section, bench):
            for case in section.cases(bench):
                if bench.clock.left(section.until) <= 0.0:
                    no_time.append(case.name)
                    continue
                report.content["running"] = f"{section.name}: {case.name}"
                report.write()
                rows += rows_of(case, bench)
                crystal = headline(bench)
                report.content["atoms_per_second"] = crystal.get("atoms_per_second") if crystal.get("passed") else None
                _require_device(section, case, bench)
    except DeviceLostError:
        raise
    except Exception as error:
        rows.append(error_row("cases of the section", error))
    finally:
        report.content["running"] = None
        report.write()
        if rows:
            print_rows(section.title, rows)
        if no_time:
            print(f"no time for: {'; '.join(no_time)}\n")


def rows_of(case: Case, bench: Bench) -> list[Row]:
    """What a case gives; whatever goes wrong in it is its own failure."""
    if bench.compilation is not None:
        for code in case.needs:
            if reason := bench.compilation.obstacle(code):
                return [{"case": case.name, **not_run(f"{code.name}: {reason}")}]
    try:
        found = case.run()
    except Exception as error:
        return [error_row(case.name, error)]
    return [{"case": case.name, **row} for row in (found if isinstance(found, list) else [found])]


def error_row(case: str, error: Exception) -> Row:
    """The row of a case that ended in an error."""
    return {"case": case, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}


def failed(row: Row) -> bool:
    """Whether a row is that of a check that did not pass, or of a case that ended in an error."""
    return "error" in row or row.get("passed") is False


def incomplete(report: Report, checks: set[str]) -> list[str]:
    """What was not checked although it should be: no time, in the sections named ``checks``; or something missing."""
    missing: list[str] = []
    for name, section in report.content["sections"].items():
        if name in checks:
            missing += [f"{name}: {case}: no time" for case in section["not_run"]]
        missing += [
            f"{name}: {row['case']}: {row['not_run']}"
            for row in section.get("rows", [])
            if "not_run" in row and row.get("passed", "") is None
        ]
    return missing


def _quiet(section: Section, bench: Bench) -> contextlib.AbstractContextManager[None]:
    """Nothing else runs while something is timed."""
    if section.measures and bench.compilation is not None:
        return bench.compilation.paused()
    return contextlib.nullcontext()


def _require_device(section: Section, case: Case, bench: Bench) -> None:
    try:
        bench.device.synchronize()
    except Exception as error:
        lost = f"the device failed in {section.name}: {case.name}, and cannot be used any longer ({error})"
        bench.rows[section.name].append(error_row(case.name, DeviceLostError(lost)))
        raise DeviceLostError(lost) from error
