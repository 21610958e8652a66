"""Several processes as one hub: a parent that holds the listening socket, and workers that serve (docs/design/workers.md)."""
