#!/usr/bin/env bash
# Trajectories in extended XYZ are kept compressed, as .extxyz.gz, which ASE opens by itself. A compressed file can be read
# forwards only: to go back, it is unpacked from its beginning.
#
# Guess, written down before the first run: reading all frames of such a file with ASE unpacks it once to find the frames
# and once to read them, twice in all, whatever their number; it takes little longer than reading the plain file.
# Seen: two returns to the beginning for every frame. A file of N frames is unpacked one to two N times (188 times for the 120
# small frames below, 1016 times for 1000 frames of 16 atoms), and the time grows with the square of the length.
#
# What it means: 1000 frames of 16 atoms took 3.5 s, and 0.6 s as plain text; a hundred times as many would take some ten
# hours, and one minute. ase.io.iread, and read_xyz on an open gzip file, return to the beginning as often. Unpack first.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ase==3.29.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import gzip
import os

import ase
from ase import Atoms
from ase.io import read, write

FRAMES = 120
cell = Atoms("W2", positions=[[0, 0, 0], [1.58, 1.58, 1.58]], cell=[3.16] * 3, pbc=True)
write("plain.extxyz", [cell] * FRAMES)
with open("plain.extxyz", "rb") as plain, gzip.open("packed.extxyz.gz", "wb") as packed:
    packed.write(plain.read())
size = os.path.getsize("plain.extxyz")

counts = {"returns": 0, "bytes": 0}
rewind, unpack = gzip._GzipReader._rewind, gzip._GzipReader.read


def counted_rewind(self):
    counts["returns"] += 1
    return rewind(self)


def counted_unpack(self, size=-1):
    data = unpack(self, size)
    counts["bytes"] += len(data)
    return data


gzip._GzipReader._rewind, gzip._GzipReader.read = counted_rewind, counted_unpack
assert len(read("packed.extxyz.gz", ":")) == FRAMES
times = counts["bytes"] / size
print("ase", ase.__version__)
print("guessed: unpacked twice")
print(f"seen:    unpacked {times:.0f} times, {counts['returns']} returns to the beginning, for {FRAMES} frames")
assert times > FRAMES / 2, "ASE does not unpack the file for every frame any more: this finding is out of date"
PYTHON
