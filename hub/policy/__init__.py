"""May this caller do this, with these arguments? Grants first, then Cedar; `decide` is the door to this room."""
