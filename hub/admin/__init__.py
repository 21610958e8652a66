"""What operators reach over HTTP. Thin: each route calls the step that owns the matter."""
