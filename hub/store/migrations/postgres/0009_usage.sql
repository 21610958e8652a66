-- The usage ledger (hub/budget/usage.py): one row for each call that was settled, never changed. `at` and `latency` in microseconds, `cost`
-- in nano-dollars, NULL where nobody knows it.
CREATE TABLE usage (
  id      text PRIMARY KEY,
  at      bigint NOT NULL,
  run     text NOT NULL,             -- which life of Redis' counts has counted it; empty: none
  seq     bigint NOT NULL,           -- which of that life's rows it is
  org     text NOT NULL,
  key     text NOT NULL,
  subject text NOT NULL,
  spender text NOT NULL,             -- the user whose money it was
  app     text NOT NULL,
  team    text NOT NULL,
  project text NOT NULL,
  provider text NOT NULL,
  model   text NOT NULL,
  door    text NOT NULL,             -- the model as the caller named it
  kind    text NOT NULL,
  status  text NOT NULL,
  cost    bigint,
  latency bigint NOT NULL,
  attempts bigint NOT NULL,
  tags    text NOT NULL,             -- JSON object of texts, empty where there are none
  input   bigint NOT NULL,
  output  bigint NOT NULL,
  cache_read bigint NOT NULL,
  cache_write bigint NOT NULL,
  cache_write_1h bigint NOT NULL,
  audio_in bigint NOT NULL,
  image_in bigint NOT NULL,
  reasoning bigint NOT NULL,
  audio_out bigint NOT NULL,
  requests bigint NOT NULL
);

CREATE INDEX usage_by_time ON usage (org, at);
CREATE INDEX usage_at ON usage (at);

-- Calls that were sent and are not settled yet, of a hub without Redis: the row each becomes, with what it cost at least, should it die.
CREATE TABLE usage_open (
  id   text PRIMARY KEY,
  org  text NOT NULL,
  row  text NOT NULL                 -- JSON list of the columns of `usage` from `id` on
);

-- Who was told that so much of a budget is spent: once for each threshold, count and window. `sent` 0: still to be delivered.
CREATE TABLE budget_alert (
  counter text NOT NULL,
  who     text NOT NULL,
  start   bigint NOT NULL,           -- of the window, microseconds since 1970
  percent integer NOT NULL,
  raised  bigint NOT NULL,
  at      bigint NOT NULL DEFAULT 0,  -- when somebody last undertook to deliver it
  sent    bigint NOT NULL DEFAULT 0,
  body    text NOT NULL,
  PRIMARY KEY (counter, who, start, percent)
);

ALTER TABLE usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));

ALTER TABLE usage_open ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_open FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_open USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));

-- The hub's own work only: budgets may be of all organisations.
ALTER TABLE budget_alert ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget_alert FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON budget_alert USING ((SELECT current_setting('hub.org', true)) = '*');
