-- Price tables that operators staged, by the hash that records name. In force is the confirmed one with the greatest turn;
-- where none is confirmed, the table that comes with the hub.
CREATE TABLE price_tables (
  hash TEXT PRIMARY KEY,
  body BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('staged', 'confirmed', 'rejected')),
  turn INTEGER NOT NULL DEFAULT 0,
  staged TEXT NOT NULL,
  decided TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
