"""Several processes as one hub: a parent with the listening socket, workers that serve, and the stdio host (docs/design/workers.md)."""
