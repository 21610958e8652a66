-- Overrides of budgets (hub/budget/overrides.py): what may be spent for a while in place of what the configuration says. Never removed; one
-- that was taken back, or replaced, has `ended`. Times in microseconds since 1970.
CREATE TABLE budget_override (
  id      TEXT PRIMARY KEY,
  org     TEXT NOT NULL,             -- '*': all organisations
  budget  TEXT NOT NULL,
  basis   TEXT NOT NULL,             -- what the budget counted when it was given
  scope   TEXT NOT NULL,
  who     TEXT NOT NULL,             -- '*': everybody whom it counts there
  unit    TEXT NOT NULL,
  mode    TEXT NOT NULL,             -- raise or set
  amount  INTEGER NOT NULL,          -- nano-dollars, tokens or calls
  given   INTEGER NOT NULL,
  until   INTEGER NOT NULL,
  reason  TEXT NOT NULL,
  by      TEXT NOT NULL,             -- the id of the key
  subject TEXT NOT NULL,             -- whose key that is
  ended   INTEGER NOT NULL DEFAULT 0,
  ended_by TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE INDEX budget_override_standing ON budget_override (until) WHERE ended = 0;
