-- Calls counted today by a hub without Redis (hub/budget/daily_postgres.py). `used` is never less than the calls whose records are durable;
-- after a crash it may be a little more.
CREATE TABLE daily_use (
  day  text NOT NULL,                -- UTC calendar day, YYYY-MM-DD
  rule text NOT NULL,                -- the limit's name
  who  text NOT NULL,                -- `key:<id>`, `subject:<org> <subject>`, `org:<org>`, `tool:<org> <upstream>/<name>`
  used bigint NOT NULL,
  PRIMARY KEY (day, rule, who)
);

-- The hub's own work only: whom a count belongs to stands in `who`.
ALTER TABLE daily_use ENABLE ROW LEVEL SECURITY;
ALTER TABLE daily_use FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON daily_use USING ((SELECT current_setting('hub.org', true)) = '*');
