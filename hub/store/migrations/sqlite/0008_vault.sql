-- Secrets under envelope encryption (hub/store/envelope.py). A change adds a version; the one before stays until `expires`, those before
-- that go. Of a removed name the last row stays without its value, so that a version is never given twice.

CREATE TABLE vault_secret (
  org     TEXT NOT NULL,
  name    TEXT NOT NULL,
  version INTEGER NOT NULL,
  kek     TEXT NOT NULL,             -- id of the key that `wrapped` is under
  wrapped BLOB NOT NULL,             -- the data key
  sealed  BLOB NOT NULL,             -- the value under the data key; empty: removed
  created TEXT NOT NULL,             -- RFC 3339, as is the next
  expires TEXT NOT NULL DEFAULT '',  -- of one that was replaced: until when it may still be used
  PRIMARY KEY (org, name, version)
) STRICT, WITHOUT ROWID;
