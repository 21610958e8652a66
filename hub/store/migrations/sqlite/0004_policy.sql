-- Policy snapshots by the hash that records name: what decided then can be asked again.
CREATE TABLE policy_sets (
  hash TEXT PRIMARY KEY,
  body BLOB NOT NULL,
  first_seen TEXT NOT NULL
) STRICT, WITHOUT ROWID;
