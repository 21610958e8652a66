-- Calls counted today. `used` is never less than the calls whose records are durable; after a crash it may be a little more.

CREATE TABLE daily_use (
  day  TEXT NOT NULL,                -- UTC calendar day, YYYY-MM-DD
  rule TEXT NOT NULL,                -- the limit's name
  who  TEXT NOT NULL,                -- `key:<id>`, `subject:<org> <subject>`, `org:<org>`, `tool:<org> <upstream>/<name>`
  used INTEGER NOT NULL,
  PRIMARY KEY (day, rule, who)
) STRICT, WITHOUT ROWID;
