-- Whose money a stored key spends; empty where nobody said.

ALTER TABLE api_key ADD COLUMN spender text NOT NULL DEFAULT '';  -- the user
ALTER TABLE api_key ADD COLUMN app     text NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN team    text NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN project text NOT NULL DEFAULT '';
