-- Stored keys, tombstones of declared ones, and the epoch by which every process notices that either has changed.

CREATE TABLE epoch (
  org   text PRIMARY KEY,
  value bigint NOT NULL
);

-- Rows are never deleted: `revoked` ends a key. `epoch` is the organisation's epoch at the row's last change.
CREATE TABLE api_key (
  id      text PRIMARY KEY,
  name    text NOT NULL,
  org     text NOT NULL,
  subject text NOT NULL,
  roles   text NOT NULL,             -- JSON list
  grants  text NOT NULL,             -- JSON list of objects
  mac     bytea NOT NULL,            -- HMAC-SHA256(pepper, text of the key)
  pepper  text NOT NULL,             -- which pepper
  created text NOT NULL,             -- RFC 3339, as are the next two
  expires text NOT NULL DEFAULT '',
  revoked text NOT NULL DEFAULT '',
  epoch   bigint NOT NULL
);

CREATE UNIQUE INDEX api_key_live_name ON api_key (name) WHERE revoked = '';
CREATE INDEX api_key_by_epoch ON api_key (org, epoch);

-- A declared key that was revoked: it stays so, whatever the file says. Holds nothing of its secret.
CREATE TABLE key_tombstone (
  id      text PRIMARY KEY,
  name    text NOT NULL,
  org     text NOT NULL,
  revoked text NOT NULL,
  epoch   bigint NOT NULL
);

CREATE INDEX key_tombstone_by_epoch ON key_tombstone (org, epoch);

-- A statement sees nothing but its transaction's organisation; `*` is the hub's own work, none is none.
ALTER TABLE epoch ENABLE ROW LEVEL SECURITY;
ALTER TABLE epoch FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON epoch USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));

ALTER TABLE api_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_key USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));

ALTER TABLE key_tombstone ENABLE ROW LEVEL SECURITY;
ALTER TABLE key_tombstone FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON key_tombstone USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
