-- Overrides of budgets (hub/budget/overrides.py): what may be spent for a while in place of what the configuration says. Never removed; one
-- that was taken back, or replaced, has `ended`. Times in microseconds since 1970.
CREATE TABLE budget_override (
  id      text PRIMARY KEY,
  org     text NOT NULL,             -- '*': all organisations
  budget  text NOT NULL,
  basis   text NOT NULL,             -- what the budget counted when it was given
  scope   text NOT NULL,
  who     text NOT NULL,             -- '*': everybody whom it counts there
  unit    text NOT NULL,
  mode    text NOT NULL,             -- raise or set
  amount  bigint NOT NULL,           -- nano-dollars, tokens or calls
  given   bigint NOT NULL,
  until   bigint NOT NULL,
  reason  text NOT NULL,
  by      text NOT NULL,             -- the id of the key
  subject text NOT NULL,             -- whose key that is
  ended   bigint NOT NULL DEFAULT 0,
  ended_by text NOT NULL DEFAULT ''
);

CREATE INDEX budget_override_standing ON budget_override (until) WHERE ended = 0;

ALTER TABLE budget_override ENABLE ROW LEVEL SECURITY;
ALTER TABLE budget_override FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budget_override USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
