-- The usage ledger (hub/budget/usage.py): one row for each call that was settled, never changed. `at` and `latency` in microseconds, `cost`
-- in nano-dollars, NULL where nobody knows it. `number` is the order in which rows were written.
CREATE TABLE usage (
  number  INTEGER PRIMARY KEY,
  id      TEXT NOT NULL UNIQUE,
  at      INTEGER NOT NULL,
  run     TEXT NOT NULL,             -- which life of Redis' counts has counted it; empty: none
  seq     INTEGER NOT NULL,          -- which of that life's rows it is
  org     TEXT NOT NULL,
  key     TEXT NOT NULL,
  subject TEXT NOT NULL,
  spender TEXT NOT NULL,             -- the user whose money it was
  app     TEXT NOT NULL,
  team    TEXT NOT NULL,
  project TEXT NOT NULL,
  provider TEXT NOT NULL,
  model   TEXT NOT NULL,
  door    TEXT NOT NULL,             -- the model as the caller named it
  kind    TEXT NOT NULL,
  status  TEXT NOT NULL,
  cost    INTEGER,
  latency INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  tags    TEXT NOT NULL,             -- JSON object of texts, empty where there are none
  input   INTEGER NOT NULL,
  output  INTEGER NOT NULL,
  cache_read INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  cache_write_1h INTEGER NOT NULL,
  audio_in INTEGER NOT NULL,
  image_in INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  audio_out INTEGER NOT NULL,
  requests INTEGER NOT NULL
) STRICT;

CREATE INDEX usage_by_time ON usage (org, at);
CREATE INDEX usage_at ON usage (at);

-- Calls that were sent and are not settled yet: the row each becomes, with what it cost at least, should this process die.
CREATE TABLE usage_open (
  id   TEXT PRIMARY KEY,
  row  TEXT NOT NULL                 -- JSON list of the columns of `usage` from `id` on
) STRICT, WITHOUT ROWID;

-- Who was told that so much of a budget is spent: once for each threshold, count and window. `sent` empty: still to be delivered.
CREATE TABLE budget_alert (
  counter TEXT NOT NULL,
  who     TEXT NOT NULL,
  start   INTEGER NOT NULL,          -- of the window, microseconds since 1970
  percent INTEGER NOT NULL,
  raised  INTEGER NOT NULL,
  at      INTEGER NOT NULL DEFAULT 0,  -- when somebody last undertook to deliver it
  sent    INTEGER NOT NULL DEFAULT 0,
  body    TEXT NOT NULL,
  PRIMARY KEY (counter, who, start, percent)
) STRICT, WITHOUT ROWID;
