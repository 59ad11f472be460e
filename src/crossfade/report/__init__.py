"""What happened, for people and machines: the same data for the terminal, as JSON and as HTML."""

from __future__ import annotations

from crossfade.report.data import ReportData, Sample
from crossfade.report.html import as_html
from crossfade.report.json import as_json
from crossfade.report.record import read_record
from crossfade.report.text import as_text

__all__ = ["ReportData", "Sample", "as_html", "as_json", "as_text", "read_record"]
