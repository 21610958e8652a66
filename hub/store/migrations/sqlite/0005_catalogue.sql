-- The last good catalogue of each upstream (virtual_servers/shelf.py). `spec` names the configuration it was fetched with.
CREATE TABLE catalogue (
  upstream TEXT PRIMARY KEY,
  spec TEXT NOT NULL,
  body BLOB NOT NULL,
  fetched TEXT NOT NULL
) STRICT;
