"""The schemas of inputs and outputs, one module a subject."""
