"""What the edges of the governed path share: the HTTP exchange, requests under way, and how one is let in and cut off."""
