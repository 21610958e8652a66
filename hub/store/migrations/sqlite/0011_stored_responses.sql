-- Which deployment keeps a response, or an item of one, that a client may name again (hub/llm/stored_rows.py). No prompt, no answer.

CREATE TABLE stored_response (
  org      TEXT NOT NULL,
  subject  TEXT NOT NULL,            -- who made it, and alone may name it
  id       TEXT NOT NULL,            -- the provider's, of the response or of an item in its output
  response TEXT NOT NULL,            -- the response it belongs to: itself, for a response
  provider TEXT NOT NULL,
  model    TEXT NOT NULL,            -- the provider's name of it
  door     TEXT NOT NULL,            -- the model as the caller named it
  at       INTEGER NOT NULL,         -- microseconds since 1970
  PRIMARY KEY (org, subject, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX stored_response_at ON stored_response (at);
CREATE INDEX stored_response_parts ON stored_response (org, subject, response);
