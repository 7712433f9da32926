"""Check and time everything that runs on a GPU, in one call that ends in time.

    python3 perf/gpu_suite.py [--seconds 450] [--only SECTION ...] [--seed N] [--output FILE] [--commit TEXT]
    python3 perf/gpu_suite.py --compile 90
    python3 perf/gpu_suite.py --emulated
    compute-sanitizer --tool memcheck python3 perf/gpu_suite.py --sanitize

Needs etn_gpu with NumPy, opt_einsum and safetensors, CuPy and a GPU; what else is missing is said: ase and numba, which
lists of structures need, e3nn, mace, git. Sections, the most important first: the machine; every kernel against NumPy;
compilation of the Programs of evaluations by the preset standard; these against NumPy, from fresh random inputs, into
arrays that begin as NaN; the ceilings of the device; atoms per second of crystals of 10^3 to 10^7 atoms, list included
and excluded, with the results checked; every kernel beside its floor; compilation of all other Programs; these against
NumPy; lists of ase.Atoms by a shipped model, in parts and with little memory; a Program by the name of the backend; the
tensor library on the device; batches of small structures; one core of the host; crystals by the other presets; a tensor
product beside e3nn and a crystal beside MACE, where these are installed; the clocks of the GPU afterwards.
gpu/expected.py says what was expected before, and is printed beside what was found.

A section ends when its share of the time is spent; what was not run is listed. The file, perf/results/gpu_suite.json
unless told otherwise, is whole after every row, so that a run that is cut off loses nothing, and says what was
``running``. The key ``atoms_per_second`` is the rate of energies, forces and stress of 1 024 000 atoms, preset
standard, float32, neighbour list included, positions and results on the device. ``passed`` is true when every check was
run and passed, ``incomplete`` says which were not run and why; exit code 1 when any failed. After an error that leaves
the device of no use, such as an illegal access to memory, nothing more is run.

All Programs are compiled from the start in processes of their own, which wait while something is timed, and end after
the section that waits for the last of them. What is not there then is ``not_run``.

``--compile 90`` compiles all Programs and kernels for sm_90 (an H200) into the folder ETN_GPU_CACHE, on any machine: it
needs NVRTC (the package nvidia-cuda-nvrtc), neither CuPy nor a GPU. Code is found again where NVRTC has the same
version, which is printed: it must be the one on the machine with the GPU, where the section ``machine`` shows it; the
first one on the path of Python's modules is taken. Carry the folder there and name it by the same variable; nothing is
compiled then. It takes many minutes on a few cores:

    pip install --target nvrtc --no-deps 'nvidia-cuda-nvrtc==13.0.*'
    PYTHONPATH=nvrtc ETN_GPU_CACHE=cubins python3 perf/gpu_suite.py --compile 90
    ETN_GPU_CACHE=cubins python3 perf/gpu_suite.py

``--emulated`` runs the checks with tiny sizes on the emulator of the tests, and no timing: a test of this script.

``--sanitize`` runs the checks with small sizes on a GPU, every array an allocation of its own that nothing has filled,
so that the tools of compute-sanitizer know bounds and what was written. Once with each of them, all exit with 0:

    for tool in memcheck racecheck synccheck initcheck; do
        compute-sanitizer --error-exitcode 9 --tool $tool python3 perf/gpu_suite.py --sanitize || echo "$tool failed"
    done

The first of them compiles, so give it more time (--seconds 600), or compile before: --compile, or --sanitize alone.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from dataclasses import replace
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
    registry,
    structures,
    tensors,
)
from gpu import throughput as rates
from gpu.poison import apart, poisoned
from gpu.report import Report, print_rows
from gpu.running import DeviceLostError, failed, incomplete, run_section
from gpu.section import FULL, TINY, WATCHED, Bench, Clock, Section

from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.errors import BackendError

SECTIONS: tuple[Section, ...] = (
    machine.SECTION,
    kernel_checks.SECTION,
    prepare.FIRST,
    program_checks.FIRST,
    ceilings.SECTION,
    rates.CRYSTALS,
    kernel_times.SECTION,
    prepare.REST,
    program_checks.OTHERS,
    structures.SECTION,
    registry.SECTION,
    tensors.SECTION,
    rates.BATCHES,
    one_core.SECTION,
    rates.PRESETS,
    peers.SECTION,
    mace_peer.SECTION,
    machine.AFTERWARDS,
)
#: Run whatever was chosen: they wait for what that needs, and for nothing else.
ALWAYS = (prepare.FIRST, prepare.REST)


def main() -> None:
    """Run the suite."""
    options = _options()
    chosen = [s for s in SECTIONS if not options.only or s.name in options.only or s in ALWAYS]
    try:
        if options.compile is not None:
            sys.exit(0 if prepare.beforehand(options.compile, chosen) else "FAILED")
        device = _device(options.emulated)
    except BackendError as error:
        sys.exit(f"{error}\n--emulated runs the checks without a GPU.")
    sizes = TINY if options.emulated else WATCHED if options.sanitize else FULL
    bench = Bench(device, sizes, options.seed, Clock(options.seconds), options.commit)
    report = Report(options.output)
    report.content = {"seconds": options.seconds, "atoms_per_second": None, "passed": None, "sections": {}}
    lost = _run(bench, report, chosen, options)
    checks_only = options.emulated or options.sanitize
    if not checks_only:
        report.content["expected"] = expected.rows(bench)
        print_rows("Expected and found", report.content["expected"])
    found = [f"{name}: {row['case']}" for name, rows in bench.rows.items() for row in rows if failed(row)]
    failures = list(dict.fromkeys(found))
    missing = incomplete(report, {s.name for s in chosen if not s.measures})
    passed = not (failures or missing or lost)
    report.content |= {"passed": passed, "failures": failures, "incomplete": missing, "device_lost": lost}
    report.write()
    print(f"{bench.clock.spent:.0f} s; written to {report.path}")
    if missing:
        print("not complete:\n  " + "\n  ".join(missing))
    if lost:
        sys.exit(f"STOPPED: {lost}")
    if failures:
        sys.exit("FAILED\n  " + "\n  ".join(failures))


def _run(bench: Bench, report: Report, chosen: list[Section], options: argparse.Namespace) -> str | None:
    """All sections; what made the device of no use, if something did. No process is left behind.

    Checks alone take all the time that they need: there is nothing to be measured after them.
    """
    measured = not (options.emulated or options.sanitize)
    run = [s for s in chosen if measured or not s.measures]
    bench.compilation = prepare.started(bench, run)
    try:
        for section in chosen:
            if section not in run:
                report.content["sections"][section.name] = {"title": section.title, "not_run": "checks alone were run"}
            elif section.measures:
                run_section(section, bench, report)
            else:
                with apart(bench.device) if options.sanitize else poisoned(bench.device):
                    run_section(section if measured else replace(section, until=1.0), bench, report)
    except DeviceLostError as error:
        return str(error)
    finally:
        if bench.compilation is not None:
            bench.compilation.stop()
    return None


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
    parser.add_argument("--commit", help="what to write as commit, without asking git")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--compile", type=int, metavar="SM", help="compile everything for sm_SM; needs no GPU")
    mode.add_argument("--emulated", action="store_true", help="tiny checks on the emulator")
    mode.add_argument("--sanitize", action="store_true", help="small checks on a GPU, for compute-sanitizer")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = secrets.randbelow(2**31)
    return options


if __name__ == "__main__":
    main()
