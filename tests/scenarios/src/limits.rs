//! Every bound is in one of four tables, and here beside the test that reaches it and sees what is said of it. A row
//! without a test fails, and so does a test that is gone.

use std::collections::{BTreeMap, BTreeSet};

use ringside_protocol::limits::TABLE;
use ringside_test_support::guests::root;

const ADDRESSES: &str = "host/worker/src/addresses.rs";
const ADMISSION: &str = "host/worker/src/admission.rs";
const ADMIN: &str = "host/node/src/admin/tests.rs";
const AUTHORITY: &str = "host/worker/src/authority.rs";
const CLIENT: &str = "tools/client/src/core/tests/situations.rs";
const CONNECTIONS: &str = "tests/scenarios/tests/bounds/connections.rs";
const CONTROL: &str = "host/node/src/control/tests.rs";
const SUCCESSION: &str = "host/node/src/control/tests/replicated.rs";
const DATAGRAMS: &str = "host/protocol/src/datagram/tests.rs";
const DIRECTORY: &str = "host/core/src/directory/tests.rs";
const ISOLATION: &str = "tests/scenarios/tests/bounds/isolation.rs";
const DOOR: &str = "host/node/src/http/door/tests.rs";
const EFFECTS: &str = "host/sandbox/tests/runtime/effects.rs";
const CITIZENS: &str = "host/sandbox/tests/runtime/citizens.rs";
const FRAMES: &str = "host/protocol/src/frame/tests.rs";
const HOSTILE_CONNECTIONS: &str = "tests/scenarios/tests/workers/hostile/connections.rs";
const HOSTILE_FRAMES: &str = "tests/scenarios/tests/workers/hostile/frames.rs";
const HOSTILE_STREAMS: &str = "tests/scenarios/tests/workers/hostile/streams.rs";
const HOSTILE_PEERS: &str = "tests/scenarios/tests/workers/hostile/peers.rs";
const QUESTIONS: &str = "host/node/src/cluster/peers/tests.rs";
const PEERS: &str = "tests/scenarios/tests/bounds/peers.rs";
const PEER_LINKS: &str = "host/worker/src/peers/links/tests.rs";
const RECORDER: &str = "host/node/src/recorder.rs";
const CLUSTERED: &str = "host/core/src/directory/bounds.rs";
const REPLICATED: &str = "host/core/src/directory/replicated.rs";
const LEADERSHIP: &str = "host/core/src/leadership/tests.rs";
const STANDBY: &str = "tools/client/src/core/tests/situations/standby.rs";
const MOVING: &str = "host/worker/src/replication/act/moving.rs";
const KEEPING: &str = "host/worker/src/replication/keeping.rs";
const LEAD: &str = "host/worker/src/replication/lead.rs";
const LINEAGE: &str = "host/core/src/leadership/lineage.rs";
const MEMBERSHIP: &str = "host/core/src/membership/tests.rs";
const LINKS: &str = "host/node/src/cluster/links/tests.rs";
const RELAYS: &str = "host/node/src/relay/tests.rs";
const RELAYED: &str = "tests/scenarios/tests/bounds/relays.rs";
const RESOLVE: &str = "host/node/src/resolve/tests.rs";
const ASKERS: &str = "host/node/src/resolve/addresses.rs";
const RETRY: &str = "tools/client/src/core/retry.rs";
const RUNAWAYS: &str = "host/sandbox/tests/runtime/runaways.rs";
const SESSIONS: &str = "tests/scenarios/tests/bounds/sessions.rs";
const STREAMS: &str = "tests/scenarios/tests/bounds/streams.rs";
const UPLOADS: &str = "host/sandbox/tests/validate.rs";
const VIEWS: &str = "host/protocol/src/view/tests.rs";

/// A row, and the test that reaches it.
type Reached = (&'static str, &'static str, &'static str);

/// What bounds connections, addresses, workers, seats and clients.
const OF_PLAYERS: &[Reached] = &[
    ("HANDSHAKE_TIMEOUT", HOSTILE_CONNECTIONS, "half_a_handshake_is_given_up"),
    ("OPEN_TIMEOUT", HOSTILE_CONNECTIONS, "a_peer_that_connects_and_stays_silent_is_closed_in_time"),
    ("RESOLVE_TIMEOUT", CONNECTIONS, "a_question_that_nobody_answers_is_given_up_in_time"),
    ("IDLE_TIMEOUT", HOSTILE_CONNECTIONS, "an_attached_peer_that_goes_silent_is_given_up_and_its_seat_kept"),
    ("KEEP_ALIVE", CONNECTIONS, "a_silent_connection_is_probed_and_its_view_repeated"),
    ("STANDBY_KEEP_ALIVE", CONNECTIONS, "a_connection_that_waits_at_a_follower_is_probed_seldom"),
    ("WRITE_STALL_TIMEOUT", HOSTILE_STREAMS, "a_peer_that_takes_nothing_for_too_long_is_closed_and_keeps_its_seat"),
    ("LEAVE_TIMEOUT", CLIENT, "leaving_delivers_what_was_sent_first_and_ends_in_time"),
    ("CLOSING_TIMEOUT", CONNECTIONS, "a_connection_that_was_told_its_end_is_closed_in_time"),
    ("STREAMS", HOSTILE_STREAMS, "further_streams_are_not_to_be_had"),
    ("STREAM_RESETS", HOSTILE_STREAMS, "streams_that_are_opened_and_reset_for_ever_end_each_connection"),
    ("RECEIVE_WINDOW_BYTES", STREAMS, "what_is_not_read_is_held_back_at_the_peer"),
    ("SEND_WINDOW_BYTES", HOSTILE_STREAMS, "a_peer_that_never_reads_is_put_out_as_too_slow"),
    ("DATAGRAM_RECEIVE_BYTES", STREAMS, "datagrams_that_a_late_worker_has_no_room_for_drop_the_oldest"),
    ("OPEN_FRAME_BYTES", HOSTILE_FRAMES, "a_frame_that_is_too_large_is_refused_by_its_length"),
    ("TOKEN_BYTES", FRAMES, "fields_beyond_their_limits_are_malformed"),
    ("TICKET_BYTES", FRAMES, "fields_beyond_their_limits_are_malformed"),
    ("CRITERIA_BYTES", FRAMES, "fields_beyond_their_limits_are_malformed"),
    ("REASON_BYTES", FRAMES, "fields_beyond_their_limits_are_malformed"),
    ("MESSAGE_BYTES", CLIENT, "back_pressure_is_visible"),
    ("CLIENT_FRAME_BYTES", HOSTILE_FRAMES, "a_frame_that_is_too_large_is_refused_by_its_length"),
    ("SERVER_FRAME_BYTES", FRAMES, "a_long_frame_is_refused_by_its_length_alone"),
    ("DATAGRAM_BODY_BYTES", DATAGRAMS, "contradictions_are_refused"),
    ("VIEW_BYTES", VIEWS, "the_largest_view_fits_the_smallest_datagrams_and_no_larger_one_is_taken"),
    ("VIEW_FRAGMENTS", DATAGRAMS, "contradictions_are_refused"),
    ("VIEWS_IN_SEND_BUFFER", VIEWS, "a_newer_view_replaces_a_half_sent_one"),
    ("INPUT_BURST_FACTOR", STREAMS, "messages_beyond_the_games_rate_wait_unread"),
    ("DATAGRAM_RATE", STREAMS, "datagrams_beyond_the_rate_are_dropped"),
    ("FRAME_RATE", STREAMS, "frames_beyond_the_rate_wait_unread"),
    ("CONNECTIONS_PER_ADDRESS", CONNECTIONS, "connections_of_an_address_are_bounded_and_a_network_of_64_bits_is_one"),
    ("UNATTACHED_PER_ADDRESS", CONNECTIONS, "unattached_connections_of_a_network_of_64_bits_are_bounded"),
    ("CONNECTIONS", CONNECTIONS, "connections_of_a_worker_are_bounded"),
    ("UNATTACHED", CONNECTIONS, "unattached_connections_of_a_worker_are_bounded"),
    ("SEAT_WINDOW", "tests/scenarios/tests/workers/seats.rs", "who_stays_away_for_longer_is_a_new_player"),
    ("RESUME_TOKEN_LIFETIME", AUTHORITY, "claims_of_one_kind_never_pass_as_another_and_damage_is_refused"),
    ("TICKET_LIFETIME", AUTHORITY, "a_ticket_is_good_once_at_its_worker_in_its_time"),
    ("SPENT_TOKENS", AUTHORITY, "the_table_of_spent_tokens_is_bounded"),
    ("RELAYS", RELAYED, "players_who_are_relayed_are_bounded"),
    ("RELAY_BYTES", RELAYED, "a_relayed_stream_is_not_read_on_until_what_is_under_way_has_arrived"),
    ("VERIFIED_TOKENS", AUTHORITY, "the_table_of_verified_tokens_is_bounded_and_holds_only_good_ones"),
    ("CLIENT_UNRETIRED_MESSAGES", CLIENT, "back_pressure_is_visible"),
    ("CLIENT_UNRETIRED_BYTES", CLIENT, "back_pressure_is_visible"),
    ("CLIENT_QUEUED_EVENTS", CLIENT, "an_honest_server_cannot_fill_the_queue_and_a_hostile_one_is_left"),
    ("CLIENT_QUEUED_BYTES", CLIENT, "an_honest_server_cannot_fill_the_queue_and_a_hostile_one_is_left"),
    ("CLIENT_QUEUED_DATAGRAMS", CLIENT, "unread_datagrams_are_dropped_from_the_oldest"),
    ("CLIENT_REDIRECTS", CLIENT, "redirects_are_followed_and_bounded"),
    (
        "CLIENT_ADDRESS_TOKENS",
        "tools/client/src/shell/tls.rs",
        "proofs_of_the_address_are_kept_up_to_the_bound_and_shown_once",
    ),
    ("CLIENT_ANSWER_BYTES", "tools/client/src/shell/resolve.rs", "an_answer_that_is_too_long_is_none"),
    ("CLIENT_IDLE_TIMEOUT", "tests/scenarios/tests/workers/links.rs", "a_client_that_hears_nothing_knows_in_time"),
    ("CLIENT_REACH_TIMEOUT", CLIENT, "a_place_that_is_not_reached_in_time_is_relayed_to"),
    ("CLIENT_ATTACH_TIMEOUT", CLIENT, "a_try_that_nobody_answers_is_made_again"),
    ("CLIENT_RETRY_FIRST", RETRY, "pauses_double_up_to_the_bound_and_follow_the_seed"),
    ("CLIENT_RETRY_LONGEST", RETRY, "pauses_double_up_to_the_bound_and_follow_the_seed"),
    ("CLIENT_GIVE_UP", CLIENT, "a_client_that_reaches_nobody_gives_up"),
    ("CLIENT_ACKNOWLEDGE_DELAY", CLIENT, "taking_messages_acknowledges_them_together"),
    ("CLIENT_SILENCE", STANDBY, "silence_hurries_to_the_follower_and_then_to_a_door"),
    ("CLIENT_SILENCE_AT_REST", STANDBY, "where_no_views_are_due_a_dead_connection_is_silence"),
    ("CLIENT_FAILOVER", STANDBY, "silence_hurries_to_the_follower_and_then_to_a_door"),
    ("CLIENT_STANDBY_SPREAD", STANDBY, "a_client_goes_to_the_follower_at_a_time_of_its_own"),
    ("CLIENT_STANDBY_AGAIN", STANDBY, "a_follower_that_cannot_be_reached_is_asked_for_later_and_later"),
    ("CLIENT_ACKNOWLEDGE_EVERY", CLIENT, "taking_messages_acknowledges_them_together"),
];

/// What bounds guests, sessions, uploads and a node's directory.
const OF_SESSIONS: &[Reached] = &[
    ("MODULE_BYTES", UPLOADS, "size_and_kind"),
    ("GUEST_MEMORY_BYTES", CITIZENS, "memory_ends_at_the_limit_with_minus_one"),
    ("TABLE_ELEMENTS", UPLOADS, "limits_are_reached"),
    ("GUEST_STACK_BYTES", CITIZENS, "traps"),
    ("GUEST_VALUE_BYTES", CITIZENS, "floods"),
    ("DATAGRAM_BYTES", CITIZENS, "floods"),
    ("CALL_OUTPUT_BYTES", CITIZENS, "floods"),
    ("CALL_OUTPUTS", CITIZENS, "floods"),
    ("CALL_FAN_OUT_BYTES", CITIZENS, "fan_out_counts_for_each_player"),
    ("TIMERS", EFFECTS, "timers_end_at_the_limit"),
    ("SLOTS", CITIZENS, "text_that_is_not_utf_8_and_numbers_that_mean_nothing"),
    (
        "UNACKNOWLEDGED_MESSAGES",
        EFFECTS,
        "a_player_who_acknowledges_nothing_is_too_slow_once_and_gets_no_later_message",
    ),
    ("UNACKNOWLEDGED_BYTES", EFFECTS, "a_player_who_acknowledges_nothing_is_too_slow_once_and_gets_no_later_message"),
    ("STATS_BYTES", CITIZENS, "floods"),
    ("LOG_LINE_BYTES", EFFECTS, "log_lines_are_cut_and_counted"),
    ("LOG_LINES", EFFECTS, "log_lines_are_cut_and_counted"),
    ("CALL_BUDGET_US", RUNAWAYS, "cost_is_told"),
    ("CALL_LIMIT_FACTOR", RUNAWAYS, "every_shape_stops_within_ten_milliseconds_of_its_limit"),
    ("TIMER_DELAY_US", ISOLATION, "timers_without_a_delay_wait_for_the_least"),
    ("SESSION_CPU_US", ISOLATION, "a_guest_that_keeps_itself_busy_takes_turns_with_others_and_is_moved"),
    ("NEWS_RATE", ISOLATION, "what_guests_say_to_the_node_has_a_rate"),
    ("BUDGET_OVERRUNS", SESSIONS, "overruns_count_for_their_window_and_no_longer"),
    ("BUDGET_WINDOW_US", SESSIONS, "overruns_count_for_their_window_and_no_longer"),
    ("TRAPS", SESSIONS, "traps_count_for_their_window_and_no_longer"),
    ("TRAP_WINDOW_US", SESSIONS, "traps_count_for_their_window_and_no_longer"),
    ("TICKS_MADE_UP", SESSIONS, "ticks_that_were_missed_are_made_up_as_far_as_the_bound_and_then_slipped"),
    ("CHECKPOINT_INTERVAL_US", SESSIONS, "checkpoints_come_with_time"),
    ("CHECKPOINT_ENTRIES", SESSIONS, "checkpoints_come_with_many_entries"),
    ("SLICE_US", SESSIONS, "a_rebuild_goes_by_slices"),
    ("MODULE_CODE_BYTES", UPLOADS, "limits_are_reached"),
    ("MODULE_FUNCTIONS", UPLOADS, "limits_are_reached"),
    ("MODULE_TYPES", UPLOADS, "limits_are_reached"),
    ("MODULE_GLOBALS", UPLOADS, "limits_are_reached"),
    ("MODULE_EXPORTS", UPLOADS, "limits_are_reached"),
    ("MODULE_SEGMENTS", UPLOADS, "limits_are_reached"),
    ("MODULE_TABLES", UPLOADS, "limits_are_reached"),
    ("FUNCTION_BYTES", UPLOADS, "limits_are_reached"),
    ("FUNCTION_PARAMETERS", UPLOADS, "limits_are_reached"),
    ("FUNCTION_RESULTS", UPLOADS, "limits_are_reached"),
    ("FUNCTION_LOCALS", UPLOADS, "limits_are_reached"),
    ("FUNCTION_NESTING", UPLOADS, "limits_are_reached"),
    ("FUNCTION_JOINS", UPLOADS, "limits_are_reached"),
    ("MODULE_JOINS", UPLOADS, "too_many_joins_in_a_module"),
    ("FUNCTION_LOOPS", UPLOADS, "limits_are_reached"),
    ("NODE_SESSIONS", REPLICATED, "sessions_that_are_followed_take_the_room_of_a_node"),
    ("OPEN_SESSIONS", DIRECTORY, "the_bounds_hold"),
    ("OPEN_LISTS", DIRECTORY, "too_many_waiting_requests_and_lists_are_refused"),
    ("WAITING_REQUESTS", DIRECTORY, "too_many_waiting_requests_and_lists_are_refused"),
    ("RESERVATION_US", DIRECTORY, "a_kept_seat_is_given_up_when_its_time_is_over"),
    ("EMPTY_SESSION_US", DIRECTORY, "a_match_made_for_a_player_ends_when_nobody_is_in_it"),
    ("END_REPEAT_US", DIRECTORY, "an_end_is_ordered_again_until_it_is_heard_of_or_somebody_comes"),
    ("CREATION_DEADLINE_US", DIRECTORY, "a_worker_that_fails_or_is_silent_refuses_all_who_wait"),
    ("ENDED_SESSIONS", DIRECTORY, "the_bounds_hold"),
    ("NODES", MEMBERSHIP, "bounds_hold_and_forgeries_are_counted"),
    ("NODE_WORKERS", MEMBERSHIP, "bounds_hold_and_forgeries_are_counted"),
    ("PRESUMED_GONE", MEMBERSHIP, "bounds_hold_and_forgeries_are_counted"),
    ("ERRANDS", MEMBERSHIP, "those_for_whom_a_node_is_tried_are_bounded"),
    ("HOME_ENTRIES", CLUSTERED, "entries_of_a_home_are_bounded"),
    ("RECORD_COPIES", REPLICATED, "copies_of_a_home_are_bounded_and_whose_is_not_kept_hears_nothing"),
    ("ANNOUNCED_ITEMS", "host/core/src/directory/scenarios.rs", "long_announcements_come_in_parts"),
    ("ANNOUNCED_BYTES", CLUSTERED, "announcements_and_answers_fit_a_frame_at_their_largest"),
    ("QUESTION_NAMES", CLUSTERED, "questions_come_in_parts"),
    ("UNTOLD_ENDS", CLUSTERED, "ends_that_a_home_was_not_told_of_are_bounded"),
    ("HOME_WAITING", CLUSTERED, "requests_of_others_that_wait_are_bounded"),
    ("DUPLICATES", CLUSTERED, "duplicates_that_are_being_settled_are_bounded"),
    ("OVER_SESSIONS", CLUSTERED, "ends_are_remembered_up_to_the_bound_and_for_their_time"),
    ("TOMBSTONES", CLUSTERED, "ends_are_remembered_up_to_the_bound_and_for_their_time"),
    ("TOMBSTONE_US", CLUSTERED, "ends_are_remembered_up_to_the_bound_and_for_their_time"),
    ("TICKETS", "host/core/src/routing/tickets.rs", "a_flood_is_refused_and_forgotten"),
    ("FOLLOWERS", LEADERSHIP, "followers_beyond_the_bound_are_not_recruited"),
    ("FORMER", LEADERSHIP, "former_followers_beyond_the_bound_are_not_told"),
    ("LAST_RECORDS", "host/core/src/leadership/last.rs", "last_records_beyond_the_bound_are_forgotten_oldest_first"),
    ("LINEAGE", LINEAGE, "the_oldest_terms_are_forgotten"),
    ("PENDING_RECORDS", LEADERSHIP, "records_that_do_not_count_yet_are_bounded"),
    ("BATCH_ENTRIES", LEADERSHIP, "entries_beyond_a_batch_go_with_the_next"),
    ("SUSPECTS", LEADERSHIP, "what_is_suspect_is_bounded_and_killers_are_forgotten_oldest_first"),
    ("KILLERS", LEADERSHIP, "what_is_suspect_is_bounded_and_killers_are_forgotten_oldest_first"),
    ("MARKS", LEADERSHIP, "hashes_beyond_the_bound_are_not_compared"),
    (
        "LOG_OBJECT_BYTES",
        "host/core/src/durable/writer/tests.rs",
        "what_finds_no_room_is_left_out_and_a_checkpoint_comes_in_its_place",
    ),
    ("DUE_TIMERS", "host/core/src/idle/due.rs", "no_more_than_a_bound_are_remembered_and_fewer_activated_at_once"),
    ("LOG_ITEM_BYTES", "host/core/src/durable/writer/tests.rs", "a_checkpoint_larger_than_one_may_be_is_left_out"),
    (
        "LOG_BACKLOG_BYTES",
        "host/core/src/durable/writer/tests.rs",
        "what_finds_no_room_is_left_out_and_a_checkpoint_comes_in_its_place",
    ),
    (
        "LOG_ROSTER_OBJECTS",
        "host/core/src/durable/writer/tests.rs",
        "objects_before_a_list_and_every_checkpoint_may_go_and_who_holds_them_up_is_asked",
    ),
    (
        "LOG_HELD_OBJECTS",
        "host/core/src/durable/writer/tests.rs",
        "objects_before_a_list_and_every_checkpoint_may_go_and_who_holds_them_up_is_asked",
    ),
    (
        "LOG_DEPARTED",
        "host/core/src/durable/writer/tests.rs",
        "beyond_the_bound_of_those_that_others_lead_nothing_is_forgotten",
    ),
    ("INCREMENTS", SESSIONS, "a_whole_checkpoint_follows_as_many_increments_as_there_may_be"),
];

/// What bounds workers.
const OF_WORKERS: &[Reached] = &[
    ("SESSIONS", SESSIONS, "sessions_of_a_worker_are_bounded"),
    ("COMMANDS", "host/worker/src/shell.rs", "commands_beyond_the_bound_come_back"),
    ("EVENTS", "tests/simulation/tests/recording.rs", "a_recording_that_finds_no_room_ends_and_what_was_taken_is_good"),
    ("EVENT_BYTES", ISOLATION, "what_waits_for_the_node_is_bounded_in_bytes"),
    ("HANDSHAKES", CONNECTIONS, "handshakes_under_way_are_bounded"),
    ("VALIDATED_WAITING", ADMISSION, "handshake_packets_beyond_their_bound_are_dropped"),
    ("FIRST_WAITING", ADMISSION, "first_packets_beyond_their_bound_are_dropped_and_delay_nobody"),
    ("TURN_DATAGRAMS", "host/worker/src/shell/port.rs", "a_socket_is_read_in_parts_and_the_rest_waits"),
    ("ADDRESS_TOKEN_LIFETIME", ADDRESSES, "a_proof_is_believed_once_and_for_its_time"),
    ("ADDRESS_TOKENS", ADDRESSES, "proofs_that_are_remembered_are_bounded_and_those_beyond_are_none"),
    ("RESPONSES", CONNECTIONS, "packets_of_no_connection_are_answered_as_far_as_the_bound"),
    ("RESET_INTERVAL", CONNECTIONS, "packets_of_unknown_connections_are_answered_so_often"),
    ("STREAM_WAITING_BYTES", STREAMS, "outputs_that_a_stream_does_not_take_stay_in_the_state"),
    ("PEERS", PEER_LINKS, "peers_beyond_the_bound_are_refused"),
    ("PEER_SESSIONS", PEER_LINKS, "links_of_sessions_beyond_the_bound_are_refused"),
    ("PEER_HANDSHAKES", PEERS, "handshakes_of_peers_are_bounded_and_all_get_in"),
    ("PEER_CONNECTIONS", PEERS, "connections_of_peers_are_bounded"),
    ("PEER_GREETING", PEERS, "who_does_not_greet_in_time_is_closed_as_silent"),
    ("PEER_CROSSING", PEER_LINKS, "who_lost_a_link_that_the_other_end_holds_on_to_has_it_again"),
    ("PEER_GREETING_BYTES", HOSTILE_PEERS, "frames_that_are_too_long_or_no_frames_close_the_link_with_a_reason"),
    ("PEER_FRAME_BYTES", HOSTILE_PEERS, "frames_that_are_too_long_or_no_frames_close_the_link_with_a_reason"),
    ("PEER_QUEUE_BYTES", PEERS, "a_peer_that_takes_nothing_is_too_slow_and_can_be_linked_anew"),
    ("PEER_DATAGRAM_BYTES", PEERS, "datagrams_beyond_the_buffer_drop_the_oldest"),
    ("PEER_LONGS", PEERS, "what_is_long_is_bounded_and_leaves_behind_frames"),
    ("PEER_LONG_BYTES", HOSTILE_PEERS, "something_long_without_end_closes_the_link"),
    ("PEER_HANDSHAKE_SHARE", PEERS, "handshakes_of_peers_have_a_share_of_a_turn"),
    ("PEER_TURN_BYTES", PEERS, "peers_are_read_by_a_bounded_number_of_bytes_a_turn"),
    ("PEER_TURN_DATAGRAMS", "host/worker/src/shell/port.rs", "a_socket_is_read_in_parts_and_the_rest_waits"),
    ("PEER_BACKOFF_FIRST", PEER_LINKS, "failures_are_tried_again_after_longer_and_longer_waits"),
    ("PEER_BACKOFF_LONGEST", PEER_LINKS, "failures_are_tried_again_after_longer_and_longer_waits"),
    ("PEER_IDLE", PEERS, "a_peer_that_goes_silent_is_lost_in_time_and_dialed_again"),
    ("PEER_KEEP_ALIVE", PEERS, "a_peer_that_goes_silent_is_lost_in_time_and_dialed_again"),
    ("UNRELEASED_ENTRIES", LEAD, "inputs_wait_where_too_much_is_not_released"),
    ("WINDOW_ENTRIES", LEAD, "entries_before_a_checkpoint_are_kept_up_to_the_bound"),
    ("BRANCHES", "host/worker/src/replication/branches.rs", "branches_beyond_the_bound_are_forgotten_oldest_first"),
    ("HISTORY", LEAD, "changes_beyond_the_bound_are_not_shown"),
    ("KEPT_ENTRIES", KEEPING, "what_is_kept_is_folded_where_it_is_too_much_or_about_to_be_led"),
    ("WARM", KEEPING, "what_is_kept_is_folded_where_it_is_too_much_or_about_to_be_led"),
    ("WARMING", MOVING, "a_target_that_has_to_fold_first_is_waited_for_and_not_for_ever"),
    ("FOLLOWED", SESSIONS, "sessions_that_a_worker_follows_are_bounded"),
    (
        "CHECKPOINTS_IN",
        "host/worker/src/replication/arrivals.rs",
        "checkpoints_beyond_the_bound_are_given_up_oldest_first",
    ),
    ("CHECKPOINT_SENDING", LEAD, "a_checkpoint_is_sent_again_after_its_time"),
    ("STANDBYS", "host/worker/src/standby.rs", "connections_that_wait_are_bounded"),
    ("ANNOUNCE", MOVING, "a_move_waits_for_players_for_its_time_and_is_tried_a_few_times"),
    ("GRANTS", MOVING, "a_move_waits_for_players_for_its_time_and_is_tried_a_few_times"),
    ("JOBS", "host/worker/src/shell/jobs.rs", "jobs_beyond_the_bound_stay_with_the_worker"),
];

/// What bounds a node's own queues, tables and waits.
const OF_NODES: &[Reached] = &[
    ("CONTROL_QUEUE", CONTROL, "requests_beyond_the_queue_are_refused_as_busy"),
    ("CONTROL_ANSWER", CONTROL, "a_question_that_is_not_answered_is_given_up"),
    ("END_ANSWER", CONTROL, "an_end_that_nobody_confirms_is_said_to_be_on_its_way"),
    ("WORKER_EVENTS", "host/node/src/workers.rs", "events_that_nobody_takes_wait_and_workers_go_on"),
    ("SIGNALS", CONTROL, "signals_that_wait_are_bounded_and_take_no_players_place"),
    ("ADMIN_CONNECTIONS", DOOR, "connections_beyond_the_bound_wait_until_one_ends"),
    ("ADMIN_HEAD_TIMEOUT", DOOR, "who_stays_silent_or_never_ends_a_head_is_closed"),
    ("ADMIN_WRITE_STALL", DOOR, "who_takes_nothing_of_an_answer_is_closed"),
    ("HTTP_HEAD_BYTES", DOOR, "a_head_without_end_is_refused"),
    ("BODY_BYTES", ADMIN, "a_body_that_is_too_large_is_refused"),
    ("BODY_TIMEOUT", ADMIN, "a_body_that_does_not_come_is_given_up"),
    ("UPLOADS", ADMIN, "uploads_at_a_time_are_bounded_and_their_turns_come_back"),
    ("RESOLVE_CONNECTIONS", RESOLVE, "connections_beyond_the_bound_wait_and_an_address_has_its_share"),
    (
        "RESOLVE_ADDRESS_CONNECTIONS",
        ASKERS,
        "connections_of_an_address_at_a_time_are_bounded_and_a_network_of_64_bits_is_one",
    ),
    ("RESOLVE_RATE", RESOLVE, "an_address_that_asks_too_often_is_refused_by_name_and_then_closed"),
    ("RESOLVE_BURST", ASKERS, "who_asks_too_often_is_told_so_and_then_not_spoken_to"),
    ("RESOLVE_ADDRESSES", ASKERS, "addresses_are_remembered_up_to_the_bound_and_no_longer_than_they_must"),
    ("RESOLVE_HANDSHAKE_TIMEOUT", RESOLVE, "a_question_that_does_not_come_is_given_up"),
    ("RESOLVE_HEAD_TIMEOUT", RESOLVE, "a_question_that_does_not_come_is_given_up"),
    ("RESOLVE_BODY_BYTES", RESOLVE, "a_question_that_is_too_large_is_refused"),
    ("RESOLVE_BODY_TIMEOUT", RESOLVE, "a_question_that_does_not_come_is_given_up"),
    ("RESOLVE_WRITE_STALL", DOOR, "who_takes_nothing_of_an_answer_is_closed"),
    ("RESOLVES", CONTROL, "questions_in_advance_that_wait_are_bounded_and_take_no_players_place"),
    ("RECORDER_BATCHES", RECORDER, "a_full_queue_ends_the_recording_and_is_counted_once"),
    ("RECORDER_BYTES", RECORDER, "a_full_queue_ends_the_recording_and_is_counted_once"),
    ("SEGMENT_BYTES", RECORDER, "batches_come_back_in_order_after_a_flush"),
    ("SEGMENT_AGE", RECORDER, "a_small_segment_is_written_in_time"),
    ("SEGMENTS", RECORDER, "a_recording_ends_at_its_last_segment"),
    ("VERSIONS", "host/node/src/store/tests.rs", "a_game_has_a_last_version"),
    ("KEPT", "host/node/src/store/tests.rs", "parts_of_logs_are_kept_up_to_a_bound"),
    ("KEPT_OF_GAME", "host/node/src/store/tests.rs", "parts_of_logs_are_kept_up_to_a_bound"),
    ("KEPT_BYTES", "host/node/src/store/tests.rs", "parts_of_logs_are_kept_up_to_a_bound"),
    ("TOKEN_LIFETIME_S", ADMIN, "faults_in_requests_are_named"),
    ("REMEMBERED_NODES", "host/node/src/cluster/remembered.rs", "what_is_written_is_read_and_rubbish_is_named"),
    ("RELAY_DATAGRAMS", RELAYS, "datagrams_that_find_no_room_are_dropped_and_counted_and_hold_nothing_up"),
    ("LINK_INBOX", LINKS, "links_wait_where_nobody_takes_what_they_bring_and_lose_nothing"),
    ("ANSWERS", QUESTIONS, "questions_that_are_answered_at_a_time_are_bounded_and_the_rest_is_dropped_and_counted"),
    ("MEMBER_ORDERS", "host/node/src/cluster/member.rs", "orders_beyond_the_bound_wait_until_there_is_room"),
    ("GOSSIP_VALUES", "host/node/src/cluster/gossip/tests.rs", "values_beyond_the_bound_wait_until_there_is_room"),
    ("LINK_FRAME_BYTES", LINKS, "a_message_that_fits_no_frame_is_dropped_and_the_link_goes_on"),
    ("ANSWER_BYTES", QUESTIONS, "answers_come_whole_in_as_many_parts_as_they_need"),
    ("LINK_QUEUE", LINKS, "a_peer_that_nobody_reads_is_dropped_for_and_nothing_grows"),
    ("LINK_PARTS", LINKS, "parts_of_long_messages_wait_for_room_and_for_everything_else"),
    ("LINK_PEERS", LINKS, "peers_are_bounded_until_one_is_not_used_any_more"),
    ("LINK_GREETINGS", LINKS, "links_and_those_who_begin_are_bounded"),
    ("LINK_ADDRESS_GREETINGS", LINKS, "links_and_those_who_begin_are_bounded"),
    ("LINKS", LINKS, "links_and_those_who_begin_are_bounded"),
    ("QUESTIONS", QUESTIONS, "questions_that_wait_are_bounded_and_silence_is_none"),
    ("PULSES", "host/node/src/cluster/pulse.rs", "processes_that_are_heard_of_are_bounded"),
    ("CHAIN_QUESTIONS", "host/node/src/chains.rs", "questions_beyond_the_bound_are_not_asked"),
    (
        "DEPARTED",
        "host/node/src/control/tests/replicated.rs",
        "of_sessions_that_went_elsewhere_the_last_are_remembered_until_they_are_back",
    ),
    (
        "FORMER_MODULES",
        SUCCESSION,
        "a_session_of_a_version_that_is_served_no_more_is_followed_while_its_module_is_kept",
    ),
    ("REFUSED_RUNS", "host/node/src/cluster/member.rs", "runs_that_are_kept_out_are_bounded"),
    (
        "GOSSIP_VALUE_BYTES",
        "host/node/src/cluster/gossip/tests.rs",
        "nodes_meet_hear_what_is_said_and_miss_who_is_gone",
    ),
    ("STUCK_SHOWN", "host/node/src/operator/leaving.rs", "only_so_many_sessions_that_stay_are_shown"),
    ("HANDOVER_FRAME_BYTES", "host/node/src/handover/channel.rs", "what_is_too_long_or_makes_no_sense_ends_it"),
    ("HANDOVER_QUEUE", "host/node/src/handover/channel.rs", "what_nobody_reads_is_said_to_find_no_room"),
    ("HANDOVER_OBJECTS", "host/node/src/handover/channel.rs", "checkpoints_beyond_the_bound_are_not_taken"),
    ("HANDOVER_OBJECT_BYTES", "host/node/src/handover/memory.rs", "what_is_too_long_is_neither_written_nor_read"),
    ("NODE_RELAYS", RELAYS, "relays_of_a_node_are_bounded_by_what_a_leader_takes_from_one_address"),
    ("OPENING_RELAYS", RELAYS, "relays_of_a_node_are_bounded_by_what_a_leader_takes_from_one_address"),
    ("STOP_TIMEOUT", "host/node/src/node/running.rs", "a_stop_that_does_not_end_is_given_up"),
    (
        "WANTED",
        "host/node/src/durable/recovery.rs",
        "sessions_beyond_the_bound_are_looked_after_when_they_are_asked_for_again",
    ),
    ("IDLE_QUEUE", "host/node/src/idle.rs", "words_beyond_the_bound_come_back"),
    ("LISTED_ASLEEP", "host/node/src/operator/idling.rs", "only_so_many_sessions_in_the_store_are_listed"),
    ("LOG_QUEUE", "host/node/src/durable/tests.rs", "what_workers_hand_on_waits_where_the_log_is_busy"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Each row once, and nothing that is no row.
fn assert_complete<'a>(rows: impl Iterator<Item = &'a str>, reached: &[Reached]) {
    let rows: BTreeSet<&str> = rows.collect();
    let listed: BTreeSet<&str> = reached.iter().map(|(row, ..)| *row).collect();
    assert_eq!(listed.len(), reached.len(), "a row is listed once");
    let without: Vec<_> = rows.difference(&listed).collect();
    assert!(without.is_empty(), "no test is known to reach {without:?}");
    let unknown: Vec<_> = listed.difference(&rows).collect();
    assert!(unknown.is_empty(), "no rows: {unknown:?}");
}

#[test]
fn every_bound_of_players_has_a_test_that_reaches_it() {
    assert_complete(TABLE.iter().map(|row| row.name), OF_PLAYERS);
}

#[test]
fn every_bound_of_nodes_has_a_test_that_reaches_it_and_says_what_happens() {
    let table = read("host/node/src/limits.rs");
    assert_complete(constants(&table), OF_NODES);
    for row in table.split("\n\n").flat_map(|part| part.split(";\n")).filter(|row| row.contains("pub const ")) {
        assert!(row.contains("Beyond:"), "{row}");
    }
}

#[test]
fn every_bound_of_sessions_has_a_test_that_reaches_it() {
    assert_complete(constants(&read("host/core/src/limits.rs")), OF_SESSIONS);
}

#[test]
fn every_bound_of_workers_has_a_test_that_reaches_it() {
    assert_complete(constants(&read("host/worker/src/limits.rs")), OF_WORKERS);
}

fn constants(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
}

#[test]
fn the_tests_that_reach_bounds_exist() {
    let mut files = BTreeMap::new();
    for (row, file, test) in OF_PLAYERS.iter().chain(OF_SESSIONS).chain(OF_WORKERS).chain(OF_NODES) {
        let text = files.entry(file).or_insert_with(|| read(file));
        let at = text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{row}: {file} has no test {test}"));
        let before = text[..at].trim_end().trim_end_matches("async").trim_end();
        let attribute = before.lines().last().unwrap_or_default().trim_start();
        let is_test = attribute.ends_with("test]") || attribute.starts_with("#[tokio::test(");
        assert!(is_test, "{row}: {test} is no test");
    }
}
