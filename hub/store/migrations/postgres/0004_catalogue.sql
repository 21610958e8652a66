-- The last good catalogue of each upstream (virtual_servers/shelf.py). `spec` names the configuration it was fetched with.
CREATE TABLE catalogue (
  upstream text PRIMARY KEY,
  spec     text NOT NULL,
  body     bytea NOT NULL,
  fetched  text NOT NULL
);

-- Upstreams belong to organisations, which this table does not name: for the hub's own work only.
ALTER TABLE catalogue ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalogue FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON catalogue USING ((SELECT current_setting('hub.org', true)) = '*');
