"""`gcx explain` knows every column that any table prints, by its title, its full heading and its key."""

from __future__ import annotations

import pytest

from gcx.cli.explanations import explanation
from gcx.renderers.base import PRINTED_COLUMNS


@pytest.mark.parametrize("column", PRINTED_COLUMNS, ids=lambda column: column.heading)
def test_every_printed_column_is_explained(column: object) -> None:
    for name in (column.title, column.heading, column.key):  # type: ignore[attr-defined]
        text = " ".join(explanation(name).split())
        assert " ".join(column.meaning.split()) in text  # type: ignore[attr-defined]
    assert f"\n{column.heading}\n" in explanation(None)  # type: ignore[attr-defined]


def test_titles_that_stand_twice_are_both_explained() -> None:
    text = explanation("chance")
    assert "within groups: chance" in text
    assert "across groups: chance" in text
