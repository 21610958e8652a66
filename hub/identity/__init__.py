"""Who is asking: keys, their grants and roles, and their revocation."""
