-- The journal (hub/audit). A record's key is its organisation's number shifted left by 40 bits, plus its index in that tree:
-- one b-tree, appended to, and no second index to keep.

CREATE TABLE journal_meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each tree: who it belongs to and its head. `range` is the compact range (hub/audit/tree.py), `boot` and `n` the
-- writer of the last record and its counter, `floor` an index below which no intent waits for its outcome.
CREATE TABLE journal_org (
  number INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE,
  id     TEXT NOT NULL UNIQUE,
  origin TEXT NOT NULL UNIQUE,
  vkey   TEXT NOT NULL,
  size   INTEGER NOT NULL DEFAULT 0,
  range  BLOB NOT NULL,
  boot   TEXT NOT NULL DEFAULT '',
  n      INTEGER NOT NULL DEFAULT 0,
  floor  INTEGER NOT NULL DEFAULT 0,
  signed INTEGER NOT NULL DEFAULT 0
);

-- `phase`: 0 a record that stands alone, 1 an intent, 2 an outcome. `leaf` is the canonical JSON, `hash` its RFC 6962 leaf hash.
CREATE TABLE journal_record (
  key   INTEGER PRIMARY KEY,
  id    TEXT NOT NULL,
  phase INTEGER NOT NULL,
  hash  BLOB NOT NULL,
  leaf  BLOB NOT NULL
);
CREATE INDEX journal_record_id ON journal_record (id, phase);

-- Salts of the commitments, 32 bytes for each record of a batch, under the key of the batch's first record. To erase a payload's
-- commitment, overwrite its 32 bytes with zeros: the tree and every proof stay valid.
CREATE TABLE journal_salt (
  key   INTEGER PRIMARY KEY,
  salts BLOB NOT NULL
);

CREATE TABLE journal_checkpoint (
  org  INTEGER NOT NULL,
  size INTEGER NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (org, size)
) WITHOUT ROWID;

CREATE TABLE journal_boot (
  boot    TEXT PRIMARY KEY,
  started TEXT NOT NULL,
  ended   TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
