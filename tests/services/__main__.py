"""Finds or installs the programs of the services, once before all tests: tests that run side by side must not install them side by side."""

from tests.services import chromium, postgres, redis

if __name__ == "__main__":
    print(f"PostgreSQL: {postgres.binaries()}\nRedis: {redis.program()}\nChromium: {chromium.program()}")
