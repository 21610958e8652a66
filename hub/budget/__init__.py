"""What a caller may use up: rates, calls in flight, calls a day."""
