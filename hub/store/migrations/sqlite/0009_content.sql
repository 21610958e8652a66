-- What organisations that opted in keep of questions and answers (hub/capture). One key for each organisation and day, under envelope
-- encryption; from `expires` on (YYYY-MM-DD) a day goes, with its key and all that was sealed with it.
CREATE TABLE content_day (
  org     TEXT NOT NULL,
  day     TEXT NOT NULL,
  kek     TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  sealed  BLOB NOT NULL,
  expires TEXT NOT NULL,
  PRIMARY KEY (org, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE content (
  org    TEXT NOT NULL,
  id     TEXT NOT NULL,             -- of the call, as in its records
  part   TEXT NOT NULL,             -- question, answer
  day    TEXT NOT NULL,
  at     INTEGER NOT NULL,          -- microseconds since 1970
  kind   TEXT NOT NULL,
  door   TEXT NOT NULL,
  key_id TEXT NOT NULL,
  sub    TEXT NOT NULL,
  size   INTEGER NOT NULL,          -- bytes that were said
  cut    INTEGER NOT NULL,          -- whether only the first of them are kept
  sealed BLOB NOT NULL,
  PRIMARY KEY (org, id, part)
) STRICT;
CREATE INDEX content_at ON content (at, id);
CREATE INDEX content_day_of ON content (org, day);
