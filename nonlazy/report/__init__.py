"""A run, or a coding scheme, as one self-contained page and a folder of figures."""

from nonlazy.report.figures import Picture, pictures, save_figures, theory_pictures
from nonlazy.report.page import IndexEntry, codes_page, gallery_page, index_page, report_page
from nonlazy.report.schemes import Reading, scheme_pictures

__all__ = [
    "IndexEntry",
    "Picture",
    "Reading",
    "codes_page",
    "gallery_page",
    "index_page",
    "pictures",
    "report_page",
    "save_figures",
    "scheme_pictures",
    "theory_pictures",
]
