"""Looking on: calls that are sampled or logged are taken along the path with a stopwatch, and told of after their end."""
