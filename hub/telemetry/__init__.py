"""What operators watch: metrics, logs, trace context. Nothing on the request path waits for any of it."""
