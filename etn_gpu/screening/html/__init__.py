"""The report of a screening run as one HTML file that needs nothing else.

:class:`ReportContent` is all that a report shows; :func:`write_report` writes it.
"""

from etn_gpu.screening.html.content import BestStructure, ReportContent
from etn_gpu.screening.html.page import report_page, write_report

__all__ = ["BestStructure", "ReportContent", "report_page", "write_report"]
