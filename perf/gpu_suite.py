"""Check and time everything that runs on a GPU, in one call that ends in time.

    python perf/gpu_suite.py [--seconds 450] [--only SECTION ...] [--seed N] [--output FILE] [--commit TEXT]
    python perf/gpu_suite.py --emulated
    compute-sanitizer --tool memcheck python perf/gpu_suite.py --sanitize

Needs etn_gpu, CuPy and a GPU. Sections, the most important first: the machine; every kernel against NumPy; compilation
of all Programs; whole Programs and evaluations against NumPy, from fresh random inputs, into arrays that begin as NaN;
the ceilings of the device; atoms per second of crystals of 10^3 to 10^7 atoms, list included and excluded, with the
results checked; every kernel beside its floor; batches of small structures; one core of the host; a tensor product
beside e3nn and a crystal beside MACE, where these are installed. gpu/expected.py says what was expected before, and is
printed beside what was found.

A section ends when its share of the time is spent; what was not run is listed. The file, perf/results/gpu_suite.json
unless told otherwise, is whole after every row, so that a run that is cut off loses nothing, and says what was
``running``. The key ``atoms_per_second`` is the rate of energies, forces and stress of 1 024 000 atoms, preset
standard, float32, neighbour list included, positions and results on the device. ``passed`` is true when every check was
run and passed; exit code 1 when any failed.

``--emulated`` runs the checks with tiny sizes on the emulator of the tests, and no timing: a test of this script.

``--sanitize`` runs the checks with small sizes on a GPU, every array an allocation of its own that nothing has filled,
so that the tools of compute-sanitizer know bounds and what was written. Once with each of them, all exit with 0:

    for tool in memcheck racecheck synccheck initcheck; do
        compute-sanitizer --error-exitcode 9 --tool $tool python perf/gpu_suite.py --sanitize || echo "$tool failed"
    done

The first of them compiles, so give it more time (--seconds 600) or run the script with --sanitize alone before.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback
from pathlib import Path

from common import RESULTS
from gpu import (
    ceilings,
    expected,
    kernel_checks,
    kernel_times,
    mace_peer,
    machine,
    one_core,
    peers,
    prepare,
    program_checks,
)
from gpu import throughput as rates
from gpu.poison import apart, poisoned
from gpu.report import Report, print_rows
from gpu.section import FULL, TINY, WATCHED, Bench, Case, Clock, Row, Section

from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.errors import BackendError

SECTIONS: tuple[Section, ...] = (
    machine.SECTION,
    kernel_checks.SECTION,
    prepare.SECTION,
    program_checks.SECTION,
    ceilings.SECTION,
    rates.CRYSTALS,
    kernel_times.SECTION,
    rates.BATCHES,
    one_core.SECTION,
    peers.SECTION,
    mace_peer.SECTION,
    machine.AFTERWARDS,
)


def main() -> None:
    """Run the suite."""
    options = _options()
    try:
        device = _device(options.emulated)
    except BackendError as error:
        sys.exit(f"{error}\n--emulated runs the checks without a GPU.")
    checks_only = options.emulated or options.sanitize
    sizes = TINY if options.emulated else WATCHED if options.sanitize else FULL
    bench = Bench(device, sizes, options.seed, Clock(options.seconds), options.commit)
    report = Report(options.output)
    report.content = {"seconds": options.seconds, "atoms_per_second": None, "passed": None, "sections": {}}
    chosen = [s for s in SECTIONS if not options.only or s.name in options.only]
    for section in chosen:
        if not section.measures:
            with apart(device) if options.sanitize else poisoned(device):
                run_section(section, bench, report)
        elif checks_only:
            report.content["sections"][section.name] = {"title": section.title, "not_run": "checks alone were run"}
        else:
            run_section(section, bench, report)
    if not checks_only:
        report.content["expected"] = expected.rows(bench)
        print_rows("Expected and found", report.content["expected"])
    failures = [f"{name}: {row['case']}" for name, rows in bench.rows.items() for row in rows if failed(row)]
    report.content |= {"passed": not failures and _complete(report, chosen), "failures": failures}
    report.write()
    print(f"{bench.clock.spent:.0f} s; written to {report.path}")
    if failures:
        sys.exit("FAILED\n  " + "\n  ".join(failures))


def run_section(section: Section, bench: Bench, report: Report) -> None:
    """All cases that there is time for; rows go to the bench and to the file as they come."""
    rows = bench.rows[section.name] = []
    not_run: list[str] = []
    report.content["sections"][section.name] = {"title": section.title, "rows": rows, "not_run": not_run}
    try:
        for case in section.cases(bench):
            if bench.clock.left(section.until) <= 0.0:
                not_run.append(case.name)
                continue
            report.content["running"] = f"{section.name}: {case.name}"
            report.write()
            rows += rows_of(case)
            crystal = rates.headline(bench)
            report.content["atoms_per_second"] = crystal.get("atoms_per_second") if crystal.get("passed") else None
    except Exception as error:
        rows.append(error_row("cases of the section", error))
    report.content["running"] = None
    report.write()
    if rows:
        print_rows(section.title, rows)
    if not_run:
        print(f"no time for: {'; '.join(not_run)}\n")


def rows_of(case: Case) -> list[Row]:
    """What a case gives; whatever goes wrong in it is its own failure."""
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


def _complete(report: Report, chosen: list[Section]) -> bool:
    """Whether there was time for all checks."""
    sections = report.content["sections"]
    return not any(sections[section.name]["not_run"] for section in chosen if not section.measures)


def _device(emulated: bool) -> Device:
    if not emulated:
        return CupyDevice()
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.emulator import EmulatedDevice

    return EmulatedDevice()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=450.0, help="time for everything (default 450)")
    parser.add_argument("--only", nargs="+", choices=[s.name for s in SECTIONS], metavar="SECTION", help="%(choices)s")
    parser.add_argument("--seed", type=int, help="of all random inputs (default: another one each time)")
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu_suite.json", metavar="FILE")
    parser.add_argument("--commit", help="what to write as commit where this is no checkout")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--emulated", action="store_true", help="tiny checks on the emulator")
    mode.add_argument("--sanitize", action="store_true", help="small checks on a GPU, for compute-sanitizer")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = secrets.randbelow(2**31)
    return options


if __name__ == "__main__":
    main()
