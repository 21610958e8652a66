-- Answers that providers make in the background, until they are settled (hub/llm/background_rows.py). No prompt, no answer.

CREATE TABLE background_response (
  call     TEXT PRIMARY KEY,         -- the reservation's name: who deletes the row settles it
  org      TEXT NOT NULL,
  subject  TEXT NOT NULL,            -- who made it
  response TEXT NOT NULL,            -- the provider's id
  provider TEXT NOT NULL,
  model    TEXT NOT NULL,            -- the provider's name of it
  at       INTEGER NOT NULL,         -- microseconds since 1970
  until    INTEGER NOT NULL,         -- its process looks after it until then, or says so again; then any other does
  body     TEXT NOT NULL             -- what it is settled by, as JSON
) STRICT, WITHOUT ROWID;
