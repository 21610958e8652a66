"""The HTTP surface as data: operations as each edge describes its own, and the one OpenAPI document they make. Pure; it knows no edge."""
