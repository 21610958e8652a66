-- Answers that providers make in the background, until they are settled (hub/llm/background_rows.py). No prompt, no answer.
CREATE TABLE background_response (
  call     text PRIMARY KEY,         -- the reservation's name: who deletes the row settles it
  org      text NOT NULL,
  subject  text NOT NULL,            -- who made it
  response text NOT NULL,            -- the provider's id
  provider text NOT NULL,
  model    text NOT NULL,            -- the provider's name of it
  at       bigint NOT NULL,          -- microseconds since 1970
  until    bigint NOT NULL,          -- its process looks after it until then, or says so again; then any other does
  body     text NOT NULL             -- what it is settled by, as JSON
);

ALTER TABLE background_response ENABLE ROW LEVEL SECURITY;
ALTER TABLE background_response FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON background_response USING ((SELECT current_setting('hub.org', true)) IN (org, '*'));
