"""Models: the dialects clients and providers speak, as pure functions of data. No file of a dialect does I/O or knows the pipeline."""
