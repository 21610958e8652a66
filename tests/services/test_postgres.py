"""The database server the tests use, and what can be done to it."""

import socket

import asyncpg
import pytest

from tests.services.postgres import PostgresServer


async def fetch(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_test_has_a_database_of_its_own_and_a_role_that_is_no_superuser(database_url: str):
    assert await fetch(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert await fetch(database_url, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False
    assert await fetch(database_url, "SHOW fsync") == "on"
    await fetch(database_url, "CREATE TABLE mine (n int)")


async def test_what_was_committed_is_there_after_a_kill_and_a_restart(postgres: PostgresServer, database_url: str):
    await fetch(database_url, "CREATE TABLE kept (n int)")
    postgres.kill()
    with pytest.raises(OSError):
        await fetch(database_url, "SELECT 1")
    postgres.restart()
    assert await fetch(database_url, "SELECT count(*) FROM kept") == 0


async def test_it_can_stop_answering_and_go_on(postgres: PostgresServer, database_url: str):
    postgres.stop_answering()
    with socket.create_connection(("127.0.0.1", postgres.port), 5), pytest.raises(TimeoutError):
        await asyncpg.connect(database_url, timeout=0.3)
    postgres.resume()
    assert await fetch(database_url, "SELECT 1") == 1
