"""A few of the checks on the checks in every run; all of them by `make nightly`."""

import os

import pytest
from readers.mutation import READERS, checks, sample, survives

pytestmark = pytest.mark.skipif("GCX_MUTATED" in os.environ, reason="a check is removed already")
ARCHIVE = READERS / "torch" / "archive.py"


@pytest.mark.parametrize("number", [3, 7])
def test_a_removed_check_of_archives_is_missed(number):
    assert not survives(ARCHIVE, checks(ARCHIVE)[number], "tests/readers/test_hostile_archives.py")


def test_the_checks_are_found():
    assert len(sample(0)) > 200
    assert len(sample(10)) == 10
    assert all(path.name == "archive.py" for path, _ in sample(0, "torch/archive"))
