"""A run as one self-contained page and a folder of figures."""

from nonlazy.report.figures import Picture, pictures, theory_pictures
from nonlazy.report.page import IndexEntry, index_page, report_page

__all__ = ["IndexEntry", "Picture", "index_page", "pictures", "report_page", "theory_pictures"]
