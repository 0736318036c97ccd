"""Sphinx configuration: MyST pages, Furo theme."""

project = "Konsil"
author = "The Konsil authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Konsil"
exclude_patterns = ["_build"]
