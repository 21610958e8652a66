-- Stored keys, tombstones of declared ones, and the epoch by which every process notices that either has changed.

CREATE TABLE epoch (
  org   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows are never deleted: `revoked` ends a key. `epoch` is the organisation's epoch at the row's last change.
CREATE TABLE api_key (
  id      TEXT PRIMARY KEY,
  name    TEXT NOT NULL,
  org     TEXT NOT NULL,
  subject TEXT NOT NULL,
  roles   TEXT NOT NULL,             -- JSON list
  grants  TEXT NOT NULL,             -- JSON list of objects
  mac     BLOB NOT NULL,             -- HMAC-SHA256(pepper, text of the key)
  pepper  TEXT NOT NULL,             -- which pepper
  created TEXT NOT NULL,             -- RFC 3339, as are the next two
  expires TEXT NOT NULL DEFAULT '',
  revoked TEXT NOT NULL DEFAULT '',
  epoch   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX api_key_live_name ON api_key (name) WHERE revoked = '';
CREATE INDEX api_key_by_epoch ON api_key (org, epoch);

-- A declared key that was revoked: it stays so, whatever the file says. Holds nothing of its secret.
CREATE TABLE key_tombstone (
  id      TEXT PRIMARY KEY,
  name    TEXT NOT NULL,
  org     TEXT NOT NULL,
  revoked TEXT NOT NULL,
  epoch   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX key_tombstone_by_epoch ON key_tombstone (org, epoch);
