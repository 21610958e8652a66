-- Which key material the hubs of this database have (hub/store/postgres_secrets.py): names for it, which say nothing of it.
CREATE TABLE hub_secret (
  name text PRIMARY KEY,             -- `master` or `log`
  mark text NOT NULL
);

-- For the hub's own work only.
ALTER TABLE hub_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE hub_secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON hub_secret USING ((SELECT current_setting('hub.org', true)) = '*');
