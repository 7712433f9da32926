"""Files whose names are not UTF-8 are trained on and written like any other."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import etn_gpu
from etn_gpu.training import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")


@pytest.mark.slow
@pytest.mark.usefixtures("plots")
def test_names_that_are_not_utf8(configure: Callable[..., Any], alloys: tuple[Path, Path], tmp_path: Path) -> None:
    data, output = tmp_path / os.fsdecode(b"a\xff\x1b.extxyz"), tmp_path / os.fsdecode(b"m\xff.etn")
    shutil.copy(alloys[0], data)
    train(configure(train_file=data, output=output, max_iterations=1))
    model = etn_gpu.load(output)
    assert model.metadata["training_data"]["file"] == data.name.encode("utf-8", "backslashreplace").decode()
    report = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert report["options"]["train_file"] == str(data)
    assert output.with_suffix(".png").exists()
    train(configure(train_file=data, output=output, max_iterations=2, resume=output.with_suffix(".ckpt.npz")))
    assert etn_gpu.load(output).metadata["training"]["iterations"] == 2
