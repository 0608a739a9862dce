"""Tables, figures and reports made from result rows; no number in them is typed by hand."""

from contextssl.reporting.report import write_report
from contextssl.reporting.tables import html_table, markdown_table

__all__ = ["html_table", "markdown_table", "write_report"]
