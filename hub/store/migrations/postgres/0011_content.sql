-- What organisations that opted in keep of questions and answers (hub/capture). One key for each organisation and day, under envelope
-- encryption; from `expires` on (YYYY-MM-DD) a day goes, with its key and all that was sealed with it.
CREATE TABLE content_day (
  org     text NOT NULL,
  day     text NOT NULL,
  kek     text NOT NULL,
  wrapped bytea NOT NULL,
  sealed  bytea NOT NULL,
  expires text NOT NULL,
  PRIMARY KEY (org, day)
);

CREATE TABLE content (
  org    text NOT NULL,
  id     text NOT NULL,             -- of the call, as in its records
  part   text NOT NULL,             -- question, answer
  day    text NOT NULL,
  at    bigint NOT NULL,           -- microseconds since 1970
  kind   text NOT NULL,
  door   text NOT NULL,
  key_id text NOT NULL,
  sub    text NOT NULL,
  size   bigint NOT NULL,          -- bytes that were said
  cut    boolean NOT NULL,          -- whether only the first of them are kept
  sealed bytea NOT NULL,
  PRIMARY KEY (org, id, part)
);
CREATE INDEX content_at ON content (at, id);
CREATE INDEX content_day_of ON content (org, day);

ALTER TABLE content_day ENABLE ROW LEVEL SECURITY;
ALTER TABLE content_day FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON content_day USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
ALTER TABLE content ENABLE ROW LEVEL SECURITY;
ALTER TABLE content FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON content USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
