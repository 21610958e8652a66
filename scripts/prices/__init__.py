"""Makes the price table that comes with the hub, `hub/budget/data/prices.json.gz`.

The prices are those of genai-prices, then, for what it lacks, those of LiteLLM's model map.
"""
