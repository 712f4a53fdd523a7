"""Every fuzz target over its seeds and some thousand mutants, the same ones each time; hours of it by `make fuzz`."""

from __future__ import annotations

import os
import re
from collections import Counter
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
from fuzz.harness import mutants

TARGETS = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
RUNS = 1500
NEVER_READ = ("fuzz_foreign", "fuzz_pickle")
"""Targets of what only refuses."""


def made(module, seed):
    return mutants(module.SEEDS, module.TOKENS, seed, getattr(module, "repair", bytes))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_gcx_errors_come_out(name):
    module = import_module(f"fuzz.{name}")
    target = getattr(module, name)
    for data in (b"", b"\0", *module.SEEDS, *islice(made(module, 0), RUNS)):
        target(data)


@pytest.mark.parametrize(
    ("name", "function", "kinds"),
    [
        ("fuzz_safetensors", "read_all", 12),
        ("fuzz_onnx", "read_all", 9),
        ("fuzz_shard_index", "read_all", 7),
        ("fuzz_foreign", "describe", 8),
        ("fuzz_torch_zip", "read_all", 25),
        ("fuzz_torch_legacy", "read_all", 20),
        ("fuzz_torch_tar", "read_all", 9),
        ("fuzz_pickle", "read_all", 15),
        ("fuzz_keras", "read_all", 10),
    ],
)
def test_mutants_get_past_the_first_gate(name, function, kinds, monkeypatch):
    """A mutator whose every product is refused at once would test nothing."""
    module = import_module(f"fuzz.{name}")
    original = getattr(module, function)
    outcomes = Counter()

    def counted(*arguments, **options):
        outcome = original(*arguments, **options)
        outcomes[re.sub(r"[0-9]+|'.*'|: .*", "", getattr(outcome, "what", outcome) or "none")] += 1
        return outcome

    monkeypatch.setattr(module, function, counted)
    before = set(os.listdir("/proc/self/fd"))
    for data in islice(made(module, 1), RUNS):
        getattr(module, name)(data)
    assert set(os.listdir("/proc/self/fd")) == before
    assert len(outcomes) >= kinds, outcomes
    assert name in NEVER_READ or outcomes["read"] > RUNS / 60, outcomes
