"""Sphinx configuration: MyST pages, Furo theme."""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

lexers["mermaid"] = TextLexer()  # diagrams stay readable as text where nothing draws them

project = "Konsil"
author = "The Konsil authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Konsil"
exclude_patterns = ["_build"]
