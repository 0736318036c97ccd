"""R4 metadata generated from the specification: types, elements, search parameters, compartments."""
