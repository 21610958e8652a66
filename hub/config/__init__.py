"""`hub.yaml`: the typed shape (`model`), and how a file becomes it (`load`, `interpolate`, `schema`)."""
