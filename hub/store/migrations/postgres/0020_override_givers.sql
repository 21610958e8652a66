-- `giver`: the organisation whose administrator gave an override (hub/budget/overrides.py), '' where an operator of the hub did. Operators alone
-- end and replace what one of them gave. Of those that stand it is told by the key; where that is not in this table (it stands in a file, or a
-- command gave it), an override counts as an operator's.
ALTER TABLE budget_override ADD COLUMN giver text NOT NULL DEFAULT '';

SELECT set_config('hub.org', '*', true);
UPDATE budget_override SET giver = coalesce((SELECT org FROM api_key WHERE api_key.id = budget_override.by AND api_key.org <> 'default'), '');
