-- Policy snapshots by the hash that records name: what decided then can be asked again. A set judges every organisation's calls.
CREATE TABLE policy_sets (
  hash       text PRIMARY KEY,
  body       bytea NOT NULL,
  first_seen text NOT NULL
);

-- It holds what every organisation has written: for the hub's own work only.
ALTER TABLE policy_sets ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy_sets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON policy_sets USING ((SELECT current_setting('hub.org', true)) = '*');
