-- Which deployment keeps a response, or an item of one, that a client may name again (hub/llm/stored_rows.py). No prompt, no answer.
CREATE TABLE stored_response (
  org      text NOT NULL,
  subject  text NOT NULL,            -- who made it, and alone may name it
  id       text NOT NULL,            -- the provider's, of the response or of an item in its output
  response text NOT NULL,            -- the response it belongs to: itself, for a response
  provider text NOT NULL,
  model    text NOT NULL,            -- the provider's name of it
  door     text NOT NULL,            -- the model as the caller named it
  at       bigint NOT NULL,          -- microseconds since 1970
  PRIMARY KEY (org, subject, id)
);

CREATE INDEX stored_response_at ON stored_response (at);
CREATE INDEX stored_response_parts ON stored_response (org, subject, response);

ALTER TABLE stored_response ENABLE ROW LEVEL SECURITY;
ALTER TABLE stored_response FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON stored_response USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
