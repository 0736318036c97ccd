"""What can be wrong with a mapping (at load) or with a value under a mapping (at run time)."""


class MappingLoadError(ValueError):
    """A mapping file, patch or table cannot be used; the text names the file and the row."""


class ValueFault(ValueError):
    """A value breaks its data type. ``code`` is of HL7 table 0357; ``location`` comes from the row that read it."""

    def __init__(self, text: str, *, code: str = "102", location: str = "") -> None:
        self.code = code
        self.text = text
        self.location = location
        super().__init__(text)
