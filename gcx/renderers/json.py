"""The report as JSON: the contract with CI. ASCII, no NaN, keys in a fixed order."""

from __future__ import annotations

import json

from gcx.contract import to_mapping
from gcx.renderers.options import RenderOptions
from gcx.results import Listing, Report


class Json:
    """The records themselves, not the table."""

    name = "json"
    suffixes: tuple[str, ...] = (".json",)
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:  # noqa: ARG002 - looks have no say in the JSON
        """The whole report."""
        return _dumped(report)

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:  # noqa: ARG002
        """The whole listing."""
        return _dumped(listing)


def _dumped(record: Report | Listing) -> str:
    text = json.dumps(to_mapping(record), indent=2, ensure_ascii=True, allow_nan=False)
    # DEL is ASCII and a control character; json leaves it, and it can only stand within a string.
    return text.replace("\x7f", "\\u007f") + "\n"
