"""Runs with sizes of one's own instead of the name of a preset."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest

import etn_gpu
from etn_gpu.errors import TrainingError
from etn_gpu.potential import PRESETS, Preset
from etn_gpu.training import TrainingConfig, train

Configure = Callable[..., TrainingConfig]


@pytest.fixture
def sizes(tiny_preset: str) -> Preset:
    return PRESETS[tiny_preset]


def test_the_same_model_as_by_name(configure: Configure, sizes: Preset) -> None:
    models = []
    for preset in ("tiny", sizes):
        config = configure(preset=preset)
        train(config)
        models.append(etn_gpu.potential.load(config.output))
    assert models[0].architecture == models[1].architecture
    for name, values in models[0].parameters.items():
        np.testing.assert_array_equal(values, models[1].parameters[name])
    assert models[0].metadata["training"]["options"]["preset"] == "tiny"
    # the model file tells the sizes in full: they have no name
    assert models[1].metadata["training"]["options"]["preset"] == json.loads(json.dumps(asdict(sizes)))


def test_resume_with_the_same_sizes_only(configure: Configure, sizes: Preset) -> None:
    config = configure(preset=sizes, max_iterations=1)
    train(config)
    assert train(replace(config, resume=config.checkpoint, max_iterations=2)).iterations == 2
    other = replace(config, resume=config.checkpoint, preset=replace(sizes, bonds=("3x0e+1x1o",) * 2))
    with pytest.raises(TrainingError, match=r"belongs to another run: preset was .*2x0e\+1x1o.*, is .*3x0e\+1x1o"):
        train(other)


def test_resume_with_the_same_method_only(configure: Configure) -> None:
    config = configure(method="gradient", max_iterations=1)
    train(config)
    with pytest.raises(TrainingError, match="method was 'gradient', is 'sweeps'"):
        train(replace(config, resume=config.checkpoint, method="sweeps"))
