"""Every check of every reader, removed one at a time: an hour and more, by `make nightly`."""

import ast

import pytest
from readers.mutation import READERS, sample, survives

ALL = sample(0)


@pytest.mark.parametrize(
    ("path", "check"), ALL, ids=[f"{path.relative_to(READERS)}:{check.lineno}" for path, check in ALL]
)
def test_a_removed_check_is_missed(path, check):
    assert not survives(path, check), ast.unparse(check)
