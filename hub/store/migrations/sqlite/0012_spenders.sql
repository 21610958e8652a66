-- Whose money a stored key spends; empty where nobody said.

ALTER TABLE api_key ADD COLUMN spender TEXT NOT NULL DEFAULT '';  -- the user
ALTER TABLE api_key ADD COLUMN app     TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN team    TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN project TEXT NOT NULL DEFAULT '';
