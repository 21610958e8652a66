"""Virtual servers: curated views over many MCP servers, and the edge that serves them."""
