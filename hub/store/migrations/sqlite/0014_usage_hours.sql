-- What the usage ledger comes to by the hour (hub/budget/usage_roller.py), so that summaries need not read every row. An hour counts only
-- while `usage_rolled` says so (state 1, not dirty): a row that comes later makes its hour dirty, and it is made anew.
CREATE TABLE usage_rolled (
  hour   INTEGER PRIMARY KEY,        -- its beginning, microseconds since 1970
  state  INTEGER NOT NULL,           -- 0: being made; 1: made; 2: it has too many groups, and is read row by row
  dirty  INTEGER NOT NULL,           -- 1: a row came after it was begun
  turn   INTEGER NOT NULL,           -- counts how often it was begun
  groups INTEGER NOT NULL
) STRICT;

CREATE TABLE usage_hour (
  hour    INTEGER NOT NULL,
  key     TEXT NOT NULL,
  subject TEXT NOT NULL,
  spender TEXT NOT NULL,
  app     TEXT NOT NULL,
  team    TEXT NOT NULL,
  project TEXT NOT NULL,
  provider TEXT NOT NULL,
  model   TEXT NOT NULL,
  door    TEXT NOT NULL,
  kind    TEXT NOT NULL,
  status  TEXT NOT NULL,
  org     TEXT NOT NULL,
  unpriced INTEGER NOT NULL,         -- 1: of calls whose cost nobody knows
  calls   INTEGER NOT NULL,
  cost    INTEGER NOT NULL,
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

CREATE INDEX usage_hour_at ON usage_hour (hour);
CREATE INDEX usage_hour_by_org ON usage_hour (org, hour);

CREATE TRIGGER usage_hour_late AFTER INSERT ON usage BEGIN
  UPDATE usage_rolled SET dirty = 1 WHERE hour = NEW.at - NEW.at % 3600000000;
END;
