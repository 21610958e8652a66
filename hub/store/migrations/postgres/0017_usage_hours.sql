-- What the usage ledger comes to by the hour (hub/budget/usage_roller.py), so that summaries need not read every row. An hour counts only
-- while `usage_rolled` says so (state 1, not dirty): a row that comes later makes its hour dirty, and it is made anew.
CREATE TABLE usage_rolled (
  hour   bigint PRIMARY KEY,         -- its beginning, microseconds since 1970
  state  bigint NOT NULL,            -- 0: being made; 1: made; 2: it has too many groups, and is read row by row
  dirty  bigint NOT NULL,            -- 1: a row came after it was begun
  turn   bigint NOT NULL,            -- counts how often it was begun
  groups bigint NOT NULL
);

CREATE TABLE usage_hour (
  hour    bigint NOT NULL,
  key     text NOT NULL,
  subject text NOT NULL,
  spender text NOT NULL,
  app     text NOT NULL,
  team    text NOT NULL,
  project text NOT NULL,
  provider text NOT NULL,
  model   text NOT NULL,
  door    text NOT NULL,
  kind    text NOT NULL,
  status  text NOT NULL,
  org     text NOT NULL,
  unpriced bigint NOT NULL,          -- 1: of calls whose cost nobody knows
  calls   bigint NOT NULL,
  cost    bigint NOT NULL,
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

CREATE INDEX usage_hour_at ON usage_hour (hour);
CREATE INDEX usage_hour_by_org ON usage_hour (org, hour);

ALTER TABLE usage_hour ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_hour FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_hour USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));

-- Whoever writes rows, of whatever version. An hour is begun under this lock alone: rows written before are then committed and seen by who
-- makes it, and those written after find it begun. The mark is set whatever it is: it waits for who is about to take it away.
CREATE FUNCTION usage_hour_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(4, 1);
  PERFORM 1 FROM usage_rolled WHERE hour IN (SELECT at - at % 3600000000 FROM added) ORDER BY hour FOR UPDATE;
  IF FOUND THEN
    UPDATE usage_rolled SET dirty = 1 WHERE hour IN (SELECT at - at % 3600000000 FROM added);
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER usage_hour_late AFTER INSERT ON usage REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION usage_hour_late();
