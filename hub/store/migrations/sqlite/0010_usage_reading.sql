-- Pages of the usage ledger, newest first, by what they are most often asked for (hub/budget/usage_sql.py). What is mostly empty is not in
-- an index where it is.
CREATE INDEX usage_by_key ON usage (key, at);
CREATE INDEX usage_by_model ON usage (org, model, at);
CREATE INDEX usage_by_user ON usage (org, spender, at) WHERE spender <> '';
CREATE INDEX usage_by_app ON usage (org, app, at) WHERE app <> '';
CREATE INDEX usage_by_team ON usage (org, team, at) WHERE team <> '';
CREATE INDEX usage_by_project ON usage (org, project, at) WHERE project <> '';
