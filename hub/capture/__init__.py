"""What was asked and answered, kept for the organisations that opted in: encrypted, and for so many days."""
