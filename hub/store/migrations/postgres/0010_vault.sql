-- Secrets under envelope encryption (hub/store/envelope.py). A change adds a version; the one before stays until `expires`, those before
-- that go. Of a removed name the last row stays without its value, so that a version is never given twice.
CREATE TABLE vault_secret (
  org     text NOT NULL,
  name    text NOT NULL,
  version bigint NOT NULL,
  kek     text NOT NULL,             -- id of the key that `wrapped` is under
  wrapped bytea NOT NULL,            -- the data key
  sealed  bytea NOT NULL,            -- the value under the data key; empty: removed
  created text NOT NULL,             -- RFC 3339, as is the next
  expires text NOT NULL DEFAULT '',  -- of one that was replaced: until when it may still be used
  PRIMARY KEY (org, name, version)
);

ALTER TABLE vault_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE vault_secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON vault_secret USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
