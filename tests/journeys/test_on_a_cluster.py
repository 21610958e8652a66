"""The journeys of one process, unchanged, on two replicas of two workers behind a round-robin proxy: one cluster for all of them.

Not here is what concerns one process alone: how it stops, which server of its own died, and the demo.
"""

from collections.abc import Generator
from typing import Any

import pytest

from tests.journeys import test_beside_bad_ones as beside
from tests.journeys import test_changes as changes
from tests.journeys import test_other_clients as clients
from tests.journeys import test_python_sdk as python
from tests.journeys.conftest import Clustered
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.cluster import Cluster
from tests.support.servers import HttpServer


@pytest.fixture(scope="module", params=["cluster"])
def place(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, redis_server: RedisServer) -> Generator[Clustered]:
    database = postgres_server.create_database()
    place = Clustered(tmp_path_factory.mktemp("cluster"), postgres_server.url(database), redis_server.url)
    try:
        yield place
    finally:
        place.close()
    postgres_server.drop_database(database)


# Each of these edits the configuration as it likes

own = changes.own
test_a_bad_edit_is_refused_whole_and_said = changes.test_a_bad_edit_is_refused_whole_and_said
test_a_key_made_over_the_admin_api_works_until_it_is_revoked = changes.test_a_key_made_over_the_admin_api_works_until_it_is_revoked
test_an_edit_of_the_file_is_announced_on_both_eras_streams = changes.test_an_edit_of_the_file_is_announced_on_both_eras_streams
test_only_what_was_asked_for_is_announced = changes.test_only_what_was_asked_for_is_announced
test_revoking_a_key_cuts_its_streams_and_calls_within_a_second = changes.test_revoking_a_key_cuts_its_streams_and_calls_within_a_second
test_revoking_cuts_a_client_that_has_stopped_reading = changes.test_revoking_cuts_a_client_that_has_stopped_reading
test_taking_a_key_out_of_the_file_revokes_it = changes.test_taking_a_key_out_of_the_file_revokes_it
test_the_official_client_hears_of_an_edit = changes.test_the_official_client_hears_of_an_edit
test_the_streams_of_a_virtual_server_that_goes_end_in_order = changes.test_the_streams_of_a_virtual_server_that_goes_end_in_order
test_a_good_server_beside_broken_and_slow_ones_is_served_as_if_alone = (
    beside.test_a_good_server_beside_broken_and_slow_ones_is_served_as_if_alone
)
test_a_server_that_comes_late_joins_the_list_and_is_announced = beside.test_a_server_that_comes_late_joins_the_list_and_is_announced
test_more_than_a_thousand_tools_are_listed_in_pages = beside.test_more_than_a_thousand_tools_are_listed_in_pages

# These share one

test_a_client_that_leaves_a_stream_in_the_middle_cancels_downstream = (
    beside.test_a_client_that_leaves_a_stream_in_the_middle_cancels_downstream
)
test_a_client_that_leaves_cancels_downstream = beside.test_a_client_that_leaves_cancels_downstream
test_a_call_given_up_by_the_client_is_cancelled_at_the_server = python.test_a_call_given_up_by_the_client_is_cancelled_at_the_server
test_a_limit_is_an_error_that_says_how_long_to_wait = python.test_a_limit_is_an_error_that_says_how_long_to_wait
test_calls_under_way_together_do_not_get_in_each_others_way = python.test_calls_under_way_together_do_not_get_in_each_others_way
test_everything_a_server_offers_can_be_listed_and_used = python.test_everything_a_server_offers_can_be_listed_and_used
test_progress_arrives_in_order_and_before_the_result = python.test_progress_arrives_in_order_and_before_the_result
test_renamed_tools_of_four_upstreams_are_used_at_one_door = python.test_renamed_tools_of_four_upstreams_are_used_at_one_door
test_what_policy_forbids_is_an_error_that_says_which_policy = python.test_what_policy_forbids_is_an_error_that_says_which_policy


@pytest.mark.parametrize("way", ["http-newer", "http-older"])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_tool_that_comes_at_the_server_is_announced_and_can_be_called(
    hub: Cluster, downstream: HttpServer, mode: str, way: str
) -> None:
    """Not over pipes: there every replica has a server of its own, so a tool that comes at one of them is not there at the others."""
    journey: Any = python.test_a_tool_that_comes_at_the_server_is_announced_and_can_be_called
    await journey(hub, mode, way)


@pytest.mark.parametrize(
    ("which", "mode", "version", "way"), [(*c, w) for c, w in zip(clients.CLIENTS, ("http-newer", "pipe-older") * 2, strict=True)]
)
def test_the_typescript_clients_list_and_use_everything(
    hub: Cluster, downstream: HttpServer, which: str, mode: str, version: str, way: str
) -> None:
    """Each client takes one of the ways: to start it takes longer than all it does."""
    journey: Any = clients.test_the_typescript_clients_list_and_use_everything
    journey(hub, downstream, which, mode, version, way)


def test_the_inspector_lists_and_calls(hub: Cluster) -> None:
    journey: Any = clients.test_the_inspector_lists_and_calls
    journey(hub, "http-newer")
