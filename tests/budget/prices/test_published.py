"""What calls cost, to the nano-dollar, on prices the providers publish: each row's arithmetic stands above it.

A dollar per million tokens is 1,000 nano-dollars per token; 10 dollars per thousand searches are 10,000,000 each.
"""

from datetime import datetime

import pytest

from hub.budget.price_book import PriceBook
from hub.budget.prices import bound, cost, covers
from hub.call import Tokens

T = Tokens
PUBLISHED = [
    # title, provider, model, day, class of service, tokens, nano-dollars
    # 1,000 × 2,500 + 500 × 10,000 = 7,500,000
    ("GPT-4o: 2.50 in, 10 out", "openai", "gpt-4o-2024-08-06", "2025-01-01", "", T(1_000, 500), 7_500_000),
    # 464 × 2,500 + 1,536 × 1,250 + 300 × 10,000 = 6,080,000
    ("GPT-4o: cached input at 1.25", "openai", "gpt-4o", "2025-01-01", "", T(2_000, 300, cache_read=1_536), 6_080_000),
    # 11,321 × 150 + 1,024 × 75 + 678 × 600 = 2,181,750
    ("GPT-4o mini: 0.15, 0.075, 0.60", "openai", "gpt-4o-mini", "2025-01-01", "", T(12_345, 678, cache_read=1_024), 2_181_750),
    # 47,576 × 2,000 + 1,000,000 × 500 + 32,768 × 8,000 + 2 × 10,000,000 = 877,296,000
    (
        "GPT-4.1: 2, 0.50, 8, and two searches at 10 a thousand",
        "openai",
        "gpt-4.1-2025-04-14",
        "2025-06-01",
        "",
        T(1_047_576, 32_768, cache_read=1_000_000, requests=2),
        877_296_000,
    ),
    # 1 × 100 + 1 × 400 = 500
    ("GPT-4.1 nano: one token each way", "openai", "gpt-4.1-nano", "2025-06-01", "", T(1, 1), 500),
    # 75 × 2,000 + 1,186 × 8,000 = 9,638,000
    ("o3: reasoning is output and costs as much", "openai", "o3", "2025-12-01", "", T(75, 1_186, reasoning=1_024), 9_638_000),
    # 2,222 × 1,100 + 1,111 × 275 + 777 × 4,400 = 6,168,525
    ("o4-mini: 1.10, 0.275, 4.40", "openai", "o4-mini", "2025-12-01", "", T(3_333, 777, cache_read=1_111), 6_168_525),
    # 1,023 × 1,250 + 7,168 × 125 + 4,095 × 10,000 = 43,124,750
    ("GPT-5: 1.25, 0.125, 10", "openai", "gpt-5", "2025-12-01", "", T(8_191, 4_095, cache_read=7_168), 43_124_750),
    # 1 × 125 + 20 × 12.5 + 3 × 1,000 = 3,375
    ("GPT-5 mini, flex: half; 20 × 12.5 is 250", "openai", "gpt-5-mini", "2026-11-01", "flex", T(21, 3, cache_read=20), 3_375),
    # 1 × 12.5 = 12.5, rounded 13
    ("GPT-5 mini, flex: a half nano-dollar is rounded up", "openai", "gpt-5-mini", "2026-11-01", "flex", T(1, 0, cache_read=1), 13),
    # 1,000 × 125 + 1,000 × 1,000 = 1,125,000
    ("GPT-5 mini, batch: half", "openai", "gpt-5-mini", "2026-11-01", "batch", T(1_000, 1_000), 1_125_000),
    # 1,000 × 450 + 1,000 × 3,600 = 4,050,000
    ("GPT-5 mini, priority: 0.45 and 3.60", "openai", "gpt-5-mini", "2026-11-01", "priority", T(1_000, 1_000), 4_050_000),
    # 272,000 × 4,000 + 1,000 × 20,000 = 1,108,000,000
    ("GPT-5.6: 272,000 tokens are not long", "openai", "gpt-5.6", "2026-11-01", "", T(272_000, 1_000), 1_108_000_000),
    # 272,001 × 8,000 + 1,000 × 30,000 = 2,206,008,000
    ("GPT-5.6: one more is, for all of them", "openai", "gpt-5.6", "2026-11-01", "", T(272_001, 1_000), 2_206_008_000),
    # 8,191 × 130 = 1,064,830
    ("text-embedding-3-large: 0.13", "openai", "text-embedding-3-large", "2025-01-01", "", T(8_191), 1_064_830),
    # 400 × 0 = 0
    ("Moderations cost nothing, and that is known", "openai", "omni-moderation-latest", "2025-01-01", "", T(400), 0),
    # 2,095 × 3,000 + 503 × 15,000 = 13,830,000
    ("Claude Sonnet 4.5: 3 in, 15 out", "anthropic", "claude-sonnet-4-5-20250929", "2025-12-01", "", T(2_095, 503), 13_830_000),
    # 50 × 3,000 + 12,000 × 3,750 + 8,950 × 300 + 393 × 15,000 = 53,730,000
    (
        "Claude Sonnet 4.5: kept for five minutes at 3.75, read at 0.30",
        "anthropic",
        "claude-sonnet-4-5",
        "2025-12-01",
        "",
        T(21_000, 393, cache_write=12_000, cache_read=8_950),
        53_730_000,
    ),
    # 492 × 3,000 + 456 × 3,750 + 100 × 6,000 + 1,000 × 300 + 503 × 15,000 = 11,631,000
    (
        "Claude Sonnet 4.5: kept for an hour at 6",
        "anthropic",
        "claude-sonnet-4-5",
        "2025-12-01",
        "",
        T(2_048, 503, cache_write=456, cache_write_1h=100, cache_read=1_000),
        11_631_000,
    ),
    # 100,000 × 6,000 + 100,000 × 600 + 40,000 × 7,500 + 10,000 × 12,000 + 1,000 × 22,500 = 1,102,500,000
    (
        "Claude Sonnet 4.5: above 200,000 tokens 6, 22.50, 7.50, 12, 0.60; cached ones count for the length",
        "anthropic",
        "claude-sonnet-4-5",
        "2025-12-01",
        "",
        T(250_000, 1_000, cache_read=100_000, cache_write=40_000, cache_write_1h=10_000),
        1_102_500_000,
    ),
    # 1,000 × 15,000 + 4,001 × 18,750 + 5,000 × 1,500 + 2,001 × 75,000 = 247,593,750
    (
        "Claude Opus 4.1: 15, 75, 18.75, 1.50",
        "anthropic",
        "claude-opus-4-1-20250805",
        "2025-12-01",
        "",
        T(10_001, 2_001, cache_write=4_001, cache_read=5_000),
        247_593_750,
    ),
    # 1,039 × 5,000 + 5,000 × 10,000 + 931 × 25,000 + 3 × 10,000,000 = 108,470,000
    (
        "Claude Opus 4.5: 5, 25, an hour at 10, three searches at 10 a thousand",
        "anthropic",
        "claude-opus-4-5-20251101",
        "2026-11-01",
        "",
        T(6_039, 931, cache_write_1h=5_000, requests=3),
        108_470_000,
    ),
    # 77 × 800 + 300 × 1,000 + 400 × 80 + 77 × 4,000 = 701,600
    (
        "Claude Haiku 3.5: 0.80, 4, 1, 0.08",
        "anthropic",
        "claude-3-5-haiku-20241022",
        "2025-12-01",
        "",
        T(777, 77, cache_write=300, cache_read=400),
        701_600,
    ),
    # 68 × 500 + 33 × 50 + 51 × 2,500 = 163,150
    (
        "Claude Haiku 4.5, batch: 0.50 and 2.50, reads 0.05",
        "anthropic",
        "claude-haiku-4-5-20251001",
        "2026-11-01",
        "batch",
        T(101, 51, cache_read=33),
        163_150,
    ),
    # 100,000 × 500 + 1 × 625 + 10 × 2,500 = 50,025,625
    (
        "Claude Haiku 5.5: above 100,000 tokens five times as much",
        "anthropic",
        "claude-haiku-5-5",
        "2026-11-01",
        "",
        T(100_001, 10, cache_write=1),
        50_025_625,
    ),
    # 200,000 × 1,250 + 8,000 × 10,000 = 330,000,000
    ("Gemini 2.5 Pro: to 200,000 tokens 1.25 and 10", "google", "gemini-2.5-pro", "2025-12-01", "", T(200_000, 8_000), 330_000_000),
    # 50,001 × 2,500 + 150,000 × 250 + 8,000 × 15,000 = 282,502,500
    (
        "Gemini 2.5 Pro: above 2.50, 15, cached 0.25",
        "google",
        "gemini-2.5-pro",
        "2025-12-01",
        "",
        T(200_001, 8_000, cache_read=150_000),
        282_502_500,
    ),
    # 3,080 × 300 + 1,920 × 1,000 + 250 × 2,500 = 3,469,000
    (
        "Gemini 2.5 Flash: sound at 1, text at 0.30",
        "google",
        "gemini-2.5-flash",
        "2025-12-01",
        "",
        T(5_000, 250, audio_in=1_920),
        3_469_000,
    ),
    # 5,000 × 2,000 + 1 × 200 + 999 × 12,000 + 1 × 14,000,000 = 35,988,200
    (
        "Gemini 3 Pro: 2 and 12, a search at 14 a thousand",
        "google",
        "gemini-3-pro-preview",
        "2026-11-01",
        "",
        T(5_001, 999, cache_read=1, requests=1),
        35_988_200,
    ),
    # 4,321 × 2,000 + 1,234 × 6,000 = 16,046,000
    ("Mistral Large: 2 and 6", "mistral", "mistral-large-2411", "2025-12-01", "", T(4_321, 1_234), 16_046_000),
    # 333 × 300 + 33 × 900 = 129,600
    ("Codestral: 0.30 and 0.90", "mistral", "codestral-latest", "2025-12-01", "", T(333, 33), 129_600),
    # 1,003 × 590 + 507 × 790 = 992,300
    ("Llama 3.3 70B at Groq: 0.59 and 0.79", "groq", "llama-3.3-70b-versatile", "2025-12-01", "", T(1_003, 507), 992_300),
    # 600 × 150 + 301 × 75 + 101 × 600 = 173,175
    ("gpt-oss-120b at Groq: cached 0.075", "groq", "openai/gpt-oss-120b", "2025-12-01", "", T(901, 101, cache_read=301), 173_175),
    # 808 × 270 + 8,192 × 70 + 512 × 1,100 = 1,354,800
    (
        "DeepSeek chat: a hit 0.07, a miss 0.27, out 1.10",
        "deepseek",
        "deepseek-chat",
        "2025-06-01",
        "",
        T(9_000, 512, cache_read=8_192),
        1_354_800,
    ),
    # 6 × 550 + 64 × 140 + 3,001 × 2,190 = 6,584,450
    (
        "DeepSeek reasoner: 0.14, 0.55, 2.19",
        "deepseek",
        "deepseek-reasoner",
        "2025-06-01",
        "",
        T(70, 3_001, cache_read=64, reasoning=2_900),
        6_584_450,
    ),
    # 28 × 3,000 + 100 × 750 + 64 × 15,000 = 1,119,000
    ("Grok 4: 3, 0.75, 15", "x-ai", "grok-4", "2025-12-01", "", T(128, 64, cache_read=100), 1_119_000),
    # 26 × 1,000 + 832 × 1,000 + 1 × 12,000,000 = 12,858,000
    ("Sonar: 1 and 1, and 12 a thousand calls", "perplexity", "sonar", "2025-12-01", "", T(26, 832), 12_858_000),
    # 1,000 × 800 + 500 × 200 + 150 × 3,200 = 1,380,000
    (
        "Nova Pro on Bedrock: 0.80, 0.20, 3.20",
        "bedrock",
        "amazon.nova-pro-v1:0",
        "2025-12-01",
        "",
        T(1_500, 150, cache_read=500),
        1_380_000,
    ),
    # 10 × 3,000 + 10 × 15,000 = 180,000
    ("Through the Vercel AI Gateway, of LiteLLM's map", "vercel", "anthropic/claude-sonnet-4.5", "2025-12-01", "", T(10, 10), 180_000),
]


@pytest.mark.parametrize(
    ("provider", "model", "day", "service", "tokens", "nano"), [row[1:] for row in PUBLISHED], ids=[row[0] for row in PUBLISHED]
)
def test_a_call_costs_what_the_provider_publishes(provider: str, model: str, day: str, service: str, tokens: Tokens, nano: int) -> None:
    at = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp())
    price = PriceBook().find(provider, provider, model, service=service, at=at)
    assert price is not None
    assert covers(price, tokens)
    assert cost(price, tokens) == nano
    assert bound(price, tokens.input, tokens.output, tokens.requests) >= nano


def test_there_are_enough_of_them() -> None:
    assert len(PUBLISHED) >= 25
